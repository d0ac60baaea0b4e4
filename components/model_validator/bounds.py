"""What a model must keep to be served. Imports nothing heavy: the config names it."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Bounds:
    """What a model must keep.

    Attributes:
      latency_ms: of a request of one example, 99 of 100; milliseconds, > 0.
      memory_mb: the most that the process may have had, TensorFlow included; MiB, > 0.
      load_seconds: until the SavedModel is loaded, without TensorFlow's import; > 0.
      tolerance: how far two scores of the same example may be apart, relative to
        1 + |score|; >= 0.
    """

    latency_ms: float = 1_000.0
    memory_mb: float = 4_096.0
    load_seconds: float = 120.0
    tolerance: float = 1e-4
