"""Rules of others: TFDV's on the schema, and drift from the last released run."""

import copy

import numpy as np
import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import anomalies_pb2, statistics_pb2

from components.environment_validator import comparing, units
from components.environment_validator.evidence import Evidence
from components.environment_validator.findings import Asked, percent
from components.environment_validator.sampled import CATEGORY


def schema(evidence: Evidence, asked: Asked, columns: tuple[str, ...]) -> None:
    """TFDV's anomalies in each environment, by the schema's environment if it has one.

    Args:
      evidence: the environments.
      asked: the bounds.
      columns: those that matter: candidates and label.
    """
    if not asked.on("schema_anomalies"):
        return
    environments = set(evidence.schema.default_environment)
    for profile in evidence.profiles:
        statistics = copy.deepcopy(profile.statistics)
        statistics.name = ""
        name = profile.environment if profile.environment in environments else None
        anomalies = tfdv.validate_statistics(
            statistics_pb2.DatasetFeatureStatisticsList(datasets=[statistics]),
            evidence.schema,
            environment=name,
        )
        for feature, info in sorted(anomalies.anomaly_info.items()):
            column = info.path.step[0] if info.path.step else feature
            if (
                info.severity != anomalies_pb2.AnomalyInfo.ERROR
                or column not in columns
            ):
                continue
            asked.add(
                "schema_anomalies",
                [profile.environment],
                1,
                f"{column} in {profile.environment} ({profile.split}) is not as the"
                f" schema says: {_one_line(info.description)}; mend the data or the"
                " schema (data.schema)",
                feature=column,
                split=profile.split,
            )


def _one_line(text: str) -> str:
    return " ".join(text.split()).rstrip(".")


def drift(evidence: Evidence, asked: Asked) -> None:
    """Each environment against the same one in the last released run."""
    reference = evidence.reference.get("environments", {})
    for i, profile in enumerate(evidence.compared):
        before = reference.get(profile.environment)
        if before is None:
            continue
        _label_drift(evidence, i, before, asked)
        for feature in evidence.sampled.features:
            values = feature.values[i]
            if feature.kind == CATEGORY and feature.name in before["categories"]:
                then = before["categories"][feature.name]
                counts = np.bincount(
                    values[values >= 0], minlength=len(feature.categories)
                )
                now = dict(zip(feature.categories, counts, strict=True))
                keys = sorted({*then, *now})
                value = comparing.jensen_shannon(
                    np.array([now.get(k, 0) for k in keys], float),
                    np.array([then.get(k, 0) for k in keys], float),
                )
                check, unit = "category_drift", "(Jensen-Shannon divergence)"
            elif feature.kind != CATEGORY and feature.name in before["numbers"]:
                then = np.array(before["numbers"][feature.name], float)
                value = units.distance(units.quantiles(values), then)
                check, unit = "number_drift", "pooled deviations (Wasserstein-1)"
            else:
                continue
            if value > asked.bound(check):
                asked.add(
                    check,
                    [profile.environment],
                    value,
                    f"{feature.name} in {profile.environment} has moved by {value:.2f}"
                    f" {unit} since the last released run; check the source before a"
                    " model learns it",
                    feature=feature.name,
                )


def _label_drift(evidence: Evidence, index: int, before: dict, asked: Asked) -> None:
    """The label of an environment against what it was."""
    samples, profile = evidence.sampled, evidence.compared[index]
    name, mend = profile.environment, "check that it still means the same"
    if samples.task == "regression":
        if "label" not in before:
            return
        now = units.quantiles(samples.labels[index])
        moved = units.distance(now, np.array(before["label"], float))
        sentence = (
            f"the label of {name} has moved by {moved:.2f} pooled deviations"
            f" (Wasserstein-1) since the last released run; {mend}"
        )
    else:
        then = before.get("classes", {})
        if "positives" in before:
            then = {"1": before["positives"]}
        shares = {"1": profile.positives / profile.rows}
        if samples.task == "multiclass":
            pairs = zip(samples.classes, profile.sizes, strict=True)
            shares = {key: size / profile.rows for key, size in pairs}
        apart = {key: abs(shares[key] - then[key]) for key in shares if key in then}
        if not apart:
            return
        key = max(apart, key=lambda k: apart[k])
        moved = apart[key]
        what = "positive" if samples.task == "binary" else key
        sentence = (
            f"the label is {what} in {percent(shares[key])} of {name} and was in"
            f" {percent(then[key])} of the last released run; {mend}"
        )
    if moved > asked.bound("label_drift"):
        asked.add("label_drift", [name], moved, sentence)
