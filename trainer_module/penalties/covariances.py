"""Means and covariances of many environments at once, each row multiplied once.

Rows are sorted by cell and laid out in blocks of one cell each, so that a batched
matrix product sums them without a loop over cells and without products by zeros.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, TypeAlias

import tensorflow as tf

from trainer_module.penalties.batch import Environments
from trainer_module.penalties.spread import row_shares

MOST_ENTRIES = 2**24  # of all covariances together: 64 MiB

Size: TypeAlias = int | Any  # a tensor where only the run knows it
Gradient = Callable[..., tf.Tensor]


def means_and_covariances(
    environments: Environments, outputs: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Weighted means and covariances of each cell.

    The gradient is that of functions which treat a covariance as the symmetric matrix
    that it is: one product is then enough.

    Args:
      environments: the cells; it holds the rows of every replica.
      outputs: [B, D] float32.

    Returns:
      [C * E, D] and [C * E, D, D] float32; 0 for an absent cell.
    """
    return moments_of_cells(
        outputs, row_shares(environments), environments.ids, environments.cells
    )


def moments_of_cells(
    outputs: tf.Tensor, weights: tf.Tensor, ids: tf.Tensor, cells: Size
) -> tuple[tf.Tensor, tf.Tensor]:
    """Means and covariances; weights [B] sum to 1 in each of so many cells."""
    return lay_out(ids, cells).choose(
        lambda blocks: _of_blocks(outputs, weights, blocks)
    )


def _of_blocks(
    outputs: tf.Tensor, weights: tf.Tensor, blocks: Blocks
) -> tuple[tf.Tensor, tf.Tensor]:
    """Means and covariances of cells, with a gradient in the outputs."""
    mass = tf.where(blocks.filled, tf.gather(weights, blocks.sources), 0.0)
    of_rows = weights[:, None]  # the gradient finds only what is made in this branch

    @tf.custom_gradient
    def moments(outputs: tf.Tensor) -> tuple[tuple[tf.Tensor, tf.Tensor], Gradient]:
        rows = tf.gather(outputs, blocks.sources)
        means = blocks.sum(tf.matmul(mass[:, None], rows)[:, 0])
        rows -= blocks.of_cells(means)[:, None]
        covariances = blocks.sum(
            tf.matmul(rows * mass[:, :, None], rows, transpose_a=True)
        )

        def gradient(to_means: tf.Tensor, to_covariances: tf.Tensor) -> tf.Tensor:
            # A covariance does not change with its centre at the mean.
            slopes = tf.matmul(rows, blocks.of_cells(2.0 * to_covariances))
            slopes += blocks.of_cells(to_means)[:, None]
            slopes = tf.reshape(slopes, [-1, outputs.shape[1]])
            return tf.gather(slopes, blocks.places) * of_rows

        return (means, covariances), gradient

    return moments(outputs)


def weighted_products(rows: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Sum of w_i x_i x_i^T: rows [B, D] and constant weights [B] to [D, D].

    The gradient is that of functions which treat the sum as symmetric.
    """

    @tf.custom_gradient
    def products(rows: tf.Tensor) -> tuple[tf.Tensor, Gradient]:
        weighted = rows * weights[:, None]

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            return tf.matmul(weighted, 2.0 * upstream)

        return tf.matmul(weighted, rows, transpose_a=True), gradient

    return products(rows)


def larger(left: Size, right: Size) -> Size:
    """The larger of two numbers, a number if both are."""
    if isinstance(left, int) and isinstance(right, int):
        return max(left, right)
    return tf.maximum(left, right)


@dataclasses.dataclass(frozen=True)
class Blocks:
    """Rows in N blocks of S places, each block of one cell.

    Attributes:
      sources: [N, S] int32, the row in each place; any of a cell where it is empty.
      filled: [N, S] bool, whether the place holds a row.
      cells: [N] int32, the cell of each block.
      places: [B] int32, the place of each row; any for rows of no cell.
      size: how many cells there are.
      even: every cell has one block.
    """

    sources: tf.Tensor
    filled: tf.Tensor
    cells: tf.Tensor
    places: tf.Tensor
    size: Size
    even: bool

    def sum(self, values: tf.Tensor) -> tf.Tensor:
        """Sums over the blocks of each cell: [N, ...] to [cells, ...]."""
        if self.even:
            return values
        return tf.math.unsorted_segment_sum(values, self.cells, self.size)

    def of_cells(self, values: tf.Tensor) -> tf.Tensor:
        """The value of each block's cell: [cells, ...] to [N, ...]."""
        return values if self.even else tf.gather(values, self.cells)


@dataclasses.dataclass(frozen=True)
class Layout:
    """Rows sorted by cell.

    Attributes:
      ids: [B] int32, the cell of each row; `cells` for none.
      order: [B] int32, the rows by cell, those of none last.
      counts: [cells] int32, how many rows each cell has.
      total: how many rows there are, B.
      cells: how many cells there are.
    """

    ids: tf.Tensor
    order: tf.Tensor
    counts: tf.Tensor
    total: Size
    cells: Size

    def choose(self, function: Callable[[Blocks], Any]) -> Any:
        """The function of blocks that suit the counts.

        One block a cell where the counts are equal, or unequal as by chance: products
        of large matrices, and no sum over blocks. Blocks of a side that leaves few
        places empty for any other counts. Each shape hangs on B and cells alone.
        """
        even = -(-self.total // self.cells)
        if isinstance(even, int):
            roomy = even + math.ceil(3.0 * math.sqrt(even))
        else:
            roomy = even + tf.cast(3.0 * tf.sqrt(tf.cast(even, tf.float32)), tf.int32)
        small = larger(64, -larger(-256, -(even // 4)))
        most = tf.reduce_max(self.counts)
        return tf.cond(
            most <= even,
            lambda: function(self.blocks(even, even=True)),
            lambda: tf.cond(
                most <= roomy,
                lambda: function(self.blocks(roomy, even=True)),
                lambda: function(self.blocks(small)),
            ),
        )

    def blocks(self, side: Size, even: bool = False) -> Blocks:
        """Blocks of so many places.

        Args:
          side: places in a block.
          even: one block for each cell, which must have so many places.
        """
        cells, counts = self.cells, self.counts
        starts = tf.cumsum(counts, exclusive=True)
        if even:
            cell = first = tf.range(cells)
        else:
            each = (counts + side - 1) // side
            ends = tf.cumsum(each)
            number = tf.range((self.total + cells * (side - 1)) // side)
            cell = tf.minimum(tf.searchsorted(ends, number, side="right"), cells - 1)
            first = ends - each
        within = tf.range(tf.shape(cell)[0]) - tf.gather(first, cell)
        within = within[:, None] * side + tf.range(side)
        filled = within < tf.gather(counts, cell)[:, None]
        at = tf.where(filled, tf.gather(starts, cell)[:, None] + within, 0)
        offsets = tf.concat([first * side - starts, [0]], axis=0)
        rank = tf.math.invert_permutation(self.order)
        places = rank + tf.gather(offsets, self.ids)
        places = tf.where(self.ids < cells, places, 0)
        return Blocks(tf.gather(self.order, at), filled, cell, places, cells, even)


def lay_out(ids: tf.Tensor, cells: Size) -> Layout:
    """Sorts rows by cell."""
    total = ids.shape[0]
    if total is None:
        total = tf.shape(ids)[0]
    ids = tf.where(ids >= 0, ids, cells)
    counts = tf.math.unsorted_segment_sum(tf.ones_like(ids), ids, cells + 1)
    return Layout(ids, tf.argsort(ids), counts[:cells], total, cells)
