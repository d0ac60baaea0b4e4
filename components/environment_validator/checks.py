"""The checks of EnvironmentValidator: names, levels, bounds, and what each asks.

Imports neither TFX nor NumPy, so that a config is answered in no time:

    inspect:
      missing_rate: warn
      leak: {level: error, max: 0.97}
      number_drift: off
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

ERROR: Final = "error"
WARN: Final = "warn"
NOTE: Final = "note"
OFF: Final = "off"
LEVELS = (ERROR, WARN, NOTE, OFF)
Level = Literal["error", "warn", "note", "off"]


@dataclass(frozen=True)
class Check:
    """A check and its default.

    Attributes:
      level: error (the run stops), warn, note or off.
      asks: what holds where the check finds nothing, in a line.
      bound: `min` or `max` if it has one.
      value: of the bound.
      lower: least legal bound.
      upper: largest legal bound.
    """

    level: Level
    asks: str
    bound: Literal["min", "max"] | None = None
    value: float | None = None
    lower: float = 0.0
    upper: float = 1.0

    def at(self, level: Level, value: float | None) -> "Check":
        """The same at another level and bound."""
        bound = self.value if value is None else value
        return Check(level, self.asks, self.bound, bound, self.lower, self.upper)


CHECKS: dict[str, Check] = {
    "examples": Check(
        WARN,
        "each environment has this many examples in each of its splits",
        "min",
        200,
        1,
        float("inf"),
    ),
    "label_support": Check(
        ERROR,
        "each environment has both classes in each of its splits; of more, two are"
        " enough and the others a warning; a number varies",
    ),
    "positives": Check(
        WARN,
        "each environment has this many examples of each class in each of its splits",
        "min",
        20,
        1,
        float("inf"),
    ),
    "groups": Check(
        NOTE,
        "each value of a slice has this many examples where it is evaluated; what has"
        " fewer is pooled",
        "min",
        200,
        1,
        float("inf"),
    ),
    "label_shift": Check(
        WARN,
        "the share of positives, or of any class, of two environments differs by less;"
        " a label that is a number is less apart (Wasserstein-1, pooled deviations)",
        "max",
        0.2,
    ),
    "label_agreement": Check(
        ERROR,
        "what tells the label in one environment does not tell its opposite in"
        " another: the AUC of a rule that is learned in the one and tried in the other",
        "min",
        0.4,
        0.0,
        0.5,
    ),
    "schema_anomalies": Check(
        ERROR, "TFDV finds no anomaly of the schema in any environment"
    ),
    "missing_rate": Check(
        ERROR, "the missing rates of two environments differ by less", "max", 0.5
    ),
    "categories": Check(
        WARN,
        "no category that has this share in every other environment is missing in one",
        "max",
        0.05,
    ),
    "sentinel": Check(
        ERROR,
        "no single number far beyond the other environments' makes this share of one",
        "max",
        0.01,
    ),
    "constant": Check(
        ERROR,
        "no number is the same in all of one environment (up to this share) and"
        " varies in the others",
        "max",
        0.999,
        0.5,
    ),
    "range": Check(
        ERROR,
        "the middle 98 % of a number's values overlap between environments, by this"
        " share of the shorter range",
        "min",
        0.05,
    ),
    "unit": Check(
        ERROR,
        "no conversion of units makes two environments alike that are this many pooled"
        " deviations apart (Wasserstein-1)",
        "min",
        0.5,
        0.0,
        float("inf"),
    ),
    "offset": Check(
        WARN,
        "no constant added makes two environments alike that are this many pooled"
        " deviations apart (Wasserstein-1)",
        "min",
        0.5,
        0.0,
        float("inf"),
    ),
    "category_distance": Check(
        WARN,
        "the Jensen-Shannon divergence (base 2) of a category between two environments"
        " is smaller",
        "max",
        0.5,
    ),
    "number_distance": Check(
        WARN,
        "the Wasserstein-1 distance of a number between two environments, in pooled"
        " deviations, is smaller",
        "max",
        1.0,
        0.0,
        float("inf"),
    ),
    "tells_environment": Check(
        WARN,
        "no feature alone tells an environment from the others with this AUC",
        "max",
        0.99,
        0.5,
        1.0,
    ),
    "leak": Check(
        ERROR,
        "no feature alone tells the label with this AUC, in any environment",
        "max",
        0.95,
        0.5,
        1.0,
    ),
    "spurious": Check(
        WARN,
        "the AUC with which a feature alone tells the label differs between"
        " environments by less",
        "max",
        0.15,
    ),
    "duplicates": Check(
        WARN,
        "fewer rows than this share are there twice in an environment",
        "max",
        0.01,
    ),
    "duplicates_across_environments": Check(
        ERROR, "fewer rows than this share are in another environment too", "max", 0.01
    ),
    "duplicates_across_splits": Check(
        ERROR, "fewer rows than this share are in another split too", "max", 0.01
    ),
    "conflicting_labels": Check(
        WARN,
        "fewer rows than this share have a twin that differs in the label alone",
        "max",
        0.01,
    ),
    "duplicate_keys": Check(
        ERROR, "fewer rows than this share have the `key` of another row", "max", 0.0
    ),
    "split_keys": Check(
        ERROR, "fewer keys of the split than this share are on both its sides", "max", 0
    ),
    "category_drift": Check(
        WARN,
        "the Jensen-Shannon divergence (base 2) of a category from the last released"
        " run's is smaller",
        "max",
        0.1,
    ),
    "number_drift": Check(
        WARN,
        "the Wasserstein-1 distance of a number from the last released run's, in"
        " pooled deviations, is smaller",
        "max",
        0.25,
        0.0,
        float("inf"),
    ),
    "label_drift": Check(
        WARN,
        "the label differs from the last released run's by less, as in label_shift",
        "max",
        0.05,
    ),
    "alike": Check(
        NOTE, "the training environments differ, so a penalty can do something"
    ),
    "too_few": Check(
        NOTE, "there are more training environments than features whose effect differs"
    ),
}


@dataclass(frozen=True)
class Settings:
    """What is checked.

    Attributes:
      checks: name -> check, all of `CHECKS`.
      key: columns that together name a row; () for none.
    """

    checks: Mapping[str, Check]
    key: tuple[str, ...] = field(default=())


def parse(inspect: Mapping[str, Any] | None) -> Settings:
    """The config's section `inspect` as `pipeline.inspect_config` writes it.

    Args:
      inspect: name -> {"level": ..., "bound": ...}; `key` -> columns.

    Raises:
      ValueError: an unknown check or level, or a bound outside its range.
    """
    values = dict(inspect or {})
    key = tuple(values.pop("key", ()))
    checks = dict(CHECKS)
    for name, given in values.items():
        if name not in CHECKS:
            raise ValueError(f"inspect.{name} is no check; use {', '.join(CHECKS)}")
        checks[name] = _parse(name, CHECKS[name], given)
    return Settings(checks, key)


def _parse(name: str, check: Check, given: Mapping[str, Any]) -> Check:
    level = given.get("level", check.level)
    if level not in LEVELS:
        raise ValueError(
            f"inspect.{name} is {level!r}; it must be {', '.join(LEVELS[:-1])} or off"
        )
    value = given.get("bound")
    if value is not None and check.bound is None:
        raise ValueError(f"inspect.{name} has no bound; it takes a level alone")
    if value is not None and not check.lower <= value <= check.upper:
        raise ValueError(
            f"inspect.{name}.{check.bound} is {value:g}; it must be from"
            f" {check.lower:g} to {check.upper:g}"
        )
    return check.at(level, value)
