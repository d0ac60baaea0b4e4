"""Where a pipeline runs: all that differs between this machine and a cluster.

`pipeline.py` asks a runtime and never where it is. Each has the same attributes:

  config: with the `root` and the `push.path` of the place.
  methods: name -> config, what a run may train with besides the config's own method.
  pipeline_root: where artifacts lie.
  span, method: parameters of a run, or None where the config has said it all.
  fingerprint: of the sources, a parameter of a run, or None where a driver lists them.
  index: folder in which blessings are noted, or None.
"""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

from pipeline import remote_config
from pipeline.config import PipelineConfig

# Named by its class: `DirectRunner` would try to fetch a runner of its own (Prism).
LOCAL_BEAM_RUNNER = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"
# Workers in this process have no use for an image. Naming one keeps TFX from packing
# itself into a source distribution at every Beam stage, 2 to 3 seconds each.
_NO_IMAGE = "--sdk_container_image=none"
BASELINE = "LatestBlessedModel"  # id of the node, whatever it is


@dataclasses.dataclass(frozen=True)
class Local:
    """This machine: artifacts under the config's root, SQLite beside them."""

    config: PipelineConfig

    methods: Mapping[str, PipelineConfig] = dataclasses.field(default_factory=dict)
    span: Any = None
    method: Any = None
    fingerprint: Any = None
    index: str | None = None

    @property
    def pipeline_root(self) -> str:
        """Where artifacts lie."""
        return os.path.join(self.config.root, "artifacts")

    def beam_args(self) -> list[str]:
        """Options of every Beam stage."""
        return _beam_args(self.config)

    def metadata_connection(self) -> Any:
        """The metadata store: SQLite beside the artifacts, or the config's server."""
        from pipeline import store

        return store.connection(self.config)

    def baseline(self) -> Any:
        """The released model, if there is one; not one that was rolled back."""
        from components.pusher.baseline import LatestReleasedModel

        return _resolver(LatestReleasedModel, {"serving": self.config.push.path})

    def record(self, **channels: Any) -> list[Any]:
        """No stage: whoever runs a pipeline here gathers what it came to."""
        del channels
        return []


@dataclasses.dataclass(frozen=True)
class Compiled:
    """A place that a compiled pipeline is sent to."""

    config: PipelineConfig
    methods: Mapping[str, PipelineConfig]
    target: Any

    @property
    def pipeline_root(self) -> str:
        """Where artifacts lie; `submit` gives each run a folder of its own instead."""
        return os.path.join(self.config.root, "artifacts")

    @property
    def has_spans(self) -> bool:
        """Whether a source has spans, and so the pipeline the parameter `span`."""
        return any("spans" in source for source in self.config.data.sources)

    @property
    def span(self) -> Any:
        """The newest span that is read; None where no source has spans."""
        if not self.has_spans:
            return None
        return _parameter("span", "the newest span to read; empty for the config's")

    @property
    def method(self) -> Any:
        """What to train with; None where the config changes nothing by method."""
        if not self.methods:
            return None
        legal = ", ".join(self.methods)
        return _parameter("method", f"one of {legal}; empty for the config's own")

    @property
    def fingerprint(self) -> Any:
        """Of the sources, as whoever starts a run finds them; empty: look yourself."""
        return _parameter("fingerprint", "of the sources; empty to list them each time")

    @property
    def index(self) -> str | None:
        """None: the metadata store is asked."""
        return None

    def beam_args(self) -> list[str]:
        """Options of every Beam stage, in its container."""
        return _beam_args(self.config)

    def metadata_connection(self) -> Any:
        """None: the orchestrator has its own."""
        return None

    def resources_of(self, stage: str) -> remote_config.Resources:
        """What the container of a stage gets.

        Accelerators of a training job are the job's: this container waits for its end.
        """
        given: remote_config.Resources = self.target.resources_of(stage)
        if stage == "trainer" and self.config.train.where == "vertex":
            return given.model_copy(update={"accelerator": None, "count": 1})
        return given

    def record(self, **channels: Any) -> list[Any]:
        """The stage that leaves what a run came to."""
        from components.run_record.component import RunRecord

        return [RunRecord(**channels)]


class Vertex(Compiled):
    """Vertex AI Pipelines, whose metadata store finds the latest blessed model."""

    target: remote_config.Vertex

    def baseline(self) -> Any:
        """The latest blessed model. Vertex resolves it, and knows no rollback."""
        from tfx import v1 as tfx

        return _resolver(tfx.dsl.experimental.LatestBlessedModelStrategy, None)


class KubeflowCluster(Compiled):
    """A cluster with Kubeflow Pipelines v2, which resolves nothing."""

    target: remote_config.Kubeflow

    @property
    def index(self) -> str:
        """Where a blessing is noted, for the next run."""
        return os.path.join(self.config.root, "blessed", self.config.name)

    def baseline(self) -> Any:
        """The latest blessed model of the index; not one that was rolled back."""
        from components.released_model.component import ReleasedModel

        found = ReleasedModel(self.index, self.config.push.path)
        return found.with_id(BASELINE)


def _beam_args(config: PipelineConfig) -> list[str]:
    return [f"--runner={LOCAL_BEAM_RUNNER}", _NO_IMAGE, *config.beam]


def _parameter(name: str, description: str) -> Any:
    from tfx.orchestration import data_types

    return data_types.RuntimeParameter(name, str, "", description)


def _resolver(strategy: Any, settings: dict[str, Any] | None) -> Any:
    from tfx import v1 as tfx

    artifacts = tfx.types.standard_artifacts
    return tfx.dsl.Resolver(
        strategy_class=strategy,
        config=settings,
        model=tfx.dsl.Channel(type=artifacts.Model),
        model_blessing=tfx.dsl.Channel(type=artifacts.ModelBlessing),
    ).with_id(BASELINE)
