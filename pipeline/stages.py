"""The builders of the stages, and what Transform and Trainer are told."""

import dataclasses
import importlib.metadata
import importlib.util
import os
import platform
from collections.abc import Sequence
from typing import Any

from tfx import v1 as tfx
from tfx.dsl.components.base import base_node

import trainer_module
from components import code, digests
from components.environment_validator.component import EnvironmentValidator
from components.environment_validator.executor import Options as Inspected
from components.evaluator.component import Evaluator
from components.group_size_validator.component import GroupSizeValidator
from components.invariance_validator.component import InvarianceValidator
from components.invariance_validator.kinds import attacks_of
from components.multi_env_example_gen import environments, shards
from components.source_manifest import listing
from components.trainer.component import Trainer
from pipeline import endpoints
from pipeline.config import ENVIRONMENT, PipelineConfig
from pipeline.eval_config import eval_config, slices

_PACKAGES = ("tfx-irm", "tfx", "tensorflow", "tensorflow-model-analysis", "keras")


@dataclasses.dataclass(frozen=True)
class Ingested:
    """Examples, their statistics and schema; the manifest is the first component."""

    components: list[base_node.BaseNode]
    examples: Any
    statistics: Any
    schema: Any
    inference: Any = None


@dataclasses.dataclass(frozen=True)
class Prepared:
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
        "classes": data.label.classes and len(data.label.classes),
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


def inferrer(config: PipelineConfig, manifest: Any, settings: dict[str, Any]) -> Any:
    """Infers environments; nothing else of the config makes it run anew."""
    # Here, as scikit-learn takes a second to import, and most pipelines need none.
    from components.environment_inferrer.component import EnvironmentInferrer
    from components.environment_inferrer.rule import Settings

    data = config.data
    assert data.inferred is not None
    spec = dataclasses.replace(
        ingestion_spec(config),
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


def ingestion_spec(config: PipelineConfig) -> shards.Spec:
    """How rows become split, labelled examples."""
    data = config.data
    share = data.split.eval
    return shards.Spec(
        label=data.label.spec(config.task),
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


def environment_validator(
    config: PipelineConfig, ingested: Ingested, baseline: base_node.BaseNode
) -> Any:
    """May these environments be trained on together?"""
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
            task=config.task,
            classes=data.label.classes or (),
        ),
        inspect=inspect,
    )


def schema(config: PipelineConfig, statistics: base_node.BaseNode) -> Any:
    """Inferred, or the file that the config names."""
    if config.data.schema_path is None:
        return tfx.components.SchemaGen(
            statistics=statistics.outputs["statistics"], infer_feature_shape=True
        )
    return tfx.components.ImportSchemaGen(schema_file=config.data.schema_path)


def transform(
    examples: base_node.BaseNode, schema: base_node.BaseNode, settings: dict[str, Any]
) -> Any:
    """Analyses `train` alone, and materializes nothing."""
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


def trainer(
    config: PipelineConfig, prepared: Prepared, settings: dict[str, Any], runtime: Any
) -> Any:
    """Trains with the penalty, and exports the plain model."""
    return Trainer(
        run_fn="trainer_module.run_fn.run_fn",
        examples=prepared.examples.outputs["examples"],
        schema=prepared.schema.outputs["schema"],
        transform_graph=prepared.transform.outputs["transform_graph"],
        custom_config=settings,
        methods=_by_method(runtime, settings),
        method=runtime.method,
        job=endpoints.training_job(config),
    )


def _by_method(runtime: Any, settings: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What Trainer is told under each method that a run may name."""
    names = settings["environments"]
    return {name: custom_config(c, names) for name, c in runtime.methods.items()}


def evaluator(
    config: PipelineConfig,
    examples: base_node.BaseNode,
    trainer: base_node.BaseNode,
    baseline: base_node.BaseNode | None,
) -> Any:
    """Measures the model, and the released one beside it."""
    data = config.data
    classes = data.label.classes
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
            **({"classes": list(classes)} if classes else {}),
            "weight": data.weight,
            "buckets": {f: list(e) for f, e in config.evaluate.buckets.items()},
            "attacks": [
                attack.to_dict() for attack in attacks_of(config.checks.as_json())
            ],
        },
    )


def group_size_validator(
    config: PipelineConfig, prepared: Prepared
) -> base_node.BaseNode:
    """Stands before Transform: what follows costs time, and is for nothing."""
    sizes = GroupSizeValidator(
        examples=prepared.examples.outputs["examples"],
        checks=config.checks.as_json(),
        verdict=config.verdict.as_json(),
        task=config.task,
    )
    prepared.transform.add_upstream_node(sizes)
    return sizes


def invariance_validator(
    config: PipelineConfig,
    prepared: Prepared,
    trainer: base_node.BaseNode,
    evaluator: base_node.BaseNode,
    baseline: base_node.BaseNode | None,
    settings: dict[str, Any],
    runtime: Any,
    loaded: base_node.BaseNode | None = None,
) -> Any:
    """Decides; the one producer of the blessing."""
    inspection = prepared.inspection
    by_method = _by_method(runtime, settings)
    contexts = {n: _context(runtime.methods[n], s) for n, s in by_method.items()}
    return InvarianceValidator(
        evaluation=evaluator.outputs["evaluation"],
        examples=prepared.examples.outputs["examples"],
        model=trainer.outputs["model"],
        baseline_model=None if baseline is None else baseline.outputs["model"],
        model_run=trainer.outputs["model_run"],
        environments=inspection and inspection.outputs["report"],
        inference=prepared.inference,
        infra_blessing=None if loaded is None else loaded.outputs["blessing"],
        checks=config.checks.as_json(),
        verdict=config.verdict.as_json(),
        context=_context(config, settings),
        contexts=contexts,
        method=runtime.method,
        index=runtime.index,
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
        "config": config_digest(config),
        "versions": versions(),
        "architecture": architecture(config),
        "card": config.card.model_dump(mode="json", exclude_none=True),
    }


def config_digest(config: PipelineConfig) -> str:
    """Digest of the validated config, defaults included.

    Without where it runs and where the model goes: naming an override, or another
    folder, would have the same judgement made anew.
    """
    elsewhere = {"root", "metadata", "beam", "push", "vertex", "kubeflow"}
    told = config.model_dump(mode="json", exclude=elsewhere)
    del told["train"]["where"]
    return digests.of_settings(told)


def architecture(config: PipelineConfig) -> str:
    """The network in a phrase."""
    given = config.train.model.model_dump(mode="json", exclude_none=True)
    said = ", ".join(f"{key} {value}" for key, value in given.items() if value)
    return f"network with {said}" if said else "network by default"


def versions() -> dict[str, str]:
    """Python and the packages that a result depends on."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found
