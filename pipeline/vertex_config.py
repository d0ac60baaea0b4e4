"""The section `vertex.training`: the job that a model is trained in."""

import re
from typing import Annotated

from pydantic import AfterValidator

from pipeline.config_types import Count, Section, short

_MACHINE = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)+")
_TIME = re.compile(r"([1-9]\d{0,5})([mhd])")
_SECONDS = {"m": 60, "h": 3600, "d": 86400}
_LONGEST = 30 * 86400


def _machine(text: str) -> str:
    if not _MACHINE.fullmatch(text):
        raise ValueError(
            f"is {short(text)}; give a type of machine, such as n1-standard-8"
        )
    return text


def _time(text: str) -> str:
    found = _TIME.fullmatch(text)
    if found is None or int(found[1]) * _SECONDS[found[2]] > _LONGEST:
        raise ValueError(
            f"is {short(text)}; write minutes, hours or days, at most 30d: 90m, 24h, 7d"
        )
    return text


Machine = Annotated[str, AfterValidator(_machine)]


class Training(Section):
    """The custom job of `train.where: vertex`.

    Its accelerators are those of `vertex.resources.trainer`.
    """

    machine: Machine = "n1-standard-8"
    workers: Count = 1
    spot: bool = False
    timeout: Annotated[str, AfterValidator(_time)] = "7d"

    @property
    def seconds(self) -> int:
        """The timeout."""
        found = _TIME.fullmatch(self.timeout)
        assert found is not None
        return int(found[1]) * _SECONDS[found[2]]
