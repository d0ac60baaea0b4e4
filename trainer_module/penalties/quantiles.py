"""Optimal transport on the line: exact, and between all environments at once.

On the line the cost is the area between distribution functions (order 1) or the squared
distance between quantile functions (order 2). Both are homogeneous in the values,
W(s x) = s^order W(x), so W = sum_i x_i dW/dx_i / order (Euler): the slopes dW/dx_i are
all that is computed, and they are the gradient too.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from trainer_module.penalties.batch import Environments
from trainer_module.penalties.sorting import (
    is_first,
    lexicographic_order,
    put_columns,
    running_sum,
    sums_before,
    take_columns,
    unsorted,
    zero_where,
)
from trainer_module.penalties.spread import pool, row_shares

FUNCTIONS_AT_ONCE = 1024  # distribution functions in memory, B numbers each


def line_transport(
    values: tf.Tensor, environments: Environments, order: int, pooled: bool
) -> tf.Tensor:
    """Transport cost of environments on each of some lines, averaged over the lines.

    Args:
      values: [P, B] float32, each row's place on each of P lines.
      environments: the cells, with the rows of every replica.
      order: 1 for the distance |x - y|, 2 for its square.
      pooled: to the pooled distribution of each class; else between pairs.

    Returns:
      Scalar float32 >= 0: averaged over pairs or environments within each class, then
      over the classes that are present.
    """
    kept = environments.ids >= 0
    rows = tf.maximum(tf.reduce_sum(tf.cast(kept, tf.float32)), 1.0)
    slopes_of = _slopes_1 if order == 1 else _slopes_2
    scale = tf.gather(_scales(environments, pooled), _classes(environments))
    scale /= float(values.shape[0])

    @tf.custom_gradient
    def cost(values: tf.Tensor) -> tuple[tf.Tensor, Callable[..., tf.Tensor]]:
        # Near 0 numbers round least, and the cost is the same wherever 0 is.
        values = tf.where(kept, values, 0.0)
        values -= tf.reduce_sum(values, axis=1, keepdims=True) / rows
        values = tf.where(kept, values, 0.0)
        slopes = tf.where(kept, scale * slopes_of(values, environments, pooled), 0.0)
        products = tf.cast(slopes, tf.float64) * tf.cast(values, tf.float64)
        value = tf.maximum(tf.reduce_sum(products) / order, 0.0)
        return tf.cast(value, tf.float32), lambda upstream: upstream * slopes

    return cost(values)


def _scales(environments: Environments, pooled: bool) -> tf.Tensor:
    """What makes sums over pairs or environments means: [C + 1], 0 for no class."""
    present = tf.reshape(environments.present, [-1, environments.size])
    count = tf.reduce_sum(present, axis=1)
    each = count if pooled else count * (count - 1.0) / 2.0
    classes = tf.reduce_sum(tf.cast(count > 0, tf.float32))
    scale = tf.where(each > 0, 1.0 / tf.maximum(each * classes, 1.0), 0.0)
    return tf.pad(scale, [[0, 1]])


def _classes(environments: Environments) -> tf.Tensor:
    """The class of each row [B] int32; C for rows of no cell."""
    ids = environments.ids
    return tf.where(ids >= 0, ids // environments.size, environments.classes)


def _slopes_1(values: tf.Tensor, environments: Environments, pooled: bool) -> tf.Tensor:
    """Slopes [P, B] of the areas between distribution functions, summed over pairs.

    The functions are known at every row's place once the rows are sorted.

    Args:
      values: [P, B] float32, each row's place on each line.
      environments: the cells.
      pooled: to the pool of each class.

    Returns:
      [P, B] float32; anything in rows of no cell.
    """
    size = environments.size
    classes = _classes(environments)
    order = lexicographic_order(classes, values)
    columns = [
        tf.gather(tf.maximum(environments.ids, 0) % size, order),
        tf.gather(row_shares(environments), order),
    ]
    if pooled:
        columns.append(tf.gather(row_shares(pool(environments)), order))
    classes = tf.sort(classes)

    def slopes_of(columns: list[tf.Tensor]) -> tf.Tensor:
        return _sorted_slopes_1(*columns, classes=classes, environments=environments)

    at_once = max(1, FUNCTIONS_AT_ONCE // size)
    return unsorted(_in_parts(slopes_of, columns, at_once), order, tf.size(classes))


def _sorted_slopes_1(
    ids: tf.Tensor,
    shares: tf.Tensor,
    pool_shares: tf.Tensor | None = None,
    *,
    classes: tf.Tensor,
    environments: Environments,
) -> tf.Tensor:
    """The same of rows that are sorted by class and place.

    At its place a row lets the distribution function of its environment step from l to
    u. The area to another one, F, then has the slope |l - F| - |u - F|, which is
    2 clip(F, l, u) - l - u. In the pool G it lets that function step too.

    Args:
      ids: [P, B] int32, the environment of each row.
      shares: [P, B], the weight of each row in its cell.
      pool_shares: [P, B], in its class; None for pairs.
      classes: [B] int32, sorted.
      environments: the cells.

    Returns:
      [P, B] float32.
    """
    size = environments.size
    present = tf.reshape(environments.present, [-1, size])
    present = tf.pad(present, [[0, 1], [0, 0]])
    count = tf.gather(tf.reduce_sum(present, axis=1), classes)
    first = tf.concat([[True], classes[1:] != classes[:-1]], axis=0)
    cells = ids == tf.range(size)[:, None, None]
    functions = running_sum(tf.where(cells, shares, 0.0))
    if environments.classes > 1:
        # The sum has run on from class to class, 1 for each that has the environment.
        before = tf.gather(tf.cumsum(present, exclusive=True), classes)
        functions -= tf.transpose(before)[:, None]
    places = tf.reshape(tf.range(tf.size(ids)), tf.shape(ids)) + ids * tf.size(ids)
    flat = tf.reshape(functions, [-1])
    upper = tf.gather(flat, places)
    lower = zero_where(first, tf.gather(flat, tf.maximum(places - 1, 0)))
    if pool_shares is None:
        clipped = _clipped(functions, lower, upper)
        return 2.0 * clipped - (count + 1.0) * (upper - lower)
    pooled = running_sum(pool_shares)
    if environments.classes > 1:
        there = tf.cast(tf.reduce_any(present > 0, axis=1), tf.float32)
        pooled -= tf.gather(tf.cumsum(there, exclusive=True), classes)
    earlier = zero_where(first, tf.roll(pooled, 1, axis=1))
    clipped = _clipped(functions, earlier, pooled)
    own = tf.abs(lower - earlier) - tf.abs(upper - earlier)
    return 2.0 * clipped - count * (pooled - earlier) + own


def _clipped(functions: tf.Tensor, lower: tf.Tensor, upper: tf.Tensor) -> tf.Tensor:
    """Sum over functions F of clip(F, lower, upper) - lower: [E, P, B] to [P, B]."""
    above = tf.minimum(tf.nn.relu(functions - lower), upper - lower)
    return tf.reduce_sum(above, axis=0)


def _slopes_2(values: tf.Tensor, environments: Environments, pooled: bool) -> tf.Tensor:
    """Slopes [P, B] of the squared distances of quantile functions, summed over pairs.

    A row's place x is the quantile function of its environment from level l to u. The
    sum over the n environments f of its class has the slope
    2 sum_f int_l^u (x - Q_f) = 2 (n (u - l) x - int_l^u sum_f Q_f).
    The pool is one environment more, made of the same rows.

    Args:
      values: [P, B] float32, each row's place on each line.
      environments: the cells.
      pooled: to the pool of each class.

    Returns:
      [P, B] float32; anything in rows of no cell.
    """
    size, rows = environments.size, tf.shape(values)[1]
    slots = size + 1 if pooled else size
    classes, own = _classes(environments), tf.maximum(environments.ids, 0) % size
    cells, shares = classes * slots + own, row_shares(environments)
    if pooled:
        cells = tf.concat([cells, classes * slots + size], axis=0)
        cells = tf.minimum(cells, environments.classes * slots)  # rows of no cell
        shares = tf.concat([shares, row_shares(pool(environments))], axis=0)
        values = tf.concat([values, values], axis=1)
    order = lexicographic_order(cells, values)
    values = tf.cast(tf.gather(values, order, batch_dims=1), tf.float64)
    # Rows of equal weights have the same levels on every line.
    shares = tf.gather(shares, order if environments.weighted else order[:1])
    shares = tf.cast(shares, tf.float64)
    cells = tf.sort(cells)
    in_pool = cells % slots == size
    sides = [~in_pool, in_pool] if pooled else [~in_pool]
    parts = _integrals(values, shares, cells, tf.stack(sides), slots, environments)
    present = tf.reshape(environments.present, [-1, size])
    count = tf.pad(tf.reduce_sum(present, axis=1), [[0, 1]])
    count = tf.cast(tf.gather(count, cells // slots), tf.float64)
    if pooled:
        count = tf.where(in_pool, count, tf.ones_like(count))
    others = tf.where(in_pool, parts[0], parts[1]) if pooled else parts[0]
    slopes = tf.cast(2.0 * (count * shares * values - others), tf.float32)
    return unsorted(slopes, order % rows, rows)


def _integrals(
    values: tf.Tensor,
    shares: tf.Tensor,
    cells: tf.Tensor,
    sides: tf.Tensor,
    slots: int,
    environments: Environments,
) -> tf.Tensor:
    """Integrals of sums of a class's quantile functions, over each row's levels.

    Args:
      values: [P, R] float64, sorted by cell and place.
      shares: [P, R] or [1, R] float64, the weight of each row in its cell.
      cells: [R] int32, sorted.
      sides: [S, R] bool, the rows whose cells are in each of S sums.
      slots: how many cells a class has.
      environments: for the number of classes.

    Returns:
      [S, P, R] float64.
    """
    classes, many = cells // slots, environments.classes
    first, new_class = is_first(cells), is_first(classes)
    levels = running_sum(shares)
    levels -= sums_before(levels[:1], cells, cells, many * slots)
    levels = tf.cast(levels, tf.float32)
    order = lexicographic_order(classes, levels)
    levels = tf.cast(take_columns(levels[None], order), tf.float64)
    widths = levels - zero_where(new_class, tf.roll(levels, 1, axis=2))
    # At a row's upper level the function of its cell steps to the next row's place,
    # past the last row to 0. So the sum is what the steps yet to come take away.
    last = tf.concat([first[1:], [True]], axis=0)
    steps = zero_where(last, tf.roll(values, -1, axis=1)) - values
    steps = take_columns(zero_where(~sides[:, None], steps), order)
    sums = running_sum(steps)
    heights = sums - steps - sums_before(sums, classes, classes + 1, many)
    areas = running_sum(heights * widths)
    if many > 1:
        areas -= sums_before(areas, classes, classes, many)
    areas = put_columns(areas, order)
    return areas - zero_where(first, tf.roll(areas, 1, axis=2))


def _in_parts(
    function: Callable[[list[tf.Tensor]], tf.Tensor],
    columns: list[tf.Tensor],
    at_once: int,
) -> tf.Tensor:
    """A function of columns [P, B], for so many of the P lines at a time."""
    lines = columns[0].shape[0]
    if lines <= at_once:
        return function(columns)
    at_once = next(size for size in range(at_once, 0, -1) if lines % size == 0)
    rows = tf.shape(columns[0])[1]
    parts = [tf.reshape(c, [lines // at_once, at_once, rows]) for c in columns]
    spec = tf.TensorSpec([at_once, columns[0].shape[1]], tf.float32)
    results = tf.map_fn(function, parts, fn_output_signature=spec)
    return tf.reshape(results, [lines, rows])
