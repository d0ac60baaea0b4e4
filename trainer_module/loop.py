"""Training steps: a `tf.function` around `strategy.run`.

Several steps run inside one call. Nothing of Keras' own loop is used; layers, losses of
layers and optimizers are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from trainer_module import objectives, penalties, schedules
from trainer_module.data import Rows, Split
from trainer_module.devices import workers
from trainer_module.errors import SetupError
from trainer_module.keras3 import keras
from trainer_module.model import call_model
from trainer_module.optimizers import make_optimizer
from trainer_module.reweighting import Reweighting
from trainer_module.scoring import Predictor
from trainer_module.settings import TrainSettings


@dataclasses.dataclass(frozen=True)
class StepResult:
    """What one step tells; risks and largest logits are [E], the rest scalars."""

    risk: tf.Tensor
    largest_logit: tf.Tensor
    penalty: tf.Tensor
    weight: tf.Tensor
    loss: tf.Tensor

    def pack(self) -> tf.Tensor:
        """One vector [2 E + 3], to carry through a loop."""
        scalars = tf.stack([self.penalty, self.weight, self.loss])
        return tf.concat([self.risk, self.largest_logit, scalars], axis=0)

    @classmethod
    def unpack(cls, vector: Any) -> StepResult:
        """Undoes `pack`."""
        size = (len(vector) - 3) // 2
        return cls(vector[:size], vector[size : 2 * size], *vector[2 * size :])


class Trainer:
    """A model with its optimizer and objectives, and the functions that run them.

    Attributes:
      model: the network.
      optimizer: of the network's variables and the objectives'.
      objectives: one for each method of the sum.
      multiplier: scalar, of all their weights; see constraint.py.
      outputs: gives the model's outputs on a split.
    """

    def __init__(
        self,
        model: keras.Model,
        train: Split,
        settings: TrainSettings,
        strategy: tf.distribute.Strategy | None = None,
        reweighting: Reweighting | None = None,
    ) -> None:
        """Makes the optimizer and the objectives.

        Args:
          model: takes features by name; see model.py. Made under the strategy's scope.
          train: the training split.
          settings: everything else.
          strategy: where to run; the current one by default.
          reweighting: of the rows, against covariate shift; or None.

        Raises:
          ValueError: unknown optimizer, method, option or schedule, or a method that
            needs what the model doesn't give.
        """
        self.model = model
        self._split = train
        self._layout = train.layout
        self._settings = settings
        self._strategy = strategy or tf.distribute.get_strategy()
        self._reweighting = reweighting
        self._size = len(settings.columns.environments)
        self._schedule = schedules.get(
            settings.schedule, settings.anneal_steps, settings.initial_weight
        )
        with self._strategy.scope():
            self.objectives = [
                objectives.get(method.name, **method.options)
                for method in settings.methods
            ]
            rows = self._row_of_zeros()
            shapes = self._shapes(rows)
            self._keep_pass = any(
                objective.starts_from_clean_pass for objective in self.objectives
            ) and objectives.modes_agree(self._forward, rows.features)
            for objective in self.objectives:
                objective.build(shapes)
            self._variables = list(model.trainable_variables)
            for objective in self.objectives:
                self._variables += objective.trainable_variables
            self.multiplier = tf.Variable(1.0, trainable=False, name="multiplier")
            self.optimizer = make_optimizer(settings)
            self.optimizer.build(self._variables)
        self._one_step = self._step
        if settings.engine.jit:
            self._refuse_jit_on_replicas()
            self._one_step = tf.function(
                self._step, jit_compile=True, autograph=False, reduce_retracing=True
            )
        self._run_steps = tf.function(self._steps)
        self._score = tf.function(
            self._score_batch, autograph=False, reduce_retracing=True
        )
        self.outputs = Predictor(model, train.layout)

    @property
    def state(self) -> dict[str, Any]:
        """Everything that changes in training, to be saved in checkpoints."""
        return {
            "model": self.model,
            "optimizer": self.optimizer,
            "objectives": self.objectives,
            "multiplier": self.multiplier,
        }

    def run(
        self, batches: Any, first: int, count: int
    ) -> tuple[int, StepResult, StepResult]:
        """Runs some steps; fewer if the loss stops being finite.

        Args:
          batches: the iterator that `feed` gives.
          first: steps done before.
          count: how many to run.

        Returns:
          How many ran, the mean of what they told, and what the last one told; NumPy.

        Raises:
          RuntimeError: the loss is not finite. The message names the step, the
            environment and its largest logit.
        """
        total, last, ran = self._run_steps(
            batches, tf.constant(first, tf.int64), tf.constant(count, tf.int64)
        )
        done = int(ran)
        self._stop_unless_finite(first + done, last.numpy())
        mean = total.numpy() / done
        return done, StepResult.unpack(mean), StepResult.unpack(last.numpy())

    def risks(self, split: Split) -> np.ndarray:
        """Risk of each environment on a whole split, [E]; NaN without rows.

        Workers of one run get the same bits, whatever their processors.
        """
        losses = np.zeros(self._size)
        weights = np.zeros(self._size)
        for floats, ids in split.batches():
            mean, weight = self._score(floats, ids)
            losses += (mean * weight).numpy()
            weights += weight.numpy()
        with np.errstate(invalid="ignore"):
            return self.same_everywhere(np.where(weights > 0, losses / weights, np.nan))

    def same_everywhere(self, values: np.ndarray) -> np.ndarray:
        """The mean over all workers, so that all of them decide alike."""
        if workers() == 1:
            return values
        results = self._strategy.run(
            lambda: tf.distribute.get_replica_context().all_reduce(
                tf.distribute.ReduceOp.MEAN, tf.constant(values)
            )
        )
        return self._strategy.experimental_local_results(results)[0].numpy()

    def _steps(
        self, iterator: Any, first: tf.Tensor, count: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Runs `count` steps, fewer if the loss stops being finite.

        Returns:
          Sum of the packed results, the last one, and how many steps ran.
        """
        total = tf.zeros([2 * self._size + 3])
        last = tf.zeros([2 * self._size + 3])
        ran = tf.zeros([], tf.int64)
        while ran < count and tf.math.is_finite(tf.reduce_sum(last)):
            floats, ids = next(iterator)
            results = self._strategy.run(self._one_step, (first + ran, floats, ids))
            last = self._merge(results)
            total += last
            ran += 1
        return total, last, ran

    @tf.autograph.experimental.do_not_convert
    def _step(self, step: tf.Tensor, floats: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
        """One step on one replica; the packed result."""
        rows = self._layout.unpack(floats, ids)
        methods = self._settings.methods
        with tf.GradientTape() as tape:
            logits, representations, pullback = objectives.clean_pass(
                self._forward, rows.features, self._keep_pass
            )
            losses = [tf.cast(loss, tf.float32) for loss in self.model.losses]
            decay = tf.add_n(losses) if losses else tf.zeros([])
            batch = self._batch(rows, logits, representations)
            if self._reweighting is not None:
                batch = self._reweighting.weigh(rows.features, batch)
            environments = penalties.group_by_environment(batch)
            risk = environments.mean(penalties.per_example_loss(batch))
            seen = objectives.Step(batch, rows.features, self._forward, step, pullback)
            values = [objective(seen) for objective in self.objectives]
            multiplier = tf.convert_to_tensor(self.multiplier)
            weights = [
                multiplier * self._schedule(step, method.weight) for method in methods
            ]
            loss = schedules.total_loss(
                environments.average(risk),
                decay,
                values,
                weights,
                [objective.replaces_risk for objective in self.objectives],
            )
            # Each replica sees all risks: its gradient is one of several to be summed.
            scaled = loss / self._strategy.num_replicas_in_sync
            scaled = self.optimizer.scale_loss(scaled)
        self._apply(tape.gradient(scaled, self._variables))
        largest = tf.math.unsorted_segment_max(
            tf.reduce_max(tf.abs(tf.cast(logits, tf.float32)), axis=-1),
            rows.environment_ids,
            self._size,
        )
        weight = tf.add_n(weights)
        penalty = tf.add_n([w * v for w, v in zip(weights, values, strict=True)])
        penalty = tf.where(weight > 0, tf.math.divide_no_nan(penalty, weight), 0.0)
        return StepResult(risk, largest, penalty, weight, loss).pack()

    def _apply(self, gradients: list[Any]) -> None:
        """Lets the optimizer take a step along gradients, each replica's own part.

        Keras clips what a replica has; it is the sum over all replicas that counts, and
        that float16 has to be looked through for what isn't finite.
        """
        engine, variables = self._settings.engine, self._variables
        if engine.clip_norm is not None or engine.precision == "float16":
            pairs = [
                (tf.convert_to_tensor(gradient), variable)
                for gradient, variable in zip(gradients, variables, strict=True)
                if gradient is not None
            ]
            gradients, variables = map(list, zip(*pairs, strict=True))
            replicas = self._strategy.num_replicas_in_sync
            if replicas > 1:
                gradients = tf.distribute.get_replica_context().all_reduce(
                    tf.distribute.ReduceOp.SUM, gradients
                )
            if engine.clip_norm is not None:
                limit = self.optimizer.scale_loss(engine.clip_norm)
                gradients, _ = tf.clip_by_global_norm(gradients, limit)
            # The optimizer adds up the replicas' gradients, which are all the same now.
            gradients = [gradient / replicas for gradient in gradients]
        self.optimizer.apply(gradients, variables)

    def _refuse_jit_on_replicas(self) -> None:
        replicas = self._strategy.num_replicas_in_sync
        if replicas > 1:
            raise SetupError(
                f"train.jit is true, but there are {replicas} devices, between which "
                "a step adds up sums, and XLA compiles no such step: set it to false, "
                "or train on one device (CUDA_VISIBLE_DEVICES=0)"
            )

    def _forward(
        self, features: Mapping[str, tf.Tensor], training: bool
    ) -> tuple[tf.Tensor, tf.Tensor | None]:
        return call_model(self.model, features, training)

    def _row_of_zeros(self) -> Rows:
        return self._layout.unpack(
            tf.zeros([1, sum(width for _, width in self._layout.floats)]),
            tf.zeros([1, len(self._layout.ids)], tf.int32),
        )

    def _shapes(self, rows: Rows) -> objectives.Shapes:
        """What objectives may know before training; from a row of zeros."""
        _, representations = call_model(self.model, rows.features, False)
        return objectives.Shapes(
            num_environments=self._size,
            representations=None
            if representations is None
            else int(representations.shape[-1]),
            outputs=self._settings.outputs,
            task=self._settings.task,
            seed=self._settings.seed,
            environment_weights=tuple(float(count) for count in self._split.counts),
        )

    def _merge(self, results: Any) -> tf.Tensor:
        """The replicas' results as one: means, and the largest of the logits."""
        stacked = tf.stack(self._strategy.experimental_local_results(results))
        mean = StepResult.unpack(tf.unstack(tf.reduce_mean(stacked, axis=0)))
        most = StepResult.unpack(tf.unstack(tf.reduce_max(stacked, axis=0)))
        return dataclasses.replace(mean, largest_logit=most.largest_logit).pack()

    def _score_batch(
        self, floats: tf.Tensor, ids: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Risk and total weight of each environment in one batch, [E] each."""
        rows = self._layout.unpack(floats, ids)
        batch = self._batch(rows, *call_model(self.model, rows.features, False))
        environments = penalties.group_by_environment(batch)
        risk = environments.mean(penalties.per_example_loss(batch))
        return risk, environments.total_weight

    def _batch(
        self, rows: Rows, logits: tf.Tensor, representations: tf.Tensor | None
    ) -> penalties.EnvironmentBatch:
        return penalties.EnvironmentBatch(
            logits=logits,
            labels=rows.labels,
            environment_ids=rows.environment_ids,
            num_environments=self._size,
            sample_weights=rows.weights,
            representations=representations,
            task=self._settings.task,
        )

    def _stop_unless_finite(self, step: int, packed: np.ndarray) -> None:
        if np.isfinite(packed).all():
            return
        result = StepResult.unpack(packed)
        logits = np.nan_to_num(result.largest_logit, nan=np.inf)
        worst = int(np.argmax(np.where(np.isfinite(result.risk), logits, np.inf)))
        raise RuntimeError(
            f"Training stopped at step {step}: the loss is {result.loss:g}. "
            f"Environment {self._settings.columns.environments[worst]!r} has the risk "
            f"{result.risk[worst]:g} and the largest logit "
            f"{result.largest_logit[worst]:g}. Lower the learning rate or the "
            "penalty's weight, or look for extreme values in the features"
        )
