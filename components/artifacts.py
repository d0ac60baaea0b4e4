"""Artifact types of the custom components.

`TYPE_NAME` is `<module>.<Class>` with one dot and there are no `PROPERTIES`: what
Kubeflow's importer accepts. Facts go into custom properties.
"""

from tfx.types import artifact


class SourceManifest(artifact.Artifact):
    """`manifest.json`: every source file with its size and digest."""

    TYPE_NAME = "components.SourceManifest"


class EnvironmentInference(artifact.Artifact):
    """`inference.json`: the environments that were inferred, and how certain."""

    TYPE_NAME = "components.EnvironmentInference"


class InvarianceReport(artifact.Artifact):
    """`decision.json` and `report.html`: what was decided, and why."""

    TYPE_NAME = "components.InvarianceReport"


class EnvironmentReport(artifact.Artifact):
    """`environments.json`, `environments.html`: what differs between environments."""

    TYPE_NAME = "components.EnvironmentReport"


class GroupSizes(artifact.Artifact):
    """`sizes.json`: slices that are too small for a check that may lack data."""

    TYPE_NAME = "components.GroupSizes"


class RunRecord(artifact.Artifact):
    """`summary.json` and `report.html`: what a run came to."""

    TYPE_NAME = "components.RunRecord"
