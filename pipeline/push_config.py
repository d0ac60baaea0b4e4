"""The config's section `push`: where a blessed model goes."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from pipeline.config_types import (
    Count,
    LocalPath,
    Section,
    ServingPath,
    problem,
    short,
)
from pipeline.vertex_config import Machine

_OF_AN_ENDPOINT = ("endpoint", "traffic", "machine", "replicas", "serving_image")


def _endpoint(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][-_ A-Za-z0-9]{0,127}", text):
        raise ValueError(
            f"is {short(text)}; give the display name of the endpoint, of letters,"
            " digits, hyphens, underscores and spaces, at most 128"
        )
    return text


def _image(text: str) -> str:
    if not text.strip() or not text.isprintable() or " " in text:
        raise ValueError(
            f"is {short(text)}; give the name of an image that serves a SavedModel,"
            " such as europe-docker.pkg.dev/vertex-ai/prediction/tf2-cpu.2-15:latest"
        )
    return text


class Replicas(Section):
    """How many machines serve the model; between the two Vertex AI decides."""

    min: Count = 1
    max: Count | None = None

    @model_validator(mode="after")
    def _rise(self) -> "Replicas":
        if self.max is not None and self.max < self.min:
            raise problem(
                ["max"], f"is {self.max}, below min, which is {self.min}; raise it"
            )
        return self


class Push(Section):
    """Where a blessed model goes: a folder, or an endpoint of Vertex AI besides."""

    to: Literal["filesystem", "vertex"] = "filesystem"
    path: ServingPath = Field(default="serving", validate_default=True)
    override: LocalPath | None = Field(default=None, examples=["override.yaml"])
    endpoint: Annotated[str, AfterValidator(_endpoint)] | None = Field(
        default=None, examples=["flights"]
    )
    traffic: Annotated[int, Field(ge=0, le=100)] = 100
    machine: Machine = "n1-standard-2"
    replicas: Replicas = Replicas()
    serving_image: Annotated[str, AfterValidator(_image)] | None = Field(
        default=None,
        examples=["europe-docker.pkg.dev/vertex-ai/prediction/tf2-cpu.2-15:latest"],
    )

    @model_validator(mode="after")
    def _to_one_place(self) -> "Push":
        given = self.model_fields_set
        if self.to == "vertex":
            for key in ("endpoint", "serving_image"):
                if getattr(self, key) is None:
                    example = type(self).model_fields[key].examples
                    assert example is not None
                    raise problem(
                        ["to"],
                        f"is vertex, and there is no push.{key}; add it, for example"
                        f" `{key}: {example[0]}`",
                    )
            if "path" in given:
                raise problem(
                    ["path"],
                    "is of a folder here, and push.to is vertex, which serves from"
                    " <vertex.root>/serving; remove the key",
                )
        elif "to" not in given:  # who writes `to: filesystem` means it
            for key in _OF_AN_ENDPOINT:
                if key in given:
                    raise problem(
                        [key],
                        "is of an endpoint, and models go to a folder; add to: vertex,"
                        " or remove the key",
                    )
        return self
