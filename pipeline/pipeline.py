"""The pipeline: one short builder a stage, the same graph wherever it runs."""

import dataclasses
import importlib.metadata
import importlib.util
import os
import platform
from collections.abc import Mapping, Sequence
from typing import Any

from tfx import v1 as tfx
from tfx.dsl.components.base import base_node

import trainer_module
from components import code
from components.environment_validator.component import EnvironmentValidator
from components.environment_validator.executor import Options as Inspected
from components.evaluator.component import Evaluator
from components.group_size_validator.component import GroupSizeValidator
from components.invariance_validator.component import InvarianceValidator
from components.multi_env_example_gen import environments, shards
from components.multi_env_example_gen.component import MultiEnvExampleGen
from components.pusher.component import Pusher
from components.source_manifest import listing
from components.source_manifest.component import SourceManifest
from components.tuner.component import Tuner
from pipeline.config import ENVIRONMENT, Evaluate, PipelineConfig
from pipeline.eval_config import eval_config, slices

_PACKAGES = ("tfx-irm", "tfx", "tensorflow", "tensorflow-model-analysis", "keras")
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
    settings = custom_config(config)
    baseline = _latest_blessed_model()
    prepared = _prepare(config, settings, baseline)
    sizes = _sizes(config, prepared)
    trainer = _trainer(config, prepared, settings)
    evaluator = _evaluator(config, prepared.examples, trainer, baseline)
    validator = _validator(config, prepared, trainer, evaluator, baseline, settings)
    pusher = Pusher(
        trainer.outputs["model"], validator.outputs["blessing"], config.push.path
    )
    nodes = [sizes, trainer, evaluator, validator, pusher]
    return _graph(config.name, [*prepared.components, *nodes], runtime)


def create_inspection(config: PipelineConfig, runtime: Any) -> tfx.dsl.Pipeline:
    """The graph that looks at the environments and trains nothing.

    It is the beginning of that of `create_pipeline`, which reuses what it has made.

    Args:
      config: validated.
      runtime: says where.
    """
    ingested = _ingest(
        config, SourceManifest(config.data.sources), custom_config(config)
    )
    baseline = _latest_blessed_model()
    inspected = _environment_validator(config, ingested, baseline)
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
    prepared = _prepare(config, custom_config(config), _latest_blessed_model())
    nodes: list[base_node.BaseNode] = []
    for label, candidate in candidates.items():
        settings = custom_config(candidate)
        trainer = _trainer(candidate, prepared, settings).with_id(f"Trainer.{label}")
        # Overall and by environment is all that is compared.
        plain = candidate.model_copy(update={"evaluate": Evaluate()})
        evaluator = _evaluator(plain, prepared.examples, trainer, None)
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
        settings = custom_config(fold, [e for e in environments if e != name])
        prepared = _transformed(fold, settings, _ingest(fold, manifest, settings))
        sizes = _sizes(fold, prepared)
        trainer = _trainer(fold, prepared, settings)
        evaluator = _evaluator(fold, prepared.examples, trainer, None)
        validator = _validator(fold, prepared, trainer, evaluator, None, settings)
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
    settings = custom_config(config)
    prepared = _prepare(config, settings, _latest_blessed_model())
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


@dataclasses.dataclass(frozen=True)
class _Ingested:
    """Examples, their statistics and schema; the manifest is the first component."""

    components: list[base_node.BaseNode]
    examples: Any
    statistics: Any
    schema: Any
    inference: Any = None


@dataclasses.dataclass(frozen=True)
class _Prepared:
    """What every training starts from.

    `inspection` is the EnvironmentValidator, `inference` a channel of the
    EnvironmentInferrer; None where there is none.
    """

    components: list[base_node.BaseNode]
    examples: Any
    schema: Any
    transform: Any
    inspection: Any = None
    inference: Any = None


def _ingest(
    config: PipelineConfig, manifest: base_node.BaseNode, settings: dict[str, Any]
) -> _Ingested:
    """From a manifest to the schema of the examples."""
    if config.data.each:
        raise ValueError("each environment is held out in turn: that is create_folds")
    sources, inference = manifest.outputs["manifest"], None
    before: list[base_node.BaseNode] = [manifest]
    if config.data.inferred is not None:
        inferrer = _inferrer(config, sources, settings)
        before.append(inferrer)
        sources = inferrer.outputs["inferred_manifest"]
        inference = inferrer.outputs["inference"]
    examples = MultiEnvExampleGen(sources, _spec(config))
    statistics = tfx.components.StatisticsGen(examples=examples.outputs["examples"])
    schema = _schema(config, statistics)
    components = [*before, examples, statistics, schema]
    return _Ingested(components, examples, statistics, schema, inference)


def _transformed(
    config: PipelineConfig, settings: dict[str, Any], ingested: _Ingested
) -> _Prepared:
    """From examples to the transform graph."""
    anomalies = tfx.components.ExampleValidator(
        statistics=ingested.statistics.outputs["statistics"],
        schema=ingested.schema.outputs["schema"],
    )
    transform = _transform(ingested.examples, ingested.schema, settings)
    components = [*ingested.components, anomalies, transform]
    return _Prepared(
        components,
        ingested.examples,
        ingested.schema,
        transform,
        inference=ingested.inference,
    )


def _prepare(
    config: PipelineConfig, settings: dict[str, Any], baseline: base_node.BaseNode
) -> _Prepared:
    """From the sources to the transform graph, if the environments are fit for it."""
    ingested = _ingest(config, SourceManifest(config.data.sources), settings)
    inspection = _environment_validator(config, ingested, baseline)
    prepared = _transformed(config, settings, ingested)
    # Nothing flows between the two: what is unfit stops before money is spent.
    prepared.transform.add_upstream_node(inspection)
    return dataclasses.replace(
        prepared,
        components=[*prepared.components, baseline, inspection],
        inspection=inspection,
    )


def custom_config(
    config: PipelineConfig, training: Sequence[str] | None = None
) -> dict[str, Any]:
    """What Transform and Trainer are told: plain JSON.

    Args:
      config: validated.
      training: names of the training environments; None to find them out.

    Raises:
      DataError: environments told by a column cannot be read from the data.
    """
    if training is None:
        training = training_environments(config)
    data, train = config.data, config.train
    never = [data.label.column, data.telltale, data.split.column]
    features = data.features.model_dump(mode="json")
    if any(data.features.named.values()):  # what is named is all; nothing is derived
        features |= {k: features[k] or [] for k in ("numeric", "categorical")}
    return {
        "task": config.task,
        "label": data.label.name,
        "weight": data.weight,
        "environment": ENVIRONMENT,
        "environments": list(training),
        "features": features,
        "exclude": [*data.exclude, *(name for name in never if name)],
        "methods": train.terms,
        "schedule": {
            "kind": train.penalty.schedule,
            "anneal_steps": train.anneal_steps,
            "initial_weight": train.penalty.initial_weight,
            "reset_optimizer": train.penalty.reset_optimizer,
        },
        "importance": train.importance and train.importance.model_dump(mode="json"),
        "steps": train.steps,
        "batch_size": train.batch_size,
        "learning_rate": train.learning_rate,
        "optimizer": train.optimizer,
        "seed": train.seed,
        "log_every": train.log_every,
        "eval_every": train.eval_every,
        "checkpoint_every": train.checkpoint_every,
        "checkpoints": os.path.join(config.root, "checkpoints"),
        "early_stopping": train.early_stopping and train.early_stopping.model_dump(),
        "constraint": train.constraint and train.constraint.model_dump(),
        "engine": train.engine,
        "model": train.model.model_dump(mode="json", exclude_none=True),
        "code": code_fingerprint(train.model.build),
    }


def training_environments(config: PipelineConfig) -> list[str]:
    """Names of the training environments in the order of their ids.

    Where a column tells the environment, its values are read from the data.
    """
    if config.data.training is not None:
        return list(config.data.training)
    naming = config.data.naming
    assert naming is not None
    files = listing.build_manifest(config.data.sources)
    found = environments.names_in(files, naming, config.data.on_bad_row)
    return [name for name in found if name not in config.data.held_out]


def code_fingerprint(build: str | None) -> str:
    """Digest of the trainer's code and of the user's model.

    A dotted `run_fn` carries no code: without this, a cached model would outlive a
    changed penalty.
    """
    files = []
    if build:
        module = importlib.util.find_spec(build.rpartition(".")[0])
        if module is not None and module.origin:
            files.append(module.origin)
    return code.fingerprint(os.path.dirname(trainer_module.__file__), *files)


def _inferrer(config: PipelineConfig, manifest: Any, settings: dict[str, Any]) -> Any:
    """Infers environments; nothing else of the config makes it run anew."""
    # Here, as scikit-learn takes a second to import, and most pipelines need none.
    from components.environment_inferrer.component import EnvironmentInferrer
    from components.environment_inferrer.rule import Settings

    data = config.data
    assert data.inferred is not None
    spec = dataclasses.replace(
        _spec(config),
        slices=(),
        eval_fraction=0.5,
        eval_time=None,
        eval_column=None,
        eval_values=(),
    )
    never = [*settings["exclude"], data.label.name, ENVIRONMENT]
    if data.weight:
        never.append(data.weight)
    return EnvironmentInferrer(
        manifest,
        spec,
        Settings(**data.inferred.infer.model_dump()),
        settings["features"],
        never,
    )


def _spec(config: PipelineConfig) -> shards.Spec:
    data = config.data
    label: dict[str, Any] = {"name": data.label.name}
    if data.label.from_column is not None:
        label |= {"from": data.label.from_column, "above": data.label.above}
    share = data.split.eval
    return shards.Spec(
        label=label,
        eval_fraction=share if isinstance(share, float) else 0.5,
        eval_time=data.split.time,
        eval_column=data.split.column,
        eval_values=() if isinstance(share, float) else share,
        split_by=tuple(data.split.by),
        optional=tuple(data.optional),
        numbers=config.numbers,
        on_bad_row=data.on_bad_row,
        slices=tuple(tuple(s) for s in slices(config) if s),
        buckets=dict(config.evaluate.buckets),
        naming=data.naming,
        held_out=tuple(data.held_out),
    )


def _environment_validator(
    config: PipelineConfig, ingested: _Ingested, baseline: base_node.BaseNode
) -> Any:
    data = config.data
    named = data.features.named
    inspect = config.inspect.as_json()
    for check in ("examples", "groups"):  # the config says elsewhere what is enough
        given = inspect.setdefault(check, {})
        given.setdefault("bound", config.verdict.min_examples)
    if data.inferred is not None:  # inferred so that what tells the label differs
        for check in ("label_agreement", "leak", "spurious"):
            inspect.setdefault(check, {}).setdefault("level", "note")
    return EnvironmentValidator(
        examples=ingested.examples.outputs["examples"],
        statistics=ingested.statistics.outputs["statistics"],
        schema=ingested.schema.outputs["schema"],
        released=baseline.outputs["model"],
        options=Inspected(
            name=config.name,
            label=data.label.name,
            label_columns=tuple(dict.fromkeys((data.label.name, data.label.column))),
            environment=ENVIRONMENT,
            telltale=data.telltale,
            weight=data.weight,
            split_by=data.split.by,
            exclude=(*data.exclude, *filter(None, [data.split.column])),
            features=tuple(n for names in named.values() for n in names) or None,
            categorical=named["categorical"],
        ),
        inspect=inspect,
    )


def _schema(config: PipelineConfig, statistics: base_node.BaseNode) -> Any:
    if config.data.schema_path is None:
        return tfx.components.SchemaGen(
            statistics=statistics.outputs["statistics"], infer_feature_shape=True
        )
    return tfx.components.ImportSchemaGen(schema_file=config.data.schema_path)


def _transform(
    examples: base_node.BaseNode, schema: base_node.BaseNode, settings: dict[str, Any]
) -> Any:
    return tfx.components.Transform(
        examples=examples.outputs["examples"],
        schema=schema.outputs["schema"],
        preprocessing_fn="trainer_module.preprocessing.preprocessing_fn",
        splits_config=tfx.proto.SplitsConfig(analyze=["train"], transform=[]),
        materialize=False,
        disable_analyzer_cache=True,
        disable_statistics=True,
        custom_config=_transform_part(settings),
    )


def _transform_part(settings: dict[str, Any]) -> dict[str, Any]:
    """Only what the preprocessing reads, so that another penalty reuses Transform."""
    keys = ("task", "label", "weight", "environment", "environments", "features")
    return {key: settings[key] for key in (*keys, "exclude", "code")}


def _trainer(
    config: PipelineConfig, prepared: _Prepared, settings: dict[str, Any]
) -> Any:
    return tfx.components.Trainer(
        run_fn="trainer_module.run_fn.run_fn",
        examples=prepared.examples.outputs["examples"],
        schema=prepared.schema.outputs["schema"],
        transform_graph=prepared.transform.outputs["transform_graph"],
        train_args=tfx.proto.TrainArgs(splits=["train"], num_steps=config.train.steps),
        eval_args=tfx.proto.EvalArgs(splits=["eval"]),
        custom_config=settings,
    )


def _latest_blessed_model() -> Any:
    return tfx.dsl.Resolver(
        strategy_class=tfx.dsl.experimental.LatestBlessedModelStrategy,
        model=tfx.dsl.Channel(type=tfx.types.standard_artifacts.Model),
        model_blessing=tfx.dsl.Channel(type=tfx.types.standard_artifacts.ModelBlessing),
    ).with_id("LatestBlessedModel")


def _evaluator(
    config: PipelineConfig,
    examples: base_node.BaseNode,
    trainer: base_node.BaseNode,
    baseline: base_node.BaseNode | None,
) -> Any:
    data = config.data
    return Evaluator(
        examples=examples.outputs["examples"],
        model=trainer.outputs["model"],
        baseline_model=None if baseline is None else baseline.outputs["model"],
        eval_config=eval_config(config),
        example_splits=["eval", "ood"] if data.held_out else ["eval"],
        options={
            "label": data.label.name,
            "environment": ENVIRONMENT,
            "cluster_by": list(data.split.by),
            "min_examples": config.verdict.min_examples,
            "task": config.task,
            "weight": data.weight,
            "buckets": {f: list(e) for f, e in config.evaluate.buckets.items()},
        },
    )


def _sizes(config: PipelineConfig, prepared: _Prepared) -> base_node.BaseNode:
    """Stands before Transform: what follows costs time, and is for nothing."""
    sizes = GroupSizeValidator(
        examples=prepared.examples.outputs["examples"],
        checks=config.checks.as_json(),
        verdict=config.verdict.as_json(),
    )
    prepared.transform.add_upstream_node(sizes)
    return sizes


def _validator(
    config: PipelineConfig,
    prepared: _Prepared,
    trainer: base_node.BaseNode,
    evaluator: base_node.BaseNode,
    baseline: base_node.BaseNode | None,
    settings: dict[str, Any],
) -> Any:
    inspection = prepared.inspection
    return InvarianceValidator(
        evaluation=evaluator.outputs["evaluation"],
        examples=prepared.examples.outputs["examples"],
        model=trainer.outputs["model"],
        baseline_model=None if baseline is None else baseline.outputs["model"],
        model_run=trainer.outputs["model_run"],
        environments=inspection and inspection.outputs["report"],
        inference=prepared.inference,
        checks=config.checks.as_json(),
        verdict=config.verdict.as_json(),
        context=_context(config, settings),
    )


def _context(config: PipelineConfig, settings: dict[str, Any]) -> dict[str, Any]:
    """What the report tells of the run; nothing that differs from run to run."""
    return {
        "name": config.name,
        "method": config.method_label,
        "task": config.task,
        "label": config.data.label.name,
        "environments": settings["environments"],
        "held_out": list(config.data.held_out),
        "slices": slices(config),
        "split_by": list(config.data.split.by),
        "code": settings["code"],
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Python and the packages that a result depends on."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found
