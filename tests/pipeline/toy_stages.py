"""A trainer, a judge and a pusher that take no time, for TFX's own launcher."""

from tfx import v1 as tfx
from tfx.dsl.component.experimental.annotations import (
    InputArtifact,
    OutputArtifact,
    Parameter,
)
from tfx.dsl.component.experimental.decorators import component
from tfx.types import standard_artifacts


@component
def Ingest(size: Parameter[int], examples: OutputArtifact[standard_artifacts.Examples]):
    """Writes some bytes."""
    _write(examples, "x" * size)


@component
def Train(
    examples: InputArtifact[standard_artifacts.Examples],
    seed: Parameter[int],
    model: OutputArtifact[standard_artifacts.Model],
):
    """Writes the seed."""
    _write(model, str(seed))


@component
def Judge(
    model: InputArtifact[standard_artifacts.Model],
    good: Parameter[int],
    evaluation: OutputArtifact[standard_artifacts.ModelEvaluation],
    blessing: OutputArtifact[standard_artifacts.ModelBlessing],
):
    """Blesses or not."""
    _write(evaluation, "auc")
    _write(blessing, str(good))
    blessing.set_int_custom_property("blessed", good)


@component
def Push(
    model: InputArtifact[standard_artifacts.Model],
    blessing: InputArtifact[standard_artifacts.ModelBlessing],
    anyway: Parameter[int],
    pushed: OutputArtifact[standard_artifacts.PushedModel],
):
    """Pushes what is blessed, or anyway."""
    done = anyway or blessing.get_int_custom_property("blessed")
    _write(pushed, str(done))
    pushed.set_int_custom_property("pushed", done)


def _write(artifact, text):
    with tfx.dsl.io.fileio.open(f"{artifact.uri}/data", "w") as file:
        file.write(text)


def graph(runtime, seed, good=0, anyway=0, size=1000):
    """The pipeline of these."""
    ingest = Ingest(size=size)
    train = Train(examples=ingest.outputs["examples"], seed=seed)
    judge = Judge(model=train.outputs["model"], good=good)
    push = Push(
        model=train.outputs["model"],
        blessing=judge.outputs["blessing"],
        anyway=anyway,
    )
    return tfx.dsl.Pipeline(
        pipeline_name="toy",
        pipeline_root=runtime.pipeline_root,
        metadata_connection_config=runtime.metadata_connection(),
        components=[ingest, train, judge, push],
        enable_cache=True,
    )
