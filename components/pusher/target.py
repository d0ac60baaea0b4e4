"""An endpoint of Vertex AI, and what a model there is given: plain values."""

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence

from components import digests

ENDPOINT_KEY = "endpoint"
_NAME = re.compile(r"(.+)-([0-9a-f]{32})")


@dataclasses.dataclass(frozen=True)
class Target:
    """Where a model is deployed, and on what.

    Attributes:
      project: id of the project.
      region: of the endpoint.
      endpoint: its display name; it is made where there is none.
      pipeline: name of the pipeline, which the models are named by.
      image: that serves a SavedModel.
      machine: type of each machine.
      traffic: percent of the requests that a new model gets.
      least, most: machines; between them Vertex AI decides.
      service_account: that the containers run as, or None.
      labels: of an endpoint that is made.
    """

    project: str
    region: str
    endpoint: str
    pipeline: str
    image: str
    machine: str
    traffic: int = 100
    least: int = 1
    most: int = 1
    service_account: str | None = None
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def told(self) -> str:
        """The endpoint, as sentences name it."""
        return f"the endpoint {self.endpoint} in {self.project}, {self.region}"

    def model_name(self, digest: str) -> str:
        """Display name of a model, there and in the registry."""
        return f"{self.pipeline}-{digest}"

    def to_json(self) -> str:
        """As an exec property holds it."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Target":
        """Reads what `to_json` wrote."""
        return cls(**json.loads(text))


@dataclasses.dataclass(frozen=True)
class Deployed:
    """A model on an endpoint.

    Attributes:
      id: of the deployed model.
      name: that it is shown by.
      traffic: percent of the requests.
      pipeline, digest: of what we deployed; None of what somebody else did.
    """

    id: str
    name: str
    traffic: int
    pipeline: str | None = None
    digest: str | None = None

    @classmethod
    def of(cls, number: str, name: str, traffic: int) -> "Deployed":
        """Reads the display name."""
        found = _NAME.fullmatch(name)
        if found is None or not digests.is_digest(found[2]):
            return cls(number, name, traffic)
        return cls(number, name, traffic, found[1], found[2])


def find(deployed: Sequence[Deployed], digest: str) -> Deployed | None:
    """The model of a digest; the one with the most traffic where there are two."""
    found = [one for one in deployed if one.digest == digest]
    return max(found, key=lambda one: one.traffic, default=None)


def split(deployed: Sequence[Deployed], number: str, traffic: int) -> dict[str, int]:
    """The traffic when one model gets so much, and the others share the rest.

    They share it as they shared theirs before, in whole percents: each gets its share
    rounded down, and those that lost most by that get one more, until all is given.
    Where no other has any traffic, the one gets all of it.

    Args:
      deployed: all models of the endpoint.
      number: id of the one.
      traffic: percent.

    Returns:
      Id -> percent, 100 in all.
    """
    others = {one.id: one.traffic for one in deployed if one.id != number}
    total = sum(others.values())
    if not total:
        return {**others, number: 100}
    rest = 100 - traffic
    shares = {one: divmod(had * rest, total) for one, had in others.items()}
    given = {one: whole for one, (whole, _) in shares.items()}
    left = rest - sum(given.values())
    for one in sorted(shares, key=lambda one: -shares[one][1])[:left]:
        given[one] += 1
    return {**given, number: traffic}


def idle(
    before: Sequence[Deployed], after: Sequence[Deployed], pipeline: str, served: str
) -> list[Deployed]:
    """Our models that get no traffic now, and that nobody would go back to.

    Args:
      before: the models before the last push.
      after: those of now.
      pipeline: only its models.
      served: digest of what was pushed last.

    Returns:
      All without traffic but the pushed one, and the one that had most of it before.
    """
    had = [one for one in before if one.digest != served and one.traffic]
    last = max(had, key=lambda one: one.traffic, default=None)
    return [
        one
        for one in after
        if one.pipeline == pipeline
        and not one.traffic
        and one.digest != served
        and (last is None or one.id != last.id)
    ]
