"""The released model that the next one is compared with."""

from typing import Any

from tfx.dsl.input_resolution.strategies import latest_blessed_model_strategy

from components import blessings
from components.pusher import versions


class LatestReleasedModel(latest_blessed_model_strategy.LatestBlessedModelStrategy):
    """TFX's LatestBlessedModelStrategy that knows of rollbacks.

    TFX takes the newest model that was ever blessed. After a rollback that is the bad
    one, so here a blessing of what was rolled back does not count.
    """

    def __init__(self, serving: str):
        """Takes the folder that holds the versions."""
        self._serving = serving

    def resolve_artifacts(self, store: Any, input_dict: Any) -> Any:
        """See TFX's."""
        gone = versions.rolled_back(self._serving)
        kept = {
            key: [a for a in artifacts if _digest(a) not in gone]
            for key, artifacts in input_dict.items()
        }
        return super().resolve_artifacts(store, kept)


def _digest(artifact: Any) -> str | None:
    return artifact.get_string_custom_property(blessings.MODEL_KEY) or None
