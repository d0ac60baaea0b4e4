"""Executor of Evaluator: artifacts in, one TFMA output folder a split out."""

import os
from typing import Any

from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_beam_executor
from tfx.dsl.io import fileio
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils
from tfx.utils import path_utils

from components import blessings, digests
from components.artifact_files import COUNTS_PROPERTY, present
from components.errors import DataError, tells_reason
from components.evaluator import attacks, evaluation, pooling, reading, settings
from components.evaluator.summarize import Slicing

EXAMPLES_KEY = "examples"
MODEL_KEY = "model"
BASELINE_KEY = "baseline_model"
EVALUATION_KEY = "evaluation"
EVAL_CONFIG_KEY = "eval_config"
EXAMPLE_SPLITS_KEY = "example_splits"
OPTIONS_KEY = "options"


class Executor(base_beam_executor.BaseBeamExecutor):
    """Evaluates the models on each split and writes `Split-<name>` folders."""

    @tells_reason
    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Runs one Beam pipeline over all splits; see the component for keys."""
        self._log_startup(input_dict, output_dict, exec_properties)
        input_dict = present(input_dict)
        options = settings.parse_options(exec_properties[OPTIONS_KEY])
        splits = settings.parse_splits(exec_properties[EXAMPLE_SPLITS_KEY])
        config = settings.parse_eval_config(exec_properties[EVAL_CONFIG_KEY], options)
        models = _models(input_dict)
        config = settings.models_of(config, settings.BASELINE in models)
        examples = input_dict[EXAMPLES_KEY]
        patterns = {split: _patterns(examples, split) for split in splits}
        slicings = {s: _slicing(examples, s, config, options) for s in splits}
        names = _features(options, slicings[splits[0]])
        layout = reading.look(patterns, names)
        attacker = None
        if options.attacks:
            path = models[settings.CANDIDATE]
            attacker = attacks.Attacker(path, options.task, options.attacks)
        job = evaluation.Job(options, config, models, layout, attacker)
        written = artifact_utils.get_single_instance(output_dict[EVALUATION_KEY])
        # Before anything is measured: what changes meanwhile has another digest.
        _identify(written, models[settings.CANDIDATE], examples, patterns)
        output = written.uri
        transforms = []
        for split in splits:
            folder = os.path.join(output, f"Split-{split}")
            fileio.makedirs(folder)
            transforms.append(
                evaluation.EvaluateSplit(
                    job, split, patterns[split], slicings[split], folder
                )
            )
        self._run(transforms)

    def _run(self, transforms: list[evaluation.EvaluateSplit]) -> None:
        try:
            with self._make_beam_pipeline() as pipeline:
                for transform in transforms:
                    _ = pipeline | transform
        except Exception as error:
            found = evaluation.data_error(error)
            if found is None:
                raise
            raise found from error


def _models(input_dict: dict[str, list[Any]]) -> dict[str, str]:
    """Model name -> path of its SavedModel; the baseline if there is one."""
    models = {}
    keys = {settings.CANDIDATE: MODEL_KEY, settings.BASELINE: BASELINE_KEY}
    for name, key in keys.items():
        artifacts = input_dict.get(key) or []
        if name == settings.BASELINE and not artifacts:
            continue
        model = artifact_utils.get_single_instance(artifacts)
        path = path_utils.serving_model_path(
            model.uri, path_utils.is_old_model_artifact(model)
        )
        if not fileio.exists(os.path.join(path, "saved_model.pb")):
            raise DataError(
                f"the {name} model has no SavedModel in {path}; export it there"
            )
        models[name] = path
    return models


def _patterns(examples: list[Any], split: str) -> list[str]:
    """File patterns of a split over all examples artifacts."""
    for artifact in examples:
        if split not in artifact_utils.decode_split_names(artifact.split_names):
            raise DataError(
                f"split {split!r} is not among those of the examples in {artifact.uri}"
                f" ({artifact.split_names}); correct the Evaluator's example_splits"
            )
        payload = examples_utils.get_payload_format(artifact)
        if payload != example_gen_pb2.PayloadFormat.FORMAT_TF_EXAMPLE:
            raise DataError(
                f"the examples in {artifact.uri} are no tf.Examples but of payload"
                f" format {payload}"
            )
    patterns = examples_utils.get_split_file_patterns(examples, split)
    for pattern in patterns:
        if not fileio.glob(pattern):
            raise DataError(f"split {split!r} has no file: nothing matches {pattern}")
    return patterns


def _identify(
    evaluation_artifact: Any,
    model: str,
    examples: list[Any],
    patterns: dict[str, list[str]],
) -> None:
    """Records which model is evaluated on which examples, for the blessing."""
    paths = {}
    for found in patterns.values():
        for i, pattern in enumerate(found):
            for path in map(str, fileio.glob(pattern)):
                folder, name = os.path.split(path)
                paths[f"{i}/{os.path.basename(folder)}/{name}"] = path
    counts = "".join(a.get_string_custom_property(COUNTS_PROPERTY) for a in examples)
    for key, value in (
        (blessings.MODEL_KEY, digests.of_model(model)),
        (blessings.EXAMPLES_KEY, digests.of_examples(paths, counts)),
    ):
        evaluation_artifact.set_string_custom_property(key, value)


def _slicing(
    examples: list[Any], split: str, config: Any, options: settings.Options
) -> Slicing:
    slices = settings.slices_of(config)
    counts = [a.get_string_custom_property(COUNTS_PROPERTY) or "{}" for a in examples]
    kept = pooling.kept_slices(
        counts, split, slices, options.environment, options.min_examples
    )
    return Slicing(tuple(slices), kept, options.environment)


def _features(options: settings.Options, slicing: Slicing) -> list[str]:
    """The features that must be parsed, each once."""
    names = [options.label, *slicing.features, *options.cluster_by]
    if options.weight is not None:
        names.append(options.weight)
    return list(dict.fromkeys(names))
