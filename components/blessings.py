"""What a blessing is of: digests on the `ModelBlessing`, and beside TFX's BLESSED file.

They stand in the metadata and in `blessing.json`; whoever changes one of the two is
noticed. That is no signature: who may write both may bless what he likes.
"""

import dataclasses
import json
import os
from typing import Any

from components import filesystem
from components.errors import DataError

BLESSING_FILE = "blessing.json"
EXAMPLES_KEY = "examples_fingerprint"
MODEL_KEY = "model_digest"
_BLESSED_FILE = "BLESSED"  # TFX's
_BLESSED_KEY = "blessed"
_KEYS = (MODEL_KEY, EXAMPLES_KEY, "checks_fingerprint", "verdict")


@dataclasses.dataclass(frozen=True)
class Blessing:
    """What was decided of which model.

    Attributes:
      blessed: whether it may be released.
      verdict: PASS, FAIL or INSUFFICIENT_DATA.
      model_digest: of the SavedModel that was evaluated, see `digests.of_model`.
      examples_fingerprint: of the examples that it was evaluated on.
      checks_fingerprint: of the checks and the verdict's rule.
    """

    blessed: bool
    verdict: str | None = None
    model_digest: str | None = None
    examples_fingerprint: str | None = None
    checks_fingerprint: str | None = None

    @property
    def facts(self) -> dict[str, str]:
        """Those that are known, without `blessed`."""
        found = {key: getattr(self, key) for key in _KEYS}
        return {key: value for key, value in found.items() if value is not None}


def write(artifact: Any, blessing: Blessing) -> None:
    """Puts the facts on a `ModelBlessing` and beside its BLESSED file.

    Args:
      artifact: with a `uri` that exists.
      blessing: to tell of.
    """
    for key, value in blessing.facts.items():
        artifact.set_string_custom_property(key, value)
    content = {**blessing.facts, "blessed": blessing.blessed}
    text = json.dumps(content, indent=1, sort_keys=True)
    with filesystem.open_file(os.path.join(artifact.uri, BLESSING_FILE), "wb") as file:
        file.write(text.encode())


def read(artifact: Any) -> Blessing:
    """Reads a `ModelBlessing`; one of somebody else's has no digests.

    Raises:
      DataError: what lies in its folder is not what the metadata say.
    """
    blessed = artifact.get_int_custom_property(_BLESSED_KEY) == 1
    known = {key: artifact.get_string_custom_property(key) or None for key in _KEYS}
    if filesystem.exists(os.path.join(artifact.uri, _BLESSED_FILE)) != blessed:
        said = "positive" if blessed else "not positive"
        raise DataError(
            f"the blessing in {artifact.uri} was changed: it is {said}, and the file"
            f" {_BLESSED_FILE} says otherwise; {_mend(artifact)}"
        )
    path = os.path.join(artifact.uri, BLESSING_FILE)
    if not any(known.values()) and not filesystem.exists(path):
        return Blessing(blessed)
    told = _told(path, artifact)
    for key, value in {**known, _BLESSED_KEY: blessed}.items():
        if told.get(key) != value:
            raise DataError(
                f"the blessing in {artifact.uri} was changed: {key} is {value!r}, and"
                f" {BLESSING_FILE} says {told.get(key)!r}; {_mend(artifact)}"
            )
    return Blessing(blessed, **known)


def _told(path: str, artifact: Any) -> dict[str, Any]:
    try:
        with filesystem.open_file(path) as file:
            told = json.loads(file.read())
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read ({type(error).__name__}), so nothing shows which"
            f" model is blessed; {_mend(artifact)}"
        ) from error
    return told if isinstance(told, dict) else {}


def _mend(artifact: Any) -> str:
    return f"remove {artifact.uri} and run again, which decides anew"
