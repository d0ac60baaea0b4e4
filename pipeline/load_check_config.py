"""The config's section `load_check`: what a model must keep to be served."""

from typing import Annotated

from pydantic import Field

from components.model_validator.bounds import Bounds
from pipeline.config_types import Section

_Above = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class LoadCheck(Section):
    """Bounds of the load check, which runs in a process of its own, without a GPU.

    latency_ms: of 99 of 100 requests of one example. memory_mb: the most memory that
    the process has had, TensorFlow included, in MiB. load_seconds: until the model is
    loaded. tolerance: how far two scores of an example may be apart, relative to 1 +
    |score|.
    """

    latency_ms: _Above = Bounds.latency_ms
    memory_mb: _Above = Bounds.memory_mb
    load_seconds: _Above = Bounds.load_seconds
    tolerance: Annotated[float, Field(ge=0, le=1)] = Bounds.tolerance
