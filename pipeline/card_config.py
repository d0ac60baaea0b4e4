"""The config's section `card`: what the model card says that no run can know."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from pipeline.config_types import Section, as_tuple

_Text = Annotated[str, Field(min_length=1)]
_Texts = Annotated[
    tuple[_Text, ...],
    BeforeValidator(as_tuple, json_schema_input_type=_Text | list[_Text] | None),
]


class Owner(Section):
    """Whom to ask."""

    name: _Text
    contact: _Text | None = None


class Risk(Section):
    """What may go wrong, and what is done against it."""

    name: _Text
    mitigation_strategy: _Text | None = None


def _listed(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


class Card(Section):
    """Fields of Model Card Toolkit; what is left out, the card leaves out."""

    overview: _Text | None = None
    owners: Annotated[
        tuple[Owner, ...],
        BeforeValidator(_listed, json_schema_input_type=list[Owner]),
    ] = ()
    licenses: _Texts = ()
    references: _Texts = ()
    citations: _Texts = ()
    users: _Texts = ()
    use_cases: _Texts = ()
    limitations: _Texts = ()
    tradeoffs: _Texts = ()
    sensitive_data: _Texts = ()
    ethical_considerations: Annotated[
        tuple[Risk, ...],
        BeforeValidator(_listed, json_schema_input_type=list[Risk]),
    ] = ()
