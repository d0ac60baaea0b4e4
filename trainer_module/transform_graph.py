"""Opens what Transform left: which raw columns go in, which features come out.

Training and serving parse examples with the same specs. A column that the schema
requires and an example lacks does not fail there: it is read as missing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

from trainer_module.features import (
    Column,
    Feature,
    feature_name,
    make_features,
    make_plan,
)
from trainer_module.keras3 import tft
from trainer_module.preprocessing import MISSING
from trainer_module.settings import Columns, FeatureSettings

ParseSpec: TypeAlias = "tf.io.FixedLenFeature | tf.io.VarLenFeature"


@dataclasses.dataclass(frozen=True)
class TransformGraph:
    """A transform graph with the specs around it.

    Attributes:
      output: TFT's view of it.
      feature_spec: how to parse the columns that are features. The signatures of the
        exported model know these and no others.
      training_spec: those, and label, weight and environment.
      features: what the graph makes of the feature columns.
      loader: the loaded graph, TFT's SavedModelLoader. TFT's Keras 2 layer wraps the
        same; left out, nothing of Keras 2 gets saved, which would take many seconds.
    """

    output: tft.TFTransformOutput
    feature_spec: dict[str, ParseSpec]
    training_spec: dict[str, ParseSpec]
    features: tuple[Feature, ...]
    loader: Any

    def apply(
        self, raw: Mapping[str, tf.Tensor | tf.SparseTensor]
    ) -> dict[str, tf.Tensor]:
        """Transforms parsed columns.

        Args:
          raw: all columns of `feature_spec`, with or without the others of
            `training_spec`.

        Returns:
          Every transformed feature that these columns suffice for.
        """
        return self.loader.apply_transform_model(raw)

    def trackables(self) -> list[Any]:
        """What a `tf.Module` that calls `apply` must hold to be saved with it."""
        kind = tf.__internal__.tracking.Trackable
        return [
            value for value in vars(self.loader).values() if isinstance(value, kind)
        ]

    @classmethod
    def open(cls, path: str, config: Mapping[str, Any]) -> TransformGraph:
        """Opens a transform graph.

        Args:
          path: the artifact's folder.
          config: the Trainer's custom_config; must say of the columns what Transform's
            said.

        Raises:
          ValueError: a column that the config names is not in the schema.
        """
        output = tft.TFTransformOutput(path)
        columns = Columns.from_config(config)
        settings = FeatureSettings.from_config(config.get("features"))
        specs = output.raw_feature_spec()
        schema = {name: Column.from_spec(spec) for name, spec in specs.items()}
        plan = make_plan(settings, columns, schema)
        extra = [columns.label, columns.environment]
        if columns.weight is not None:
            extra.append(columns.weight)
        for name in extra:
            if name not in specs:
                raise ValueError(
                    f"Column {name!r} (label, weight or environment) is not in the "
                    f"schema: it has {', '.join(sorted(specs))}"
                )
        feature_spec = {name: with_default(specs[name]) for name in plan.columns}
        sizes = {
            name: output.vocabulary_size_by_name(feature_name("categorical", name))
            for name in plan.categorical
        }
        return cls(
            output=output,
            feature_spec=feature_spec,
            training_spec=feature_spec | {n: with_default(specs[n]) for n in extra},
            features=make_features(plan, settings, sizes),
            loader=tft.saved.saved_transform_io_v2.SavedModelLoader(
                output.transform_savedmodel_dir
            ),
        )


def with_default(spec: ParseSpec) -> ParseSpec:
    """Lets an example lack the column: the default marks it as missing."""
    if not isinstance(spec, tf.io.FixedLenFeature):
        return spec
    shape = tf.TensorShape(spec.shape).as_list()
    default = np.full(shape, MISSING[spec.dtype], spec.dtype.as_numpy_dtype)
    return tf.io.FixedLenFeature(shape, spec.dtype, default)
