"""What the Trainer and Transform are told: `custom_config`, typed. No TensorFlow.

The pipeline validates a user's config before anything runs; the checks here are the
last line, for those who call `run_fn` or `preprocessing_fn` themselves.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from trainer_module.methods import check_methods

PRECISIONS = ("float32", "bfloat16", "float16")


@dataclasses.dataclass(frozen=True)
class FeatureSettings:
    """Which columns become features, and as what.

    Attributes:
      numeric: columns for z-scores, or None to take every number that is left.
      categorical: columns for vocabularies, or None to take every string that is left.
      bucketized: column -> number of quantile buckets, at least 2.
      dense: column -> length of its vector.
      vocabulary_size: values kept in a vocabulary, the most frequent ones.
      oov_buckets: ids for values that are not in the vocabulary; at 0 they count as
        missing.
    """

    numeric: tuple[str, ...] | None = None
    categorical: tuple[str, ...] | None = None
    bucketized: Mapping[str, int] = dataclasses.field(default_factory=dict)
    dense: Mapping[str, int] = dataclasses.field(default_factory=dict)
    vocabulary_size: int = 1000
    oov_buckets: int = 1

    @classmethod
    def from_config(cls, config: Mapping[str, Any] | None) -> FeatureSettings:
        """Reads the key `features`; None derives everything from the dtypes."""
        config = dict(config or {})
        _refuse_unknown("features", config, cls)
        for key in ("numeric", "categorical"):
            if config.get(key) is not None:
                config[key] = tuple(config[key])
        for key in ("bucketized", "dense"):
            config[key] = {k: int(v) for k, v in (config.get(key) or {}).items()}
        settings = cls(**{k: v for k, v in config.items() if v is not None})
        for column, buckets in settings.bucketized.items():
            if buckets < 2:
                raise ValueError(
                    f"features.bucketized.{column} is {buckets}; expected at least 2"
                )
        return settings


@dataclasses.dataclass(frozen=True)
class MethodSettings:
    """One method of the sum: its name, the weight of its penalty, its options."""

    name: str
    weight: float = 1.0
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class ModelSettings:
    """The network.

    Attributes:
      hidden: units of each hidden layer.
      dropout: share of the hidden units dropped in training, in [0, 1).
      l2: factor of the squared weights (kernels and embeddings) in the loss.
      embedding_dim: length of an embedding.
      build: dotted path of an own `build_model`, or None for the default network.
    """

    hidden: tuple[int, ...] = (256, 128)
    dropout: float = 0.0
    l2: float = 0.0
    embedding_dim: int = 8
    build: str | None = None

    @classmethod
    def from_config(cls, config: Mapping[str, Any] | None) -> ModelSettings:
        """Reads the key `model`."""
        config = {k: v for k, v in (config or {}).items() if v is not None}
        _refuse_unknown("model", config, cls)
        if "hidden" in config:
            config["hidden"] = tuple(int(units) for units in config["hidden"])
        return cls(**config)


@dataclasses.dataclass(frozen=True)
class ImportanceSettings:
    """Weights of the rows that undo a covariate shift between environments.

    Attributes:
      target: the environment whose features all others are weighted to look like, or
        "pooled" for all of them alike.
      clip: weights lie in [1 / clip, clip] before they are scaled to a mean of 1.
      hidden: units of each hidden layer of the classifier; none for a linear one.
      steps: training steps of the classifier.
      l2: factor of its squared weights.
    """

    target: str = "pooled"
    clip: float = 10.0
    hidden: tuple[int, ...] = ()
    steps: int = 500
    l2: float = 1e-4

    @classmethod
    def from_config(cls, config: Mapping[str, Any] | None) -> ImportanceSettings | None:
        """Reads the key `importance`; None for no weights."""
        if config is None:
            return None
        _refuse_unknown("importance", config, cls)
        values: dict[str, Any] = dict(config)
        if "hidden" in values:
            values["hidden"] = tuple(values["hidden"])
        return cls(**values)


@dataclasses.dataclass(frozen=True)
class StoppingSettings:
    """When training ends before its last step: the worst environment gets no better.

    Attributes:
      patience: evaluations in a row without a lower risk of the worst training
        environment on its eval split. Those before the penalty has its full weight do
        not count.
      min_delta: what counts as lower; of a regression in variances of the label.
    """

    patience: int = 3
    min_delta: float = 0.0

    @classmethod
    def from_config(cls, config: Mapping[str, Any] | None) -> StoppingSettings | None:
        """Reads the key `early_stopping`; None to run all steps."""
        if config is None:
            return None
        _refuse_unknown("early_stopping", config, cls)
        settings = cls(**config)
        if settings.patience < 1:
            raise ValueError(
                f"early_stopping.patience is {settings.patience}; expected at least 1"
            )
        return settings


@dataclasses.dataclass(frozen=True)
class ConstraintSettings:
    """What training aims at; the penalties' weights are multiplied by what it takes.

    Attributes:
      risk_gap: the most that the risks of two training environments may differ by on
        the eval split, or None; of a regression in variances of the label.
      calibration_slope_spread: the same of their calibration slopes; binary only.
      every: steps between two updates of the multiplier; None for `log_every`. They
        come with the next record, and not before the penalty has its full weight.
      rate: the largest change of the multiplier's logarithm in one update.
      most: the multiplier stays in [1 / most, most].
    """

    risk_gap: float | None = None
    calibration_slope_spread: float | None = None
    every: int | None = None
    rate: float = 0.2
    most: float = 1000.0

    @classmethod
    def from_config(cls, config: Mapping[str, Any] | None) -> ConstraintSettings | None:
        """Reads the key `constraint`; None for weights that only the schedule moves."""
        if config is None:
            return None
        _refuse_unknown("constraint", config, cls)
        settings = cls(**config)
        if not settings.bounds:
            raise ValueError(
                "constraint has no bound; expected risk_gap or calibration_slope_spread"
            )
        for name in (*settings.bounds, "rate"):
            if not getattr(settings, name) > 0:
                raise ValueError(
                    f"constraint.{name} is {getattr(settings, name)}; expected more "
                    "than 0"
                )
        if not settings.most >= 1:
            raise ValueError(f"constraint.most is {settings.most}; expected 1 or more")
        return settings

    @property
    def bounds(self) -> dict[str, float]:
        """What is bounded, by name."""
        names = ("risk_gap", "calibration_slope_spread")
        values = {name: getattr(self, name) for name in names}
        return {name: bound for name, bound in values.items() if bound is not None}


@dataclasses.dataclass(frozen=True)
class EngineSettings:
    """How steps are computed; what is computed stays the same but for rounding.

    Attributes:
      jit: compile the step with XLA. On one replica only.
      precision: "float32", or of the layers' outputs "bfloat16" or "float16", the
        latter with a scaled loss. Variables, losses and penalties stay in float32.
      clip_norm: largest norm of the gradient of all variables, or None.
      deterministic: the same seed gives the same bits on the same device.
      accelerators: GPUs that must be visible; whatever is there is used.
    """

    jit: bool = False
    precision: str = "float32"
    clip_norm: float | None = None
    deterministic: bool = True
    accelerators: int = 0

    @classmethod
    def from_config(cls, config: Mapping[str, Any] | None) -> EngineSettings:
        """Reads the key `engine`."""
        config = {k: v for k, v in (config or {}).items() if v is not None}
        _refuse_unknown("engine", config, cls)
        settings = cls(**config)
        if settings.precision not in PRECISIONS:
            raise ValueError(
                f"precision is {settings.precision!r}; expected one of "
                f"{', '.join(PRECISIONS)}"
            )
        if settings.clip_norm is not None and not settings.clip_norm > 0:
            raise ValueError(
                f"clip_norm is {settings.clip_norm}; expected more than 0, or null"
            )
        return settings


@dataclasses.dataclass(frozen=True)
class Columns:
    """What is no feature, and what it means.

    Attributes:
      label: column of the label.
      weight: column of the examples' weights, or None.
      environment: column of the environment's name.
      environments: names of the training environments; the index is the id.
      exclude: columns that are never features.
    """

    label: str
    weight: str | None
    environment: str
    environments: tuple[str, ...]
    exclude: tuple[str, ...] = ()

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Columns:
        """Reads the top level of a `custom_config`."""
        for key in ("label", "environments"):
            if not config.get(key):
                raise ValueError(f"custom_config has no {key!r}")
        return cls(
            label=config["label"],
            weight=config.get("weight"),
            environment=config.get("environment") or "environment",
            environments=tuple(config["environments"]),
            exclude=tuple(config.get("exclude") or ()),
        )

    @property
    def reserved(self) -> frozenset[str]:
        """Columns that are never features: label, weight, environment, excluded."""
        special = {self.label, self.environment, *self.exclude}
        return frozenset(special | ({self.weight} if self.weight else set()))


@dataclasses.dataclass(frozen=True)
class TrainSettings:
    """Everything that training needs to know.

    Attributes:
      task: "binary", "multiclass" or "regression".
      columns: label, weight, environment, exclusions.
      methods: the penalties to sum.
      schedule: "step", "constant", "linear" or "cosine".
      anneal_steps: steps until the full weight.
      initial_weight: where the schedule starts, or None for its default.
      reset_optimizer: forget the optimizer's moments at `anneal_steps`.
      importance: weights of the rows against covariate shift, or None.
      steps: training steps.
      batch_size: rows of a batch, shared equally by the environments.
      learning_rate: of the optimizer.
      optimizer: a name that `keras.optimizers.get` knows.
      seed: of every random choice.
      log_every: steps between two records.
      eval_every: steps between two scorings of the eval split; None for a fifth of
        all. They come with the next record.
      checkpoint_every: steps between two checkpoints; None for a tenth of all. So do
        they.
      early_stopping: when to end before the last step, or None.
      constraint: what the penalties' weights are to bring about, or None.
      engine: how steps are computed.
      classes: number of classes of a multiclass task, else None.
      model: the network.
    """

    task: str
    columns: Columns
    methods: tuple[MethodSettings, ...]
    schedule: str = "step"
    anneal_steps: int = 0
    initial_weight: float | None = None
    reset_optimizer: bool = False
    importance: ImportanceSettings | None = None
    steps: int = 2000
    batch_size: int = 1024
    learning_rate: float = 0.001
    optimizer: str = "adam"
    seed: int = 0
    log_every: int = 50
    eval_every: int | None = None
    checkpoint_every: int | None = None
    early_stopping: StoppingSettings | None = None
    constraint: ConstraintSettings | None = None
    engine: EngineSettings = dataclasses.field(default_factory=EngineSettings)
    classes: int | None = None
    model: ModelSettings = dataclasses.field(default_factory=ModelSettings)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> TrainSettings:
        """Reads a whole `custom_config`; keys that are not training's are left alone.

        Raises:
          ValueError: a key is missing, or holds what it must not.
        """
        methods = config.get("methods") or [{"name": "erm"}]
        check_methods(methods)
        schedule = config.get("schedule") or {}
        plain = {
            key: config[key]
            for key in (
                "steps",
                "batch_size",
                "learning_rate",
                "optimizer",
                "seed",
                "log_every",
                "eval_every",
                "checkpoint_every",
                "classes",
            )
            if config.get(key) is not None
        }
        settings = cls(
            task=config.get("task") or "binary",
            columns=Columns.from_config(config),
            methods=tuple(_method(entry) for entry in methods),
            schedule=schedule.get("kind") or "step",
            anneal_steps=int(schedule.get("anneal_steps") or 0),
            initial_weight=schedule.get("initial_weight"),
            reset_optimizer=bool(schedule.get("reset_optimizer")),
            importance=ImportanceSettings.from_config(config.get("importance")),
            early_stopping=StoppingSettings.from_config(config.get("early_stopping")),
            constraint=ConstraintSettings.from_config(config.get("constraint")),
            engine=EngineSettings.from_config(config.get("engine")),
            model=ModelSettings.from_config(config.get("model")),
            **plain,
        )
        settings._check()
        return settings

    def _check(self) -> None:
        if (self.task == "multiclass") != (self.classes is not None):
            raise ValueError(
                f"The task is {self.task!r} and classes is {self.classes!r}; expected "
                "a number of classes for multiclass and for nothing else"
            )
        keys = ("steps", "batch_size", "log_every", "eval_every", "checkpoint_every")
        for key in keys:
            value = getattr(self, key)
            if value is not None and value < 1:
                raise ValueError(f"{key} is {value}; expected at least 1")
        if self.constraint is not None:
            spread = self.constraint.calibration_slope_spread
            if spread is not None and self.task != "binary":
                raise ValueError(
                    "constraint.calibration_slope_spread needs the task 'binary'; it "
                    f"is {self.task!r}"
                )
        known = ("pooled", *self.columns.environments)
        if self.importance is not None and self.importance.target not in known:
            raise ValueError(
                f"importance.target is {self.importance.target!r}; expected one of "
                f"{', '.join(known)}"
            )
        if self.batch_size < len(self.columns.environments):
            raise ValueError(
                f"batch_size is {self.batch_size}, but there are "
                f"{len(self.columns.environments)} training environments, each of "
                "which needs a row of every batch: raise batch_size"
            )

    @property
    def outputs(self) -> int:
        """Number of logits."""
        return self.classes or 1

    @property
    def method(self) -> str:
        """Names of the methods, joined by +."""
        return "+".join(method.name for method in self.methods)


def _method(entry: str | Mapping[str, Any]) -> MethodSettings:
    if isinstance(entry, str):
        return MethodSettings(entry)
    weight = entry.get("weight")
    return MethodSettings(
        name=entry["name"],
        weight=1.0 if weight is None else float(weight),
        options=dict(entry.get("options") or {}),
    )


def _refuse_unknown(section: str, config: Mapping[str, Any], cls: type) -> None:
    legal = [field.name for field in dataclasses.fields(cls)]
    unknown = sorted(set(config) - set(legal))
    if unknown:
        raise ValueError(
            f"{section} has the unknown key {unknown[0]!r}: the known ones are "
            f"{', '.join(legal)}"
        )
