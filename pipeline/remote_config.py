"""The config's sections `vertex` and `kubeflow`: where a compiled pipeline runs.

Whatever is secret is named, never written here: a service account by its address, a
token by the variable or the file that holds it.
"""

import os
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from pipeline.config_types import Count, Section, nearest, problem, short
from pipeline.secret_config import Secret
from pipeline.vertex_config import Training

# Tasks that a container runs; the names of nodes, as the config writes names.
STAGES = (
    "source_manifest",
    "environment_inferrer",
    "multi_env_example_gen",
    "statistics_gen",
    "schema_gen",
    "import_schema_gen",
    "example_validator",
    "latest_blessed_model",
    "environment_validator",
    "group_size_validator",
    "transform",
    "trainer",
    "evaluator",
    "model_validator",
    "invariance_validator",
    "pusher",
    "run_record",
)
_ACCELERATED = ("trainer", "evaluator")
_MEMORY = re.compile(r"(\d+(?:\.\d+)?)(Mi|Gi|Ti|M|G|T)")
_UNITS = {"M": 1e6, "G": 1e9, "T": 1e12, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
_LABEL_KEY = re.compile(r"[a-z][-_a-z0-9]{0,62}")
_LABEL = re.compile(r"[-_a-z0-9]{0,63}")


def _memory(text: str) -> str:
    if not _MEMORY.fullmatch(text):
        raise ValueError(f"is {short(text)}; write a number with M, G, T, Mi, Gi or Ti")
    return text


def _project(text: str) -> str:
    if not re.fullmatch(r"[a-z][-a-z0-9:.]{4,}[a-z0-9]", text):
        raise ValueError(
            f"is {short(text)}; give the id of the project, such as my-project"
        )
    return text


def _region(text: str) -> str:
    if not re.fullmatch(r"[a-z]+-[a-z]+[0-9]+", text):
        raise ValueError(f"is {short(text)}; give a region, such as europe-west4")
    return text


def _bucket(text: str) -> str:
    if not re.fullmatch(r"gs://[a-z0-9][-_.a-z0-9]+(/[^\s?*\[\]{}]*)?", text):
        raise ValueError(
            f"is {short(text)}; give a folder of Cloud Storage, such as"
            " gs://my-bucket/tfx-irm"
        )
    return text.rstrip("/")


def _bucket_or_volume(text: str) -> str:
    """A folder that every pod sees under the same path is one as well."""
    if text.startswith("/") and text.isprintable():
        return os.path.normpath(text)
    return _bucket(text)


def _image(text: str) -> str:
    if not text.strip() or not text.isprintable() or " " in text:
        raise ValueError(
            f"is {short(text)}; give the name of the image that you pushed"
        )
    return text


def _account(text: str) -> str:
    if not re.fullmatch(r"[-a-z0-9]+@[-.a-z0-9]+", text):
        raise ValueError(  # without what it is, which may be a key
            "is no address of a service account; give one, such as"
            " trainer@my-project.iam.gserviceaccount.com (never a key)"
        )
    return text


def _labels(given: dict[str, str]) -> dict[str, str]:
    for key, value in given.items():
        if not _LABEL_KEY.fullmatch(key) or not _LABEL.fullmatch(value):
            raise problem(
                [key],
                f"is {short(value)}; labels are lower-case letters, digits, hyphens and"
                " underscores, at most 63, and their names begin with a letter",
            )
    return given


def _host(text: str) -> str:
    if "@" in text:
        raise ValueError(
            "holds an @; give the address of the cluster's API without a user or a"
            " password, and the token by kubeflow.token"
        )
    if not re.fullmatch(r"https?://\S+", text):
        raise ValueError(
            f"is {short(text)}; give the address of the cluster's API, such as"
            " https://kubeflow.example.com/pipeline"
        )
    return text.rstrip("/")


class Resources(Section):
    """What the container of a stage may use, and how often it is tried again."""

    cpu: Annotated[float, Field(gt=0)] | None = None
    memory: Annotated[str, AfterValidator(_memory)] | None = Field(
        default=None, examples=["16G"]
    )
    accelerator: str | None = Field(default=None, examples=["NVIDIA_TESLA_T4"])
    count: Count = 1
    retries: Annotated[int, Field(ge=0, le=10)] | None = None

    @model_validator(mode="after")
    def _counts_something(self) -> "Resources":
        if "count" in self.model_fields_set and self.accelerator is None:
            raise problem(
                ["count"],
                f"is {self.count}, and no accelerator is named; add accelerator, or"
                " remove the key",
            )
        return self

    @property
    def gigabytes(self) -> float | None:
        """Memory in units of 1e9 bytes."""
        if self.memory is None:
            return None
        found = _MEMORY.fullmatch(self.memory)
        assert found is not None
        return float(found[1]) * _UNITS[found[2]] / 1e9

    def over(self, base: "Resources") -> "Resources":
        """These, and those of a base where nothing is said."""
        return base.model_copy(update=self.model_dump(exclude_unset=True))


DEFAULTS = Resources(cpu=4, memory="16G")


class Target(Section):
    """What both kinds of cluster are told."""

    resources: dict[str, Resources] = Field(
        default={}, examples=["{trainer: {accelerator: NVIDIA_TESLA_T4, count: 1}}"]
    )

    @model_validator(mode="after")
    def _known_stages(self) -> "Target":
        legal = ("default", *STAGES)
        for name, given in self.resources.items():
            if name not in legal:
                raise problem(["resources", name], f"is no stage{nearest(name, legal)}")
            if given.accelerator is not None and name not in _ACCELERATED:
                raise problem(
                    ["resources", name, "accelerator"],
                    f"is {short(given.accelerator)}, and only"
                    f" {' and '.join(_ACCELERATED)} use one; move it there",
                )
        return self

    def resources_of(self, stage: str) -> Resources:
        """What a stage gets: its own, else the default's, else ours."""
        default = self.resources.get("default", Resources()).over(DEFAULTS)
        return self.resources.get(stage, Resources()).over(default)


class Vertex(Target):
    """Vertex AI Pipelines."""

    project: Annotated[str, AfterValidator(_project)]
    region: Annotated[str, AfterValidator(_region)] = Field(examples=["europe-west4"])
    root: Annotated[str, AfterValidator(_bucket)] = Field(
        examples=["gs://my-bucket/tfx-irm"]
    )
    image: Annotated[str, AfterValidator(_image)]
    service_account: Annotated[str, AfterValidator(_account)] | None = None
    network: str | None = None
    labels: Annotated[dict[str, str], AfterValidator(_labels)] = {}
    training: Training = Training()


class Token(Secret):
    """Where the token of a cluster lies: a variable, or a file."""

    file: str | None = None

    _what = "token"


class Kubeflow(Target):
    """A cluster with Kubeflow Pipelines v2."""

    host: Annotated[str, AfterValidator(_host)]
    namespace: str | None = None
    experiment: str = "tfx-irm"
    root: Annotated[str, AfterValidator(_bucket_or_volume)] = Field(
        examples=["gs://my-bucket/tfx-irm"]
    )
    image: Annotated[str, AfterValidator(_image)]
    service_account: str | None = None
    token: Token | None = None
    ca_file: str | None = None


TargetName = Literal["vertex", "kubeflow"]
