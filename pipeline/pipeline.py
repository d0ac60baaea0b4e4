"""The graphs: what runs, and what waits for what; the same wherever it runs."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from tfx import v1 as tfx
from tfx.dsl.components.base import base_node

from components.model_validator.component import ModelValidator
from components.multi_env_example_gen.component import MultiEnvExampleGen
from components.pusher.component import Pusher
from components.source_manifest.component import SourceManifest
from components.tuner.component import Tuner
from pipeline import endpoints, override, stages
from pipeline.config import Evaluate, PipelineConfig

_FOLDS = ".each"  # ends the pipeline's name; no config's name has a dot
_LONGEST_NAME = 63  # TFX's


def create_pipeline(config: PipelineConfig, runtime: Any) -> tfx.dsl.Pipeline:
    """The graph of a config.

    Args:
      config: validated.
      runtime: says where: roots, Beam options, metadata store.

    Raises:
      DataError: environments told by a column cannot be read from the data.
    """
    settings = stages.custom_config(config)
    baseline = runtime.baseline()
    prepared = _prepare(config, settings, baseline, runtime)
    sizes = stages.group_size_validator(config, prepared)
    trainer = stages.trainer(config, prepared, settings, runtime)
    evaluator = stages.evaluator(config, prepared.examples, trainer, baseline)
    loaded = ModelValidator(
        trainer.outputs["model"],
        evaluator.outputs["evaluation"],
        config.load_check.model_dump(),
    )
    validator = stages.invariance_validator(
        config, prepared, trainer, evaluator, baseline, settings, runtime, loaded
    )
    pusher = Pusher(
        trainer.outputs["model"],
        validator.outputs["blessing"],
        loaded.outputs["blessing"],
        config.push.path,
        override.read(config),
        validator.outputs["report"],
        endpoints.target(config),
    )
    record = runtime.record(
        examples=prepared.examples.outputs["examples"],
        environments=prepared.inspection.outputs["report"],
        infra_blessing=loaded.outputs["blessing"],
        report=validator.outputs["report"],
        pushed_model=pusher.outputs["pushed_model"],
        inference=prepared.inference,
    )
    nodes = [sizes, trainer, evaluator, loaded, validator, pusher, *record]
    return _graph(config.name, [*prepared.components, *nodes], runtime)


def create_inspection(config: PipelineConfig, runtime: Any) -> tfx.dsl.Pipeline:
    """The graph that looks at the environments and trains nothing.

    It is the beginning of that of `create_pipeline`, which reuses what it has made.

    Args:
      config: validated.
      runtime: says where.
    """
    manifest = _manifest(config, runtime)
    ingested = _ingest(config, manifest, stages.custom_config(config))
    baseline = runtime.baseline()
    inspected = stages.environment_validator(config, ingested, baseline)
    return _graph(config.name, [*ingested.components, baseline, inspected], runtime)


def create_comparison(
    candidates: Mapping[str, PipelineConfig], runtime: Any
) -> tfx.dsl.Pipeline:
    """The graph that trains and evaluates several candidates on the same artifacts.

    Up to Transform it is that of `create_pipeline`, and what that has made is reused.
    There is no baseline, no verdict and nothing to push.

    Args:
      candidates: label -> config; they differ in `train` alone. The nodes of a
        candidate are `Trainer.<label>` and `Evaluator.<label>`.
      runtime: says where.

    Raises:
      DataError: environments told by a column cannot be read from the data.
    """
    config = next(iter(candidates.values()))
    prepared = _prepare(
        config, stages.custom_config(config), runtime.baseline(), runtime
    )
    nodes: list[base_node.BaseNode] = []
    for label, candidate in candidates.items():
        settings = stages.custom_config(candidate)
        trainer = stages.trainer(candidate, prepared, settings, runtime)
        trainer.with_id(f"Trainer.{label}")
        # Overall and by environment, and without attack, is all that is compared.
        checks = candidate.checks.model_copy(update={"robustness": {}})
        plain = candidate.model_copy(update={"evaluate": Evaluate(), "checks": checks})
        evaluator = stages.evaluator(plain, prepared.examples, trainer, None)
        nodes += [trainer, evaluator.with_id(f"Evaluator.{label}")]
    return _graph(config.name, [*prepared.components, *nodes], runtime)


def create_folds(
    config: PipelineConfig, environments: Sequence[str], runtime: Any
) -> tfx.dsl.Pipeline:
    """The graph that holds out each environment in turn, trained on the others.

    The sources are listed once. There is no baseline and nothing to push, and it is a
    pipeline of its own: a model that it finds invariant is never the baseline of a run.

    Args:
      config: with `held_out: each`.
      environments: all names. The nodes of the fold that holds out the first are
        `MultiEnvExampleGen.1` and so on.
      runtime: says where.
    """
    manifest = SourceManifest(config.data.sources)
    nodes: list[base_node.BaseNode] = [manifest]
    for i, name in enumerate(environments, 1):
        fold = config.fold(name)
        settings = stages.custom_config(fold, [e for e in environments if e != name])
        prepared = _transformed(fold, settings, _ingest(fold, manifest, settings))
        sizes = stages.group_size_validator(fold, prepared)
        trainer = stages.trainer(fold, prepared, settings, runtime)
        evaluator = stages.evaluator(fold, prepared.examples, trainer, None)
        validator = stages.invariance_validator(
            fold, prepared, trainer, evaluator, None, settings, runtime
        )
        for node in [*prepared.components[1:], sizes, trainer, evaluator, validator]:
            nodes.append(node.with_id(f"{node.id}.{i}"))
    most = _LONGEST_NAME - len(_FOLDS)
    return _graph(f"{config.name[:most]}{_FOLDS}", nodes, runtime)


def create_tuning(config: PipelineConfig, runtime: Any) -> tfx.dsl.Pipeline:
    """The graph that searches for hyperparameters.

    Up to Transform it is that of `create_pipeline`. The Tuner gets the splits `train`
    and `eval`; held-out environments are in neither.

    Args:
      config: validated.
      runtime: says where.

    Raises:
      DataError: environments told by a column cannot be read from the data.
    """
    settings = stages.custom_config(config)
    prepared = _prepare(config, settings, runtime.baseline(), runtime)
    tune = {
        "trials": config.tune.trials,
        "rule": config.tune.select,
        "space": config.tune.space(config.train),
    }
    tuner = Tuner(
        tuner_fn="trainer_module.tuning.tuner_fn",
        examples=prepared.examples.outputs["examples"],
        schema=prepared.schema.outputs["schema"],
        transform_graph=prepared.transform.outputs["transform_graph"],
        train_args=tfx.proto.TrainArgs(splits=["train"]),
        eval_args=tfx.proto.EvalArgs(splits=["eval"]),
        custom_config={**settings, "tune": tune},
    )
    return _graph(config.name, [*prepared.components, tuner], runtime)


def _graph(
    name: str, components: list[base_node.BaseNode], runtime: Any
) -> tfx.dsl.Pipeline:
    return tfx.dsl.Pipeline(
        pipeline_name=name,
        pipeline_root=runtime.pipeline_root,
        metadata_connection_config=runtime.metadata_connection(),
        components=components,
        enable_cache=True,
        beam_pipeline_args=runtime.beam_args(),
    )


def _manifest(config: PipelineConfig, runtime: Any) -> SourceManifest:
    return SourceManifest(config.data.sources, runtime.span, runtime.fingerprint)


def _ingest(
    config: PipelineConfig, manifest: base_node.BaseNode, settings: dict[str, Any]
) -> stages.Ingested:
    """From a manifest to the schema of the examples."""
    if config.data.each:
        raise ValueError("each environment is held out in turn: that is create_folds")
    sources, inference = manifest.outputs["manifest"], None
    before: list[base_node.BaseNode] = [manifest]
    if config.data.inferred is not None:
        inferrer = stages.inferrer(config, sources, settings)
        before.append(inferrer)
        sources = inferrer.outputs["inferred_manifest"]
        inference = inferrer.outputs["inference"]
    examples = MultiEnvExampleGen(sources, stages.ingestion_spec(config))
    statistics = tfx.components.StatisticsGen(examples=examples.outputs["examples"])
    schema = stages.schema(config, statistics)
    components = [*before, examples, statistics, schema]
    return stages.Ingested(components, examples, statistics, schema, inference)


def _transformed(
    config: PipelineConfig, settings: dict[str, Any], ingested: stages.Ingested
) -> stages.Prepared:
    """From examples to the transform graph."""
    anomalies = tfx.components.ExampleValidator(
        statistics=ingested.statistics.outputs["statistics"],
        schema=ingested.schema.outputs["schema"],
    )
    transform = stages.transform(ingested.examples, ingested.schema, settings)
    components = [*ingested.components, anomalies, transform]
    return stages.Prepared(
        components,
        ingested.examples,
        ingested.schema,
        transform,
        inference=ingested.inference,
    )


def _prepare(
    config: PipelineConfig,
    settings: dict[str, Any],
    baseline: base_node.BaseNode,
    runtime: Any,
) -> stages.Prepared:
    """From the sources to the transform graph, if the environments are fit for it."""
    manifest = _manifest(config, runtime)
    ingested = _ingest(config, manifest, settings)
    inspection = stages.environment_validator(config, ingested, baseline)
    prepared = _transformed(config, settings, ingested)
    # Nothing flows between the two: what is unfit stops before money is spent.
    prepared.transform.add_upstream_node(inspection)
    return dataclasses.replace(
        prepared,
        components=[*prepared.components, baseline, inspection],
        inspection=inspection,
    )
