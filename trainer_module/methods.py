"""The table of methods that a config may name, without TensorFlow.

Config validation answers in well under a second because it reads this table instead
of importing the penalties. `trainer_module.penalties` holds the functions; a test
keeps both in step.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Mapping, Sequence
from typing import Any


@dataclasses.dataclass(frozen=True)
class MethodInfo:
    """What a config may say about one method.

    Attributes:
      kind: "baseline" (no penalty) or "penalty" (a pure function of outputs, labels
        and environments that is added to the mean risk).
      summary: one line for people.
      options: legal options and their defaults.
    """

    kind: str
    summary: str
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)


METHODS: dict[str, MethodInfo] = {
    "erm": MethodInfo(
        kind="baseline",
        summary="Empirical risk minimisation: the mean risk and no penalty.",
    ),
    "irm_v1": MethodInfo(
        kind="penalty",
        summary="Squared gradient of each environment's risk in a dummy scale of the "
        "logits (Arjovsky et al. 2019).",
    ),
    "v_rex": MethodInfo(
        kind="penalty",
        summary="Variance of the environments' risks (Krueger et al. 2021).",
    ),
}


def check_name(name: str) -> None:
    """Checks the name of a method.

    Raises:
      ValueError: the name is unknown. The message lists the legal names.
    """
    if name in METHODS:
        return
    close = difflib.get_close_matches(str(name), METHODS, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise ValueError(
        f"Unknown method {name!r}: the known ones are {', '.join(sorted(METHODS))}"
        f"{hint}"
    )


def check_options(name: str, options: Mapping[str, Any]) -> None:
    """Checks the options of a method.

    Raises:
      ValueError: the name or an option is unknown. The message lists the legal ones.
    """
    check_name(name)
    unknown = sorted(set(options) - set(METHODS[name].options))
    if unknown:
        legal = ", ".join(sorted(METHODS[name].options)) or "none"
        raise ValueError(
            f"Method {name!r} has no option {unknown[0]!r}: its options are {legal}"
        )


def check_methods(methods: Sequence[str | Mapping[str, Any]]) -> None:
    """Checks a list of methods as it stands in a config.

    Args:
      methods: names, or mappings with the keys name, weight (>= 0) and options.

    Raises:
      ValueError: the list is empty, names a method twice, or an entry has an unknown
        name, key or option, or an illegal weight. Unknown names list the legal ones.
    """
    if isinstance(methods, (str, Mapping)) or not methods:
        raise ValueError(
            f"The methods are {methods!r}; expected a list with at least one of "
            f"{', '.join(sorted(METHODS))}"
        )
    seen = set()
    for entry in methods:
        name = _check_entry({"name": entry} if isinstance(entry, str) else entry)
        if name in seen:
            raise ValueError(f"Method {name!r} is listed twice: list it once")
        seen.add(name)


def _check_entry(entry: Mapping[str, Any]) -> str:
    """Checks one entry of the list and returns its name."""
    unknown = sorted(set(entry) - {"name", "weight", "options"})
    if unknown or "name" not in entry:
        found = f"the key {unknown[0]!r}" if unknown else "no name"
        raise ValueError(
            f"A method has {found}; expected the keys name, weight and options"
        )
    name = entry["name"]
    check_options(name, entry.get("options") or {})
    weight = entry.get("weight")
    if weight is None:
        return name
    number = isinstance(weight, (int, float)) and not isinstance(weight, bool)
    if not number or not math.isfinite(weight) or weight < 0:
        raise ValueError(
            f"Method {name!r} has the weight {weight!r}; expected a finite number >= 0"
        )
    return name
