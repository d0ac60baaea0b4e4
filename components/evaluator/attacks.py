"""FGSM and PGD on an exported model, through its own signatures.

`transform_features` makes features of serialized examples, `transformed` scores them,
and `assets.extra/perturbable.json` says which of them may move: feature -> {"missing":
the feature that is 1 where this one is missing, or null}. Ids and indicators never
move, and neither does a number that is missing.

What is climbed is the loss of the label, in inference mode, each example on its own.
A cross-entropy is softplus(m) of the margin m by which the label is beaten, so m's
gradient has the direction of the loss's; but where a model is so sure of itself that
its loss is flat in float32, m is not.

References:
  Carlini and Wagner 2017, Towards Evaluating the Robustness of Neural Networks, section
  VI (a loss on logits finds what a saturated softmax hides).
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from apache_beam.utils import shared

from components.attack import Attack
from components.errors import DataError
from components.evaluator import columns

FEATURES, SCORES = "transform_features", "transformed"
PERTURBABLE = os.path.join("assets.extra", "perturbable.json")
_TOLERANCE = 1e-3  # between two signatures' scores of one example

Scores = Mapping[str, tf.Tensor]


def _binary(scores: Scores, labels: tf.Tensor) -> tf.Tensor:
    """(1 - 2y) z; the log loss is its softplus."""
    return (1 - 2 * labels) * scores["logits"][:, 0]


def _multiclass(scores: Scores, labels: tf.Tensor) -> tf.Tensor:
    """Log sum_{k != y} exp(z_k) - z_y; the cross-entropy is its softplus."""
    logits = scores["logits"]
    ids = tf.cast(labels, tf.int64)
    own = tf.one_hot(ids, logits.shape[1], True, False, dtype=tf.bool)
    others = tf.where(own, tf.constant(-np.inf, logits.dtype), logits)
    label = tf.gather(logits, ids, axis=1, batch_dims=1)
    return tf.reduce_logsumexp(others, axis=1) - label


def _regression(scores: Scores, labels: tf.Tensor) -> tf.Tensor:
    return tf.square(scores["predictions"][:, 0] - labels)


# Task -> what an attack raises, [N], from a model's scores and the labels [N].
LOSSES: dict[str, Callable[[Scores, tf.Tensor], tf.Tensor]] = {
    "binary": _binary,
    "multiclass": _multiclass,
    "regression": _regression,
}


class Attacker:
    """Attacks a model where it is; may be sent there pickled, and loads it once."""

    def __init__(self, path: str, task: str, attacks: Sequence[Attack]) -> None:
        """Makes the attacker; nothing is loaded yet.

        Args:
          path: of the candidate's SavedModel.
          task: a key of `LOSSES`.
          attacks: each once.
        """
        self._path, self._task, self._attacks = path, task, tuple(attacks)
        self._shared = shared.Shared()
        self._model: AttackedModel | None = None  # held, or the next split loads anew

    def __getstate__(self) -> dict[str, Any]:
        """Without the model, which no pickle takes."""
        return {**self.__dict__, "_model": None}

    def predictions(
        self, examples: np.ndarray, labels: np.ndarray, served: np.ndarray, key: str
    ) -> dict[str, np.ndarray]:
        """The model's predictions on attacked features.

        Args:
          examples: serialized tf.Examples, bytes [N].
          labels: [N].
          served: the model's predictions without attack, of its serving signature.
          key: of the predictions in a signature's outputs.

        Returns:
          `Attack.model` -> predictions shaped like `served`.

        Raises:
          DataError: the model can't be attacked, or what is attacked is not what is
            served.
        """
        if self._model is None:
            self._model = self._shared.acquire(
                lambda: AttackedModel(self._path, self._task, self._attacks)
            )
        clean, attacked = self._model(examples, labels)
        rows, classes = len(examples), served.shape[1] if served.ndim > 1 else None

        def of(name: str, outputs: Mapping[str, Any]) -> np.ndarray:
            return columns.predictions(outputs, {name: key}, rows, classes)[name]

        if not np.allclose(
            of("candidate", clean), served, _TOLERANCE, _TOLERANCE, equal_nan=True
        ):
            raise DataError(
                f"the model in {self._path} scores examples otherwise by its signature"
                f" {SCORES!r} than it serves them, so an attack on that says nothing of"
                " it; export both over the same network"
            )
        return {name: of(name, outputs) for name, outputs in attacked.items()}


class AttackedModel:
    """A SavedModel with the attacks on it, as one TensorFlow function."""

    def __init__(self, path: str, task: str, attacks: Sequence[Attack]) -> None:
        """Loads the model and traces the attacks.

        Args:
          path: of the SavedModel.
          task: a key of `LOSSES`.
          attacks: each once.

        Raises:
          DataError: the model lacks a signature or says not what may move, nothing
            may, or its scores don't depend on what may.
        """
        self._path, self._loss, self._attacks = path, LOSSES[task], tuple(attacks)
        self._model = tf.saved_model.load(path)  # signatures don't keep it alive
        self._features, self._scores = (
            self._signature(FEATURES),
            self._signature(SCORES),
        )
        self._movable = _perturbable(path)
        inputs = self._scores.structured_input_signature[1]
        for name in self._movable:
            if name not in inputs:
                raise DataError(
                    f"{PERTURBABLE} of the model in {path} says that {name!r} may move,"
                    f" but its features are {', '.join(sorted(inputs))}; train it anew"
                )
        self._widths = {name: inputs[name].shape[1] for name in self._movable}
        self._frozen = [self._mask(attack, set(inputs)) for attack in attacks]
        spec = (tf.TensorSpec([None], tf.string), tf.TensorSpec([None], tf.float32))
        traced = tf.function(self._attack, input_signature=spec, autograph=False)
        self._run = traced.get_concrete_function()

    def __call__(self, examples: np.ndarray, labels: np.ndarray) -> tuple[Any, Any]:
        """Scores of serialized examples [N] with labels [N]: clean, and by attack."""
        clean, attacked = self._run(
            tf.constant(examples, tf.string), tf.constant(labels, tf.float32)
        )
        return tf.nest.map_structure(lambda tensor: tensor.numpy(), (clean, attacked))

    def move(
        self, features: Mapping[str, tf.Tensor], labels: tf.Tensor
    ) -> dict[str, dict[str, tf.Tensor]]:
        """Transformed features under each attack.

        Args:
          features: what `transformed` takes, [N, width] each.
          labels: float32 [N].

        Returns:
          `Attack.model` -> features, those that may not move as they came.
        """
        return self._move(features, labels)[1]

    def _attack(self, examples: tf.Tensor, labels: tf.Tensor) -> tuple[Any, Any]:
        clean, moved = self._move(self._features(examples=examples), labels)
        return clean, {name: self._scores(**m) for name, m in moved.items()}

    def _move(
        self, features: Mapping[str, tf.Tensor], labels: tf.Tensor
    ) -> tuple[Scores, dict[str, dict[str, tf.Tensor]]]:
        clean = tf.concat([features[name] for name in self._movable], axis=1)
        present = tf.concat([self._present(features, n) for n in self._movable], axis=1)

        def gradient_at(moved: tf.Tensor) -> tuple[tf.Tensor, Scores]:
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(moved)
                scores = self._scores(**self._with(features, moved))
                loss = tf.reduce_sum(self._loss(scores, labels))
            gradient = tape.gradient(loss, moved)
            if gradient is None:
                raise DataError(
                    f"the scores of the model in {self._path} don't change with"
                    f" {', '.join(self._movable)}, so no attack moves it; take"
                    " checks.robustness out"
                )
            return gradient, scores

        first, scores = gradient_at(clean)
        found = {}
        for attack, mask in zip(self._attacks, self._frozen, strict=True):
            moved = _climb(_Ball(attack, clean, present * mask), first, gradient_at)
            found[attack.model] = self._with(features, moved)
        return scores, found

    def _with(
        self, features: Mapping[str, tf.Tensor], moved: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        parts = tf.split(moved, list(self._widths.values()), axis=1)
        return {**features, **dict(zip(self._widths, parts, strict=True))}

    def _present(self, features: Mapping[str, tf.Tensor], name: str) -> tf.Tensor:
        """1 where a value may move, 0 where it is missing, [N, width]."""
        indicator, ones = self._movable[name], tf.ones_like(features[name])
        if indicator is None:
            return ones
        return ones * tf.cast(features[indicator] < 0.5, ones.dtype)

    def _signature(self, name: str) -> Any:
        found = self._model.signatures
        if name not in found:
            raise DataError(
                f"the model in {self._path} has no signature {name!r}, only"
                f" {', '.join(sorted(found))}, so it can't be attacked; train it anew,"
                " or take checks.robustness out"
            )
        return found[name]

    def _mask(self, attack: Attack, known: set[str]) -> tf.Tensor:
        """1 where an attack may move something, 0 where it is frozen, [1, M]."""
        for name in attack.frozen:
            if name not in known:
                raise DataError(
                    f"checks.robustness freezes the feature {name!r}, but the model's"
                    f" are {', '.join(sorted(known))}"
                )
        if set(self._widths) <= set(attack.frozen):
            names = ", ".join(self._widths)
            raise DataError(
                "checks.robustness moves nothing: the model in"
                f" {self._path} has no number among its features"
                + (f" but {names}, all frozen" if names else "")
            )
        parts = [np.full(w, n not in attack.frozen) for n, w in self._widths.items()]
        return tf.constant(np.concatenate(parts)[None], tf.float32)


class _Ball:
    """Where the features of each example may go, and the way up from a point."""

    def __init__(self, attack: Attack, clean: tf.Tensor, free: tf.Tensor) -> None:
        self.attack, self.clean, self._free = attack, clean, free

    def step(self, at: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
        """One step up, back into the ball and the range."""
        attack, clean = self.attack, self.clean
        moved = at + attack.length * self._ascent(gradient)
        reach = attack.epsilon * self._free
        if attack.norm == "linf":
            moved = tf.clip_by_value(moved, clean - reach, clean + reach)
        else:
            way = self._free * (moved - clean)
            longest = tf.maximum(_length(way), attack.epsilon)
            moved = clean + way * (attack.epsilon / longest)
        if attack.clip is not None:
            low, high = (tf.constant(end, clean.dtype) for end in attack.clip)
            moved = tf.clip_by_value(
                moved, tf.minimum(low, clean), tf.maximum(high, clean)
            )
        # A minimum may swallow NaN, and a model without gradient would look robust.
        lost = tf.constant(np.nan, clean.dtype)
        return tf.where(tf.math.is_finite(gradient), moved, lost)

    def _ascent(self, gradient: tf.Tensor) -> tf.Tensor:
        """The way up, of length 1 by the norm; 0 where there is none."""
        gradient *= self._free
        if self.attack.norm == "linf":
            return tf.sign(gradient)
        # The square of a small gradient may be 0 in float32.
        largest = tf.reduce_max(tf.abs(gradient), axis=1, keepdims=True)
        gradient = tf.math.divide_no_nan(gradient, largest)
        return tf.math.divide_no_nan(gradient, _length(gradient))


def _length(rows: tf.Tensor) -> tf.Tensor:
    return tf.sqrt(tf.reduce_sum(tf.square(rows), axis=1, keepdims=True))


def _climb(
    ball: _Ball,
    first: tf.Tensor,
    gradient_at: Callable[[tf.Tensor], tuple[tf.Tensor, Any]],
) -> tf.Tensor:
    """The steps of an attack; all but the first in a loop, traced once."""

    def step(count: tf.Tensor, at: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return count + 1, ball.step(at, gradient_at(at)[0])

    moved = ball.step(ball.clean, first)
    steps = ball.attack.steps
    if steps == 1:
        return moved
    return tf.while_loop(lambda count, _: count < steps, step, (1, moved))[1]


def _perturbable(path: str) -> dict[str, str | None]:
    """Feature that may move -> the feature that tells where it is missing, or None."""
    file = os.path.join(path, PERTURBABLE)
    if not tf.io.gfile.exists(file):
        raise DataError(
            f"the model in {path} says not which features an attack may move: it has no"
            f" {PERTURBABLE}; train it anew, or take checks.robustness out"
        )
    with tf.io.gfile.GFile(file) as opened:
        found = json.loads(opened.read())
    return {name: entry["missing"] for name, entry in found.items()}
