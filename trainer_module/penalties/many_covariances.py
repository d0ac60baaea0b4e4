"""How far apart the covariances of many environments are, without holding them.

A squared norm of a covariance is a sum over pairs of rows of the same environment:
||sum_i w_i x_i x_i^T||_F^2 = sum_ij w_i w_j (x_i . x_j)^2.
"""

from __future__ import annotations

import tensorflow as tf

from trainer_module.penalties.batch import Environments
from trainer_module.penalties.covariances import (
    Gradient,
    Layout,
    Size,
    larger,
    lay_out,
    means_and_covariances,
    moments_of_cells,
    weighted_products,
)
from trainer_module.penalties.spread import pool, row_shares, scales

SMALLEST_TILE = 64  # rows


def covariance_spread(
    environments: Environments, outputs: tf.Tensor, means: tf.Tensor, reference: str
) -> tf.Tensor:
    """What `spread` says of the covariances [C * E, D, D], in memory of B D + C D^2.

    With the mean covariance M of a class, sum_e ||C_e - M||^2 = sum_e ||C_e||^2 -
    E ||M||^2, and the pool's P is E ||M - P||^2 further away.

    Args:
      environments: the cells; it holds the rows of every replica.
      outputs: [B, D] float32.
      means: [C * E, D] float32, of the outputs in each cell.
      reference: "pairs" or "pooled".

    Returns:
      Scalar float32 >= 0.
    """
    size = environments.size
    classes = pool(environments)
    scale = scales(environments, reference)
    count = tf.reduce_sum(tf.reshape(environments.present, [-1, size]), axis=1)
    # A covariance does not change with its centre at the mean: no gradient through it.
    centered = outputs - tf.stop_gradient(environments.of_rows(means))
    weights = row_shares(environments)
    in_class = weights * classes.of_rows(1.0 / tf.maximum(count, 1.0))
    if classes.cells == 1:
        mean_covariances = weighted_products(centered, in_class)[None]
    else:
        _, mean_covariances = moments_of_cells(
            centered, in_class, classes.ids, classes.cells
        )
    squares = _sum_of_squares(
        environments, centered, weights, tf.repeat(scale, size)
    ) - _squares(mean_covariances, scale * count)
    squares = tf.maximum(squares, 0.0)
    if reference == "pairs":
        return squares
    _, pooled = means_and_covariances(classes, outputs)
    return squares + _squares(mean_covariances - pooled, scale * count)


def _squares(matrices: tf.Tensor, factors: tf.Tensor) -> tf.Tensor:
    """Weighted sum of squared norms: [N, D, D] and [N] to a scalar."""
    return tf.reduce_sum(factors * tf.reduce_sum(tf.square(matrices), axis=[1, 2]))


def _sum_of_squares(
    environments: Environments,
    rows: tf.Tensor,
    weights: tf.Tensor,
    factors: tf.Tensor,
) -> tf.Tensor:
    """Weighted sum of the squared norms of the cells' sums of w_i x_i x_i^T.

    Small cells by products of rows; of large ones there are few, and they get their
    matrices.

    Args:
      environments: the cells.
      rows: [B, D] float32, with mean 0 in each cell.
      weights: [B] float32 >= 0.
      factors: [C * E] float32, what each cell counts.

    Returns:
      Scalar float32.
    """
    layout = lay_out(environments.ids, environments.cells)
    tile = max(SMALLEST_TILE, rows.shape[1] // 6)
    tile = larger(tile, 2 * layout.total // layout.cells)
    large = layout.counts > tile
    ids = tf.where(environments.ids >= 0, environments.ids, 0)
    is_large = tf.gather(large, ids) & (environments.ids >= 0)
    small_factors = environments.of_rows(tf.where(large, 0.0, factors))
    squares = _products_in_tiles(
        layout, rows * tf.sqrt(weights)[:, None], small_factors, tile
    )
    most = layout.total // (tile + 1)
    if isinstance(most, int) and most == 0:
        return squares

    def of_large() -> tf.Tensor:
        place = tf.cumsum(tf.cast(large, tf.int32), exclusive=True)
        large_ids = tf.where(is_large, tf.gather(place, ids), -1)
        _, matrices = moments_of_cells(
            rows, tf.where(is_large, weights, 0.0), large_ids, most
        )
        large_factors = tf.math.unsorted_segment_sum(
            factors, tf.where(large, place, -1), most
        )
        return _squares(matrices, large_factors)

    return squares + tf.cond(tf.reduce_any(large), of_large, lambda: 0.0)


def _products_in_tiles(
    layout: Layout, rows: tf.Tensor, factors: tf.Tensor, tile: Size
) -> tf.Tensor:
    """Sum of f_i (x_i . x_j)^2 over rows of the same cell, if it has a tile's at most.

    Sorted rows of such a cell lie in one tile, or in two that are neighbours: each tile
    is multiplied by a window of three. Places that are left empty are zeros.

    Args:
      layout: the rows by cell.
      rows: [B, D] float32.
      factors: [B] float32, the same for all rows of a cell; 0 in those of large cells.
      tile: how many rows there are in a tile.
    """
    tiles = -(-layout.total // tile)
    empty = tiles * tile - layout.total

    def tiled(values: tf.Tensor) -> tf.Tensor:
        values = tf.pad(tf.gather(values, layout.order), [[0, empty]])
        return tf.reshape(values, [tiles, tile])

    ids, factors = tiled(layout.ids + 1), tiled(factors)  # 0 where it is empty
    same = ids[:, :, None] == _windows(ids)[:, None]
    rank = tf.math.invert_permutation(layout.order)
    order = tf.pad(layout.order, [[0, empty]])

    @tf.custom_gradient
    def total(rows: tf.Tensor) -> tuple[tf.Tensor, Gradient]:
        taken = tf.reshape(tf.gather(rows, order), [tiles, tile, rows.shape[1]])
        windows = _windows(taken)
        products = tf.where(same, tf.matmul(taken, windows, transpose_b=True), 0.0)

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            slopes = tf.matmul(products, windows)
            slopes *= (4.0 * upstream * factors)[:, :, None]
            return tf.gather(tf.reshape(slopes, [-1, rows.shape[1]]), rank)

        return tf.reduce_sum(
            factors * tf.reduce_sum(tf.square(products), axis=2)
        ), gradient

    return total(rows)


def _windows(tiles: tf.Tensor) -> tf.Tensor:
    """Each tile with both its neighbours: [N, S, ...] to [N, 3 S, ...]."""
    padded = tf.pad(tiles, [[1, 1]] + [[0, 0]] * (tiles.shape.rank - 1))
    return tf.concat([padded[:-2], padded[1:-1], padded[2:]], axis=1)
