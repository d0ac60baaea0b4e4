"""Where a pipeline runs: roots, metadata store, Beam's runner."""

import dataclasses
import os
from typing import Any

from pipeline.config import PipelineConfig

# Named by its class: `DirectRunner` would try to fetch a runner of its own (Prism).
LOCAL_BEAM_RUNNER = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"
# Workers in this process have no use for an image. Naming one keeps TFX from packing
# itself into a source distribution at every Beam stage, 2 to 3 seconds each.
_NO_IMAGE = "--sdk_container_image=none"


@dataclasses.dataclass(frozen=True)
class Local:
    """This machine: artifacts under the config's root, SQLite beside them."""

    config: PipelineConfig

    @property
    def pipeline_root(self) -> str:
        """Where artifacts lie."""
        return os.path.join(self.config.root, "artifacts")

    def beam_args(self) -> list[str]:
        """Options of every Beam stage."""
        return [f"--runner={LOCAL_BEAM_RUNNER}", _NO_IMAGE, *self.config.beam]

    def metadata_connection(self) -> Any:
        """The metadata store."""
        from tfx.orchestration import metadata

        path = os.path.join(self.config.root, "metadata.sqlite")
        os.makedirs(self.config.root, exist_ok=True)
        return metadata.sqlite_metadata_connection_config(path)
