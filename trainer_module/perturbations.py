"""Small perturbations of the features: noise, FGSM, PGD.

Only numbers move: float features called `numeric_<column>` or `dense_<column>`, less
the frozen ones. Ids and missing indicators stay, and so does a number that is missing.
Whatever the kind, the result stays in a ball of `epsilon` around the clean features,
and in a range where one is given.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import tensorflow as tf

from trainer_module.balls import Ball
from trainer_module.methods import METHODS
from trainer_module.noise import normal

Features: TypeAlias = "tf.Tensor | Mapping[str, tf.Tensor]"
Loss = Callable[[Any], tf.Tensor]

MOVABLE = ("numeric_", "dense_")
INDICATOR = "missing_"
_UNROLL_UP_TO = 10  # steps
_ALONE = "features"


def perturb_data(
    features: Features,
    epsilon: float,
    kind: str = "fgsm",
    *,
    loss: Loss | None = None,
    steps: int = 7,
    step_size: float | None = None,
    random_start: bool = False,
    norm: str = "linf",
    clip: Sequence[float] | None = None,
    frozen: Sequence[str] = (),
    movable: Sequence[str] | None = None,
    seed: int | tf.Tensor = 0,
) -> Any:
    """Moves features a little: at random, or to where the loss is larger.

    * gaussian: x' = P(x + n), n of the normal distribution N(0, epsilon^2).
    * fgsm: x' = P(x + step_size a(x)), a single step; `step_size` is epsilon by
      default and `steps` isn't read.
    * pgd: x_{k+1} = P(x_k + step_size a(x_k)), `steps` times; `step_size` is
      2.5 epsilon / steps by default.

    P is the projection onto the ball: each number moves by epsilon at most under
    "linf", all that move in a row by epsilon together (Euclidean length) under "l2".
    So the noise of "gaussian" is cut off: at one standard deviation under "linf", at
    the length epsilon under "l2". The ascent a is the sign of the gradient under
    "linf" and the gradient divided by its length, row by row, under "l2".

    `clip` holds what moves in a range. A clean value outside of it may come nearer to
    the range, but moves no farther away, and never leaves the ball.

    Args:
      features: the model's inputs by name, [B, width] each, or one tensor [B, D] of
        numbers that all may move. float16 and bfloat16 are moved in float32, and stay
        in the ball but for their rounding.
      epsilon: radius of the ball, at least 0, in the features' units (z-scores for
        numeric features).
      kind: "fgsm", "pgd" or "gaussian".
      loss: a function of features like these to the losses to raise, [B] or their sum
        or mean. Needed for fgsm and pgd. It should call the model in inference mode.
      steps: of pgd, at least 1.
      step_size: of fgsm and pgd, above 0.
      random_start: fgsm and pgd start at a random point of the ball.
      norm: "linf" or "l2".
      clip: lowest and highest value of what moves.
      frozen: names of features that stay.
      movable: names of the features that may move, instead of those whose names begin
        with numeric_ or dense_.
      seed: of every random number; an int, or an int tensor [2].

    Returns:
      The features moved, as they came in: a dict or a tensor. No gradient flows
      through what moved.

    Raises:
      ValueError: an illegal option, no loss, an unknown name, nothing that may move, a
        shape that is not [B, width], or a loss that is not [B] or a scalar or does not
        depend on what may move.

    References:
      Goodfellow et al. 2015, Explaining and Harnessing Adversarial Examples, section 4
      (FGSM). Madry et al. 2018, Towards Deep Learning Models Resistant to Adversarial
      Attacks, section 2.1 (PGD).
    """
    perturbation = Perturbation(
        epsilon=epsilon,
        kind=kind,
        steps=steps,
        step_size=step_size,
        random_start=random_start,
        norm=norm,
        clip=clip,
        frozen=frozen,
        movable=movable,
    )
    return perturbation(features, loss, seed)


@dataclasses.dataclass(frozen=True)
class Perturbation:
    """A way to move features; the options are those of `perturb_data`.

    Attributes:
      start: share of the ball, in (0, 1], that a random start is drawn from.

    Raises:
      ValueError: an option is illegal.
    """

    epsilon: float
    kind: str = "fgsm"
    steps: int = 7
    step_size: float | None = None
    random_start: bool = False
    norm: str = "linf"
    clip: Sequence[float] | None = None
    frozen: Sequence[str] = ()
    movable: Sequence[str] | None = None
    start: float = 1.0

    def __post_init__(self) -> None:
        options = dict(METHODS["adversarial"].options)
        if self.movable is not None:
            options["movable"] = options["frozen"]
        for field in dataclasses.fields(self):
            value, option = getattr(self, field.name), options.get(field.name)
            if option is not None and not option.accepts(value):
                raise ValueError(
                    f"{field.name} of a perturbation is {value!r}; expected "
                    f"{option.legal}"
                )

    @property
    def starts_clean(self) -> bool:
        """Whether the first gradient is that at the clean features."""
        return self.kind != "gaussian" and not self.random_start

    def __call__(
        self,
        features: Features,
        loss: Loss | None = None,
        seed: int | tf.Tensor = 0,
        first_gradient: Mapping[str, tf.Tensor | None] | None = None,
    ) -> Any:
        """Moves features.

        Args:
          features: as in `perturb_data`, whose result and errors are the same.
          loss: as in `perturb_data`.
          seed: as in `perturb_data`.
          first_gradient: of the loss at the clean features, by name, if it is known
            and the perturbation starts there; None for a feature that has no part in
            the loss.
        """
        if self.kind != "gaussian" and loss is None:
            raise ValueError(
                f"{self.kind} follows the gradient of a loss, but none was given: pass "
                "loss=, a function from features to losses [B]"
            )
        if isinstance(features, Mapping):
            tensors = {n: tf.convert_to_tensor(f) for n, f in features.items()}
            names = self._names(tensors)
            return self._move(_Moving(tensors, names, loss, first_gradient), seed)
        if self.frozen or self.movable is not None:
            raise ValueError(
                "frozen and movable name features, but the features are one tensor: "
                "pass a dict by name"
            )
        alone = {_ALONE: tf.convert_to_tensor(features)}
        inner = None if loss is None else lambda moved: loss(moved[_ALONE])
        return self._move(_Moving(alone, [_ALONE], inner), seed)[_ALONE]

    def _names(self, features: Mapping[str, tf.Tensor]) -> list[str]:
        """Names of the features that move, in their order."""
        for option in ("frozen", "movable"):
            for name in getattr(self, option) or ():
                if name not in features:
                    raise ValueError(
                        f"{option} names the feature {name!r}, but the features are "
                        f"{', '.join(sorted(features))}"
                    )
        numbers = [
            name
            for name, tensor in features.items()
            if tensor.dtype.is_floating and not name.startswith(INDICATOR)
        ]
        for name in self.movable or ():
            if name not in numbers:
                raise ValueError(
                    f"movable names the feature {name!r}, which holds ids or an "
                    f"indicator and so never moves; those that can are "
                    f"{', '.join(numbers) or 'none'}"
                )
        chosen = self.movable
        if chosen is None:
            chosen = [name for name in numbers if name.startswith(MOVABLE)]
        names = [n for n in numbers if n in chosen and n not in self.frozen]
        if not names:
            raise ValueError(
                "No feature can move: expected a float feature named numeric_... or "
                f"dense_... that is not frozen; the features are "
                f"{', '.join(sorted(features))}"
            )
        return names

    def _move(self, moving: _Moving, seed: int | tf.Tensor) -> dict[str, tf.Tensor]:
        clean = moving.join()
        ball = Ball(clean, moving.free(), self.epsilon, self.norm, self.clip)
        if self.kind == "gaussian":
            draws = normal(tf.shape(clean)[0], clean.shape[1], seed)
            moved = ball.project(clean + self.epsilon * tf.cast(draws, clean.dtype))
        else:
            start = ball.random(self.start, seed) if self.random_start else clean
            moved = self._climb(start, moving, ball)
        return moving.part(tf.stop_gradient(moved))

    def _climb(self, start: tf.Tensor, moving: _Moving, ball: Ball) -> tf.Tensor:
        """The steps of fgsm and pgd."""
        steps = 1 if self.kind == "fgsm" else self.steps
        size = self.step_size
        if size is None:
            size = self.epsilon * (1.0 if self.kind == "fgsm" else 2.5 / steps)

        def step(moved: tf.Tensor, gradient: tf.Tensor | None = None) -> tf.Tensor:
            if gradient is None:
                gradient = moving.gradient(moved)
            return moved + size * ball.ascent(gradient)

        first = step(start, None if self.random_start else moving.known_gradient())
        if steps == 1 and not self.random_start and size <= self.epsilon:
            return ball.clip(first)  # cannot leave the ball
        moved = ball.project(first)
        if steps <= _UNROLL_UP_TO:  # as fast as a loop; a loop is traced once
            for _ in range(steps - 1):
                moved = ball.project(step(moved))
            return moved
        return tf.while_loop(
            lambda count, _: count < steps,
            lambda count, moved: (count + 1, ball.project(step(moved))),
            (tf.constant(1), moved),
        )[1]


@dataclasses.dataclass(frozen=True)
class _Moving:
    """Features, of which those that move are taken together as one matrix [B, M].

    Attributes:
      features: all of them, by name.
      names: of those that move.
      loss: from all features to losses, or None.
      clean_gradient: of the losses at these features, by name, or None.
    """

    features: Mapping[str, tf.Tensor]
    names: Sequence[str]
    loss: Loss | None
    clean_gradient: Mapping[str, tf.Tensor | None] | None = None

    def __post_init__(self) -> None:
        for name in self.names:
            shape = self.features[name].shape
            if shape.rank != 2 or shape[1] is None:
                raise ValueError(
                    f"Feature {name!r} has the shape {shape}; expected [B, width]"
                )

    def join(self) -> tf.Tensor:
        """The clean values, [B, M], in float32 if they are of a shorter kind."""
        return self._wide([self.features[name] for name in self.names])

    def known_gradient(self) -> tf.Tensor | None:
        """The gradient at the clean values, [B, M], where it is known."""
        if self.clean_gradient is None:
            return None
        found = [self.clean_gradient[name] for name in self.names]
        if all(part is None for part in found):
            raise self._no_dependence()
        zeros = [tf.zeros_like(self.features[name]) for name in self.names]
        return self._wide(
            [z if f is None else f for z, f in zip(zeros, found, strict=True)]
        )

    def _wide(self, parts: Sequence[tf.Tensor]) -> tf.Tensor:
        wide = tf.float64 if any(p.dtype == tf.float64 for p in parts) else tf.float32
        return _concat([tf.cast(part, wide) for part in parts])

    def _no_dependence(self) -> ValueError:
        return ValueError(
            "The loss does not depend on the features that may move: "
            f"{', '.join(self.names)}"
        )

    def part(self, matrix: tf.Tensor) -> dict[str, tf.Tensor]:
        """All features, those that move taken from a matrix [B, M]."""
        old = [self.features[name] for name in self.names]
        new = [matrix]
        if len(old) > 1:
            new = tf.split(matrix, [tensor.shape[1] for tensor in old], axis=1)
        moved = [tf.cast(n, o.dtype) for n, o in zip(new, old, strict=True)]
        return {**self.features, **dict(zip(self.names, moved, strict=True))}

    def free(self) -> tf.Tensor | None:
        """1 where a value may move, 0 where it is missing, [B, M]; None for all."""
        indicators = [
            self.features.get(INDICATOR + name.partition("_")[2]) for name in self.names
        ]
        if all(indicator is None for indicator in indicators):
            return None
        parts = []
        for name, indicator in zip(self.names, indicators, strict=True):
            free = tf.ones_like(self.features[name], tf.float32)
            if indicator is not None:
                free *= tf.cast(indicator < 0.5, tf.float32)
            parts.append(free)
        return _concat(parts)

    def gradient(self, matrix: tf.Tensor) -> tf.Tensor:
        """Gradient of the loss in what moves, [B, M]."""
        assert self.loss is not None
        # Gradients of the model's variables would cost as much again: not watched.
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(matrix)
            losses = self.loss(self.part(matrix))
        if losses.shape.rank not in (0, 1):
            raise ValueError(
                f"loss returned the shape {losses.shape}; expected losses [B] or a "
                "scalar"
            )
        gradient = tape.gradient(losses, matrix)
        if gradient is None:
            raise self._no_dependence()
        return gradient


def _concat(parts: Sequence[tf.Tensor]) -> tf.Tensor:
    return parts[0] if len(parts) == 1 else tf.concat(parts, axis=1)
