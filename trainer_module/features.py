"""From columns to features: which column becomes what, and what it is called.

Transform (`preprocessing.py`) and the Trainer (`data.py`, `model.py`, `export.py`) both
ask here, so they can't disagree. The names of transformed features are stable:

| column is   | transformed feature    | values                                      |
|-------------|------------------------|---------------------------------------------|
| numeric     | `numeric_<column>`     | float32 [B, 1]: z-score; 0 where missing    |
| dense       | `dense_<column>`       | float32 [B, size]: as they are; 0 if missing|
| either      | `missing_<column>`     | float32 [B, 1]: 1 where missing, else 0;    |
|             |                        | only for columns that may be missing        |
| categorical | `categorical_<column>` | int64 [B, 1]: 0 missing, 1..V vocabulary by |
|             |                        | frequency, then ids out of vocabulary       |
| bucketized  | `bucket_<column>`      | int64 [B, 1]: 0 missing, 1..n by quantile   |
| label       | `label`                | float32 [B, 1]: as it is                    |
| weight      | `weight`               | float32 [B, 1]: as it is                    |
| environment | `environment_id`       | int64 [B, 1]: index among the training      |
|             |                        | environments, -1 for all others             |

In names, characters other than ASCII letters, digits and _ become _ (the column "hours
per week" is `numeric_hours_per_week`): neither Keras nor a signature takes them all.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

import tensorflow as tf

from trainer_module.settings import Columns, FeatureSettings

LABEL = "label"
WEIGHT = "weight"
ENVIRONMENT = "environment_id"


@dataclasses.dataclass(frozen=True)
class Column:
    """A raw column as the schema has it.

    Attributes:
      dtype: tf.string, tf.int64 or tf.float32.
      optional: whether a row may lack it.
      size: values a row; None where the schema doesn't say.
    """

    dtype: tf.DType
    optional: bool
    size: int | None = 1

    @classmethod
    def from_spec(cls, spec: tf.io.FixedLenFeature | tf.io.VarLenFeature) -> Column:
        """From a feature spec for `tf.io.parse_example`."""
        if not isinstance(spec, tf.io.FixedLenFeature):
            return cls(spec.dtype, optional=True, size=None)
        return cls(
            spec.dtype, optional=False, size=tf.TensorShape(spec.shape).num_elements()
        )

    @classmethod
    def from_tensor(cls, tensor: tf.Tensor | tf.SparseTensor) -> Column:
        """From what Transform hands to a `preprocessing_fn`."""
        if not isinstance(tensor, tf.Tensor):
            return cls(tensor.dtype, optional=True, size=None)
        return cls(tensor.dtype, optional=False, size=tensor.shape[1:].num_elements())


@dataclasses.dataclass(frozen=True)
class Plan:
    """Which column becomes what; the order is the order of the features.

    Attributes:
      numeric: columns for z-scores.
      categorical: columns for vocabularies.
      bucketized: column -> number of buckets.
      dense: column -> length of its vector.
      indicators: columns among numeric and dense that get a missing indicator.
    """

    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    bucketized: Mapping[str, int]
    dense: Mapping[str, int]
    indicators: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that is a feature, each once."""
        every = (*self.numeric, *self.categorical, *self.bucketized, *self.dense)
        return tuple(dict.fromkeys(every))


@dataclasses.dataclass(frozen=True)
class Feature:
    """A transformed feature.

    Attributes:
      name: as in the table of this module.
      width: values a row.
      cardinality: number of ids for int64 features, or None for float32 ones.
    """

    name: str
    width: int = 1
    cardinality: int | None = None

    @property
    def dtype(self) -> tf.DType:
        """tf.float32, or tf.int64 for ids."""
        return tf.float32 if self.cardinality is None else tf.int64


def feature_name(kind: str, column: str) -> str:
    """Name of a transformed feature, `<kind>_<column>`, in characters fit for one."""
    return f"{kind}_{re.sub('[^A-Za-z0-9_]', '_', column)}"


def argument_name(column: str) -> str:
    """Name of a raw column in the `raw` signature; it starts with a letter."""
    name = re.sub("[^A-Za-z0-9_]", "_", column)
    return name if name[:1].isalpha() else f"arg_{name}"


def make_plan(
    settings: FeatureSettings, columns: Columns, schema: Mapping[str, Column]
) -> Plan:
    """Decides which column becomes what.

    Where neither numeric nor categorical columns are named, every column that is left
    becomes one by its dtype: strings categorical, numbers numeric, vectors of a fixed
    length dense.

    Args:
      settings: the config's `features`.
      columns: label, weight, environment and exclusions: never features.
      schema: every column of the examples.

    Returns:
      The plan.

    Raises:
      ValueError: a named column is not in the schema, may not be a feature, or has a
        dtype or size that its kind can't take; or nothing is left to learn from.
    """
    numeric, categorical = settings.numeric, settings.categorical
    dense = dict(settings.dense)
    if numeric is None and categorical is None:
        left = sorted(
            set(schema) - columns.reserved - set(settings.bucketized) - set(dense)
        )
        vectors = {n: schema[n].size for n in left if (schema[n].size or 1) > 1}
        dense |= {
            name: int(size or 1)
            for name, size in vectors.items()
            if schema[name].dtype != tf.string
        }
        left = [name for name in left if name not in vectors]
        categorical = tuple(n for n in left if schema[n].dtype == tf.string)
        numeric = tuple(n for n in left if schema[n].dtype != tf.string)
    plan = Plan(
        numeric=tuple(numeric or ()),
        categorical=tuple(categorical or ()),
        bucketized=dict(settings.bucketized),
        dense=dense,
        indicators=tuple(
            name
            for name in (*(numeric or ()), *dense)
            if name in schema and schema[name].optional
        ),
    )
    _check_plan(plan, columns, schema)
    return plan


def make_features(
    plan: Plan, settings: FeatureSettings, vocabulary_sizes: Mapping[str, int]
) -> tuple[Feature, ...]:
    """Lists the transformed features of a plan, in the order of the model's inputs.

    Args:
      plan: which column becomes what.
      settings: for the number of ids out of vocabulary.
      vocabulary_sizes: column -> number of values in its vocabulary.
    """
    numbers = [Feature(feature_name("numeric", name)) for name in plan.numeric]
    missing = [Feature(feature_name("missing", name)) for name in plan.indicators]
    vectors = [
        Feature(feature_name("dense", name), width=size)
        for name, size in plan.dense.items()
    ]
    ids = [
        Feature(
            feature_name("categorical", name),
            cardinality=1 + vocabulary_sizes[name] + settings.oov_buckets,
        )
        for name in plan.categorical
    ]
    buckets = [
        Feature(feature_name("bucket", name), cardinality=1 + count)
        for name, count in plan.bucketized.items()
    ]
    return tuple(numbers + missing + vectors + ids + buckets)


def _check_plan(plan: Plan, columns: Columns, schema: Mapping[str, Column]) -> None:
    if not plan.columns:
        raise ValueError(
            "No column is left for a feature: name some under data.features, or "
            "exclude fewer"
        )
    for name in plan.columns:
        if name in columns.reserved:
            raise ValueError(
                f"Column {name!r} is named as a feature, but it is the label, the "
                "weight, the environment or excluded: take it out of data.features"
            )
        if name not in schema:
            raise ValueError(
                f"Feature {name!r} is not a column of the examples: they have "
                f"{', '.join(sorted(set(schema) - columns.reserved))}"
            )
    taken: dict[str, str] = {}
    for name in plan.columns:
        other = taken.setdefault(argument_name(name), name)
        if other != name:
            raise ValueError(
                f"Columns {other!r} and {name!r} would both be called "
                f"{argument_name(name)!r} in the model: rename or exclude one"
            )
    for name in (*plan.numeric, *plan.bucketized, *plan.dense):
        if schema[name].dtype == tf.string:
            raise ValueError(
                f"Column {name!r} holds strings, but is named as a number: list it "
                "under data.features.categorical"
            )
    for name in (*plan.numeric, *plan.categorical, *plan.bucketized):
        if (schema[name].size or 1) != 1:
            raise ValueError(
                f"Column {name!r} holds {schema[name].size} values a row; expected "
                "one: list it under data.features.dense"
            )
    for name, size in plan.dense.items():
        if schema[name].size not in (None, size):
            raise ValueError(
                f"data.features.dense.{name} is {size}, but a row holds "
                f"{schema[name].size} values"
            )
