"""The config's section `inspect`: what may differ between environments."""

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


def _leaf(name: str, check: Check) -> Any:
    fields: dict[str, Any] = {}
    if check.bound:
        limits: dict[str, Any] = {"ge": check.lower}
        if check.upper != float("inf"):
            limits["le"] = check.upper
        fields[check.bound] = (
            Annotated[float, Field(**limits)] | None,
            Field(default=None, description=f"Default: {check.value:g}."),
        )
    if name == KEYED:
        fields["key"] = (Columns, ())
    title = "".join(part.title() for part in name.split("_"))
    model: Any = create_model(f"Inspect{title}", __base__=_Leaf, **fields)
    model.__doc__ = f"{check.asks[0].upper()}{check.asks[1:]} (default: {check.level})."
    return Annotated[model, _level_alone(model, check)]


_FIELDS: dict[str, Any] = {
    name: (_leaf(name, check), Field(default=None)) for name, check in CHECKS.items()
}
Inspect: Any = create_model("Inspect", __base__=_Inspect, **_FIELDS)
