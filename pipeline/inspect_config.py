"""The config's section `inspect`: what may differ between environments."""

import functools
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, create_model

from components.environment_validator.checks import CHECKS, Check, Level
from pipeline.config_types import Columns, Section, short

KEYED = "duplicate_keys"


class _Leaf(Section):
    """A check's level; the default is the check's own."""

    level: Level | None = None


class _Inspect(Section):
    """The levels and bounds of EnvironmentValidator's checks."""

    def as_json(self) -> dict[str, Any]:
        """The section as EnvironmentValidator takes it: what it changes."""
        found: dict[str, Any] = {}
        for name in sorted(self.model_fields_set):
            leaf = getattr(self, name)
            given = leaf.model_dump(exclude_none=True)
            if key := given.pop("key", ()):
                found["key"] = list(key)
            bound = CHECKS[name].bound
            if bound in given:
                given["bound"] = given.pop(bound)
            found[name] = given
        return found


def _level_alone(model: Any, check: Check) -> BeforeValidator:
    """`leak: warn` for `leak: {level: warn}`."""

    def expand(value: Any) -> Any:
        if isinstance(value, str):
            return {"level": value}
        if isinstance(value, int | float) and not isinstance(value, bool):
            form = f"{{{check.bound}: {value}}}" if check.bound else "a level"
            raise ValueError(f"is {short(value)}; write {form}")
        return value

    return BeforeValidator(expand, json_schema_input_type=model | Level)


@functools.cache
def _model(
    bound: str | None, lower: float, upper: float, is_keyed: bool
) -> type[_Leaf]:
    """The section of a check with such a bound; those that are alike share one."""
    fields: dict[str, Any] = {}
    if bound:
        limits: dict[str, Any] = {"ge": lower}
        if upper != float("inf"):
            limits["le"] = upper
        fields[bound] = (Annotated[float, Field(**limits)] | None, None)
    if is_keyed:
        fields["key"] = (Columns, ())
    ends = f"{lower:g}To{upper:g}".title().replace(".", "_") if bound else ""
    kind = f"{(bound or 'level').title()}{ends}{'Keyed' * is_keyed}"
    made: type[_Leaf] = create_model(f"Inspect{kind}", __base__=_Leaf, **fields)
    return made


def _leaf(name: str, check: Check) -> tuple[Any, Any]:
    model = _model(check.bound, check.lower, check.upper, name == KEYED)
    bound = f", {check.bound} {check.value:g}" if check.bound else ""
    asks = f"{check.asks[0].upper()}{check.asks[1:]} (default: {check.level}{bound})."
    return Annotated[model, _level_alone(model, check)], Field(None, description=asks)


_FIELDS: dict[str, Any] = {name: _leaf(name, check) for name, check in CHECKS.items()}
Inspect: Any = create_model("Inspect", __base__=_Inspect, **_FIELDS)
