"""Balls around rows of features, and ways inside of them."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from trainer_module.noise import normal, pair, uniform


class Ball:
    """Where values may go: around the clean ones, and in a range if there is one."""

    def __init__(
        self,
        clean: tf.Tensor,
        free: tf.Tensor | None,
        radius: float,
        norm: str,
        clip: Sequence[float] | None,
    ) -> None:
        """Works out the bounds; a clean value is always inside of them."""
        self._clean, self._norm = clean, norm
        self._radius = tf.constant(radius, clean.dtype)
        self._free = None if free is None else tf.cast(free, clean.dtype)
        self._range: tuple[tf.Tensor, tf.Tensor] | None = None
        if clip is not None:
            low, high = tf.unstack(tf.constant(clip, clean.dtype))
            self._range = (tf.minimum(low, clean), tf.maximum(high, clean))
        if norm == "linf":
            reach = self._only_free(self._radius)
            low, high = clean - reach, clean + reach
            if self._range is not None:
                low = tf.maximum(low, self._range[0])
                high = tf.minimum(high, self._range[1])
            self._box = (low, high)

    def project(self, moved: tf.Tensor) -> tf.Tensor:
        """The nearest point of the ball, clipped."""
        if self._norm == "linf":
            return tf.clip_by_value(moved, *self._box)
        way = self._only_free(moved - self._clean)
        longest = tf.maximum(_length(way), self._radius)
        way *= tf.math.divide_no_nan(self._radius, longest)
        return self.clip(self._clean + way)

    def clip(self, moved: tf.Tensor) -> tf.Tensor:
        """A point of the ball, brought into the range."""
        return moved if self._range is None else tf.clip_by_value(moved, *self._range)

    def ascent(self, gradient: tf.Tensor) -> tf.Tensor:
        """The way up: of length 1 by the norm, or 0 where the gradient is."""
        gradient = self._only_free(gradient)
        if self._norm == "linf":
            return tf.sign(gradient)
        # The square of a confident model's gradient may be too small for its dtype.
        largest = tf.reduce_max(tf.abs(gradient), axis=1, keepdims=True)
        gradient = tf.math.divide_no_nan(gradient, largest)
        return tf.math.divide_no_nan(gradient, _length(gradient))

    def random(self, share: float, seed: int | tf.Tensor) -> tf.Tensor:
        """A point, uniform in the ball of a share of the radius."""
        rows, columns = tf.shape(self._clean)[0], self._clean.shape[1]
        if self._norm == "linf":
            way = tf.cast(uniform([rows, columns], seed), self._clean.dtype)
        else:
            # The volume within a length grows with its power of the dimension.
            other = uniform([rows, 1], pair(seed) + 1)
            length = tf.pow(0.5 + 0.5 * other, 1.0 / columns)
            draws = tf.cast(normal(rows, columns, seed), self._clean.dtype)
            way = tf.cast(length, draws.dtype) * self.ascent(draws)
        return self.project(self._clean + share * self._radius * way)

    def _only_free(self, values: tf.Tensor) -> tf.Tensor:
        return values if self._free is None else values * self._free


def _length(rows: tf.Tensor) -> tf.Tensor:
    """Euclidean length of each row, [B, 1]."""
    return tf.sqrt(tf.reduce_sum(tf.square(rows), axis=1, keepdims=True))
