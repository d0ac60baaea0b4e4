"""What the Evaluator is told: its options, and TFMA's EvalConfig as far as it goes.

The component computes a fixed list of metrics in one pass. A config that asks TFMA for
anything else is refused rather than half obeyed.
"""

import dataclasses
import json
from typing import Any

from components import attack
from components.attack import Attack

CANDIDATE = "candidate"
BASELINE = "baseline"
SIGNATURE = "serving_default"
BINARY, MULTICLASS, REGRESSION = TASKS = ("binary", "multiclass", "regression")
# The signature's output that is read, by task.
PREDICTIONS = {
    BINARY: "probabilities",
    MULTICLASS: "probabilities",
    REGRESSION: "predictions",
}

# TFMA's class -> the only name under which it may be asked for, by task.
METRIC_NAMES = {
    BINARY: {
        "AUC": "auc",
        "BinaryCrossEntropy": "log_loss",
        "BinaryAccuracy": "accuracy",
        "Calibration": "calibration",
        "MeanLabel": "mean_label",
        "MeanPrediction": "mean_prediction",
        "ExampleCount": "example_count",
        "CalibrationPlot": "calibration_plot",
    },
    MULTICLASS: {
        "SparseCategoricalCrossentropy": "log_loss",
        "SparseCategoricalAccuracy": "accuracy",
        "ExampleCount": "example_count",
    },
    REGRESSION: {
        "MeanSquaredError": "mean_squared_error",
        "RootMeanSquaredError": "root_mean_squared_error",
        "MeanAbsoluteError": "mean_absolute_error",
        "MeanLabel": "mean_label",
        "MeanPrediction": "mean_prediction",
        "ExampleCount": "example_count",
    },
}
# What TFMA calls them otherwise, where that differs.
_DEFAULT_NAMES = {
    "BinaryCrossEntropy": "binary_crossentropy",
    "BinaryAccuracy": "binary_accuracy",
    "SparseCategoricalCrossentropy": "sparse_categorical_crossentropy",
    "SparseCategoricalAccuracy": "sparse_categorical_accuracy",
}


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of the component.

    Attributes:
      label: feature with the label: 0 or 1; a class from 0 on; or a number.
      environment: feature that names the environment; its values are never pooled.
      cluster_by: features that make up the key of a jackknife block, so that what
        belongs together (a day, a patient) stays in one block. Empty: every example
        on its own.
      min_examples: slice values with fewer examples, by the counts on the examples,
        are pooled into `other`. 0 pools nothing and needs no counts.
      task: of `TASKS`.
      classes: of multiclass the names of the classes, in the order of their numbers.
      weight: feature with the example's weight, or None.
      buckets: slice feature -> rising edges, by which its numbers are sliced; see
        `components.buckets`.
      attacks: under which the candidate is measured besides; see
        `components.attack`.
    """

    label: str
    environment: str = "environment"
    cluster_by: tuple[str, ...] = ()
    min_examples: int = 200
    task: str = "binary"
    weight: str | None = None
    buckets: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    classes: tuple[str, ...] = ()
    attacks: tuple[Attack, ...] = ()


def parse_options(text: str) -> Options:
    """Reads and checks the `options` exec property.

    Args:
      text: JSON object with the fields of `Options`.

    Returns:
      The options.

    Raises:
      ValueError: not JSON, an unknown or missing key, or a value of the wrong kind.
    """
    given = _json(text, "options", dict)
    legal = [field.name for field in dataclasses.fields(Options)]
    for key in given:
        if key not in legal:
            raise ValueError(
                f"Evaluator options: unknown key {key!r}; use {', '.join(legal)}"
            )
    if "label" not in given:
        raise ValueError("Evaluator options: 'label' is missing; name the feature")
    lists: dict[str, Any] = {}
    for key, what in (("cluster_by", "features"), ("classes", "names")):
        found = given.pop(key, None) or []
        if not isinstance(found, list):
            raise ValueError(
                f"Evaluator options: {key!r} is {found!r}, not a list of {what}"
            )
        lists[key] = tuple(found)
    attacks = _attacks(given.pop("attacks", []))
    options = Options(**lists, attacks=attacks, **given)
    _check_options(options)
    return options


def parse_splits(text: str) -> list[str]:
    """Reads the `example_splits` exec property, a JSON list of split names.

    Raises:
      ValueError: not a JSON list of distinct names, or empty.
    """
    splits = _json(text, "example_splits", list)
    if not splits or not all(isinstance(s, str) and s for s in splits):
        raise ValueError(
            f"Evaluator example_splits: {splits!r} is not a list of split names;"
            ' give one such as ["eval", "ood"]'
        )
    if len(set(splits)) < len(splits):
        raise ValueError(f"Evaluator example_splits: {splits!r} names a split twice")
    return splits


def parse_eval_config(text: str, options: Options) -> Any:
    """Reads the `eval_config` exec property and fills what it leaves open.

    Args:
      text: JSON of a `tfma.EvalConfig`.
      options: the component's options.

    Returns:
      `tfma.EvalConfig` with exactly one candidate and at most one baseline, named
      `candidate` and `baseline`, with their label, weight, signature and prediction
      keys filled in.

    Raises:
      ValueError: the config asks for something that this component does not do.
    """
    from google.protobuf import json_format
    from tensorflow_model_analysis.proto import config_pb2

    try:
        config = json_format.Parse(text, config_pb2.EvalConfig())
    except json_format.ParseError as error:
        raise ValueError(
            f"Evaluator eval_config: not a tfma.EvalConfig: {error}"
        ) from error
    _check_metrics(config, options.task)
    _check_slices(config)
    _check_rest(config)
    _fill_models(config, options)
    return config


def models_of(config: Any, has_baseline: bool) -> Any:
    """The config for the models that are there.

    Args:
      config: from `parse_eval_config`.
      has_baseline: whether a baseline model was given.

    Returns:
      A copy with the candidate alone, or with candidate and baseline; a baseline that
      the config does not specify is read like the candidate.
    """
    result = type(config)()
    result.CopyFrom(config)
    specs = {spec.name: spec for spec in config.model_specs}
    del result.model_specs[:]
    result.model_specs.add().CopyFrom(specs[CANDIDATE])
    if has_baseline:
        baseline = result.model_specs.add()
        baseline.CopyFrom(specs.get(BASELINE, specs[CANDIDATE]))
        baseline.name, baseline.is_baseline = BASELINE, True
    return result


def slices_of(config: Any) -> list[tuple[str, ...]]:
    """The features of each slicing spec, in the config's order; () is overall."""
    return [tuple(spec.feature_keys) for spec in config.slicing_specs] or [()]


def _json(text: str, what: str, kind: type) -> Any:
    try:
        value = json.loads(text)
    except (TypeError, ValueError) as error:
        raise ValueError(f"Evaluator {what}: not JSON ({error})") from error
    if not isinstance(value, kind):
        raise ValueError(
            f"Evaluator {what}: found a JSON {type(value).__name__},"
            f" expected a {kind.__name__}"
        )
    return value


def _attacks(given: Any) -> tuple[Attack, ...]:
    if not isinstance(given, list) or not all(isinstance(a, dict) for a in given):
        raise ValueError(
            f"Evaluator options: attacks are {given!r}, not a list of maps"
        )
    for one in given:
        for key in set(one) - set(attack.KEYS):
            raise ValueError(
                f"Evaluator options: unknown key {key!r} of an attack; use"
                f" {', '.join(attack.KEYS)}"
            )
        for key, found in attack.problems(one):
            raise ValueError(f"Evaluator options: {key} of an attack {found}")
    attacks = tuple(map(attack.parse, given))
    for one in attacks:
        if attacks.count(one) > 1:
            raise ValueError(f"Evaluator options: attack {one.name} is there twice")
    return attacks


def _check_options(options: Options) -> None:
    names = [options.label, options.environment, *options.cluster_by]
    if options.weight is not None:
        names.append(options.weight)
    for name in names:
        if not isinstance(name, str) or not name:
            raise ValueError(f"Evaluator options: {name!r} is not a feature's name")
    if options.task not in TASKS:
        raise ValueError(
            f"Evaluator options: task {options.task!r} is not supported;"
            f" use {', '.join(TASKS)}"
        )
    _check_classes(options)
    if not isinstance(options.buckets, dict):
        raise ValueError(
            f"Evaluator options: buckets is {options.buckets!r}, not a map of features"
            " to edges"
        )
    for feature, edges in options.buckets.items():
        rising = isinstance(edges, list) and all(
            isinstance(e, int | float) and not isinstance(e, bool) for e in edges
        )
        if not rising or not edges or edges != sorted(set(edges)):
            raise ValueError(
                f"Evaluator options: buckets of {feature!r} are {edges!r}, not a list"
                " of rising numbers"
            )
    number = options.min_examples
    if not isinstance(number, int) or isinstance(number, bool) or number < 0:
        raise ValueError(
            f"Evaluator options: min_examples is {number!r}, not an integer >= 0"
        )


def _check_classes(options: Options) -> None:
    names = options.classes
    if options.task != MULTICLASS:
        if names:
            raise ValueError(
                f"Evaluator options: 'classes' is given, but task {options.task!r} has"
                " none; take it out, or set task to 'multiclass'"
            )
        return
    if not all(isinstance(name, str) and name for name in names):
        raise ValueError(f"Evaluator options: classes are {names!r}, not all of text")
    if len(names) < 2 or len(set(names)) < len(names):
        raise ValueError(
            f"Evaluator options: classes are {names!r}; name two different ones at"
            " least, each once"
        )


def _check_metrics(config: Any, task: str) -> None:
    for spec in config.metrics_specs:
        for field, _ in spec.ListFields():
            if field.name not in ("metrics", "model_names", "example_weights"):
                raise ValueError(
                    f"Evaluator eval_config: metrics_specs.{field.name} is not"
                    " supported; take it out (checks belong to InvarianceValidator)"
                )
        for metric in spec.metrics:
            _check_metric(metric, task)


def _check_metric(metric: Any, task: str) -> None:
    where = f"Evaluator eval_config: metric {metric.class_name!r}"
    names = METRIC_NAMES[task]
    name = names.get(metric.class_name)
    if name is None:
        of = "" if task == BINARY else f" of task {task!r}"
        raise ValueError(f"{where} is not computed{of}; use {', '.join(names)}")
    settings = _json(metric.config or "{}", f"eval_config, {metric.class_name}", dict)
    if settings.pop("name", _DEFAULT_NAMES.get(metric.class_name, name)) != name:
        raise ValueError(f"{where} must be named {name!r}; give it that `name`")
    if settings:
        raise ValueError(f"{where}: settings {sorted(settings)} are not supported")
    for field, _ in metric.ListFields():
        if field.name not in ("class_name", "module", "config"):
            raise ValueError(
                f"{where}: {field.name} is not supported; thresholds belong to"
                " InvarianceValidator's checks"
            )


def _check_slices(config: Any) -> None:
    seen = set()
    for spec in config.slicing_specs:
        if spec.feature_values or spec.slice_keys_sql:
            raise ValueError(
                "Evaluator eval_config: a slicing spec has feature_values or SQL;"
                " slices are named by feature_keys alone"
            )
        key = tuple(sorted(spec.feature_keys))
        if key in seen or len(set(key)) < len(key):
            raise ValueError(
                f"Evaluator eval_config: slice {list(spec.feature_keys)} is there twice"
            )
        seen.add(key)


def _check_rest(config: Any) -> None:
    if config.cross_slicing_specs:
        raise ValueError("Evaluator eval_config: cross_slicing_specs are not supported")
    options = config.options
    if options.compute_confidence_intervals.value:
        raise ValueError(
            "Evaluator eval_config: compute_confidence_intervals is not supported;"
            " the jackknife replicates are always written"
        )
    if options.min_slice_size.value > 1:
        raise ValueError(
            "Evaluator eval_config: min_slice_size is not supported;"
            " set options.min_examples"
        )


def _fill_models(config: Any, options: Options) -> None:
    candidates = [spec for spec in config.model_specs if not spec.is_baseline]
    baselines = [spec for spec in config.model_specs if spec.is_baseline]
    if not config.model_specs:
        candidates = [config.model_specs.add()]
    if len(candidates) != 1 or len(baselines) > 1:
        raise ValueError(
            f"Evaluator eval_config: {len(candidates)} candidates and {len(baselines)}"
            " baselines in model_specs; give one candidate and at most one baseline"
        )
    for name, specs in ((CANDIDATE, candidates), (BASELINE, baselines)):
        for spec in specs:
            _fill_model(spec, name, options)


def _fill_model(spec: Any, name: str, options: Options) -> None:
    expected = {"label_key": options.label, "example_weight_key": options.weight or ""}
    for field, value in expected.items():
        found = getattr(spec, field)
        if found and found != value:
            raise ValueError(
                f"Evaluator eval_config: {field} of {name} is {found!r}, but the"
                f" options say {value or None!r}; make them agree"
            )
        setattr(spec, field, value)
    for field in ("label_keys", "prediction_keys", "example_weight_keys"):
        if getattr(spec, field):
            raise ValueError(f"Evaluator eval_config: {field} is not supported")
    spec.name = name
    spec.signature_name = spec.signature_name or SIGNATURE
    spec.prediction_key = spec.prediction_key or PREDICTIONS[options.task]
    # By its signature, never as a Keras model: TFMA would take Keras 2 for it.
    spec.model_type = spec.model_type or "tf_generic"
