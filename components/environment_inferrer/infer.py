"""From a manifest without environments to one with them."""

import functools
import logging
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import tensorflow as tf

from components.environment_inferrer import certainty, design, passes
from components.environment_inferrer import rule as rules
from components.environment_inferrer.names import inferred_names
from components.errors import DataError
from components.multi_env_example_gen import bad_rows, ingest, query_files, shards
from components.multi_env_example_gen import tasks as tasks_lib
from components.source_manifest import listing
from components.source_manifest.listing import Listed, SourceFile

FEWEST = 100  # rows of each label
FEWEST_KEYS = 12
_CELLS = 1 << 25  # of the sample's matrix: 128 MiB
_SAMPLE = ".sample"
_KEY = "data.environments.infer"


def infer(
    files: list[SourceFile],
    spec: shards.Spec,
    settings: rules.Settings,
    features: Mapping[str, Any],
    never: Collection[str],
    folder: str,
    make_pipeline: Callable[[], beam.Pipeline],
) -> tuple[list[SourceFile], dict[str, Any]]:
    """Writes the rows of the files without an environment, by inferred environment.

    Args:
      files: the manifest; those with an environment are held out, and stay.
      spec: as ingestion takes it.
      settings: how environments are inferred.
      features: the config's `data.features`.
      never: columns that are no features.
      folder: for the rows.
      make_pipeline: makes a Beam pipeline; called twice, and again for queries and
        for columns that turn out wider than their first block showed.

    Returns:
      A manifest in which every file has its environment, and what is known of the
      inferred ones, as JSON: `method`, `number`, `seed`, `sampled`, `environments`
      (name -> rows, positives), `unlabelled`, `bad_rows`, the fields of
      `certainty.measure`, and a `sentence`.

    Raises:
      DataError: the data cannot be read, there is too little of it, or the environments
        are arbitrary and that is not accepted.
    """
    pooled = [file for file in files if file.environment is None]
    known = [file for file in files if file.environment is not None]
    schema = ingest.plan_schema(files, spec)
    if tf.io.gfile.exists(folder):
        tf.io.gfile.rmtree(folder)
    at = os.path.join(folder, ingest.QUERIES)
    with query_files.read(pooled, at, make_pipeline) as local:
        tasks = ingest.plan_tasks(local.sources)

        def attempt() -> tuple[dict[str, Any], list[dict[str, Any]]]:
            kinds = design.choose(schema, features, never)
            plan = passes.Plan(spec, schema, kinds, settings.sample // 2, folder)
            rule, found = _fit(tasks, plan, settings, make_pipeline)
            names = inferred_names(settings.number)
            do = functools.partial(passes.write_task, plan=plan, rule=rule, names=names)
            return found, tasks_lib.run(tasks, do, folder, make_pipeline)

        found, written = tasks_lib.until_wide(attempt, schema, tasks, spec)
    found = {**_as_told(settings), **found, **_sums(written, settings)}
    found["bad_rows"] = local.rename(found["bad_rows"])
    _check_environments(found)
    found["sentence"] = sentence(found)
    logging.info("Environments inferred: %s", found["sentence"])
    return [*_listed(folder, settings), *known], found


def _as_told(settings: rules.Settings) -> dict[str, Any]:
    return {
        "method": settings.method,
        "number": settings.number,
        "seed": settings.seed,
        "min_stability": settings.min_stability,
    }


def _fit(
    tasks: Sequence[shards.Task],
    plan: passes.Plan,
    settings: rules.Settings,
    make_pipeline: Callable[[], beam.Pipeline],
) -> tuple[rules.TableRule, dict[str, Any]]:
    """The rule, and how certain what it finds is."""
    tasks = list(tasks)
    at = os.path.join(plan.folder, _SAMPLE)
    sampling = passes.Plan(plan.spec, plan.schema, plan.kinds, plan.most, at)
    numbers = {task.shard: i for i, task in enumerate(tasks)}
    do = functools.partial(passes.sample_task, plan=sampling, numbers=numbers)
    tf.io.gfile.makedirs(at)
    results = tasks_lib.run(tasks, do, at, make_pipeline)
    table = passes.gather(tasks, sampling)
    tf.io.gfile.rmtree(at)
    totals = np.sum([r["labels"] for r in results], axis=0)
    table = balanced(table, totals, plan.spec)
    _check_keys(table, plan.spec)
    encoder = design.fit(passes.features_of(table), plan.kinds)
    table = passes.smallest(table, max(_CELLS // encoder.width // 2, FEWEST))
    labels = table[passes.LABEL].to_numpy()
    sample = rules.Sample(
        encoder.apply(passes.features_of(table)),
        labels,
        table[passes.KEY].to_numpy(),
        2 * totals[labels] / len(labels),
    )
    rule = rules.fit(sample, settings)
    found = certainty.measure(sample, rule, settings, encoder.slices)
    _check_certain(found, settings)
    return rules.TableRule(encoder, rule), {"sampled": len(labels), **found}


def balanced(table: pa.Table, totals: Sequence[int], spec: shards.Spec) -> pa.Table:
    """As many rows of one label as of the other.

    Args:
      table: the sample.
      totals: rows with label 0 and 1 in all the data.
      spec: names the label.

    Raises:
      DataError: there are too few.
    """
    for label in (0, 1):
        if totals[label] < FEWEST:
            raise DataError(
                f"{_KEY}: {totals[label]:,} rows have {spec.label['name']} = {label},"
                f" and at least {FEWEST} are needed to infer environments; add rows, or"
                " name the environments"
            )
    labels = table[passes.LABEL].to_numpy()
    return passes.smallest(table, min(np.bincount(labels, minlength=2)))


def _check_keys(table: pa.Table, spec: shards.Spec) -> None:
    found = len(table[passes.KEY].unique())
    if found < FEWEST_KEYS:
        key = ", ".join(spec.split_by) or "all columns"
        raise DataError(
            f"{_KEY}: the rows have {found} different keys ({key}), and {FEWEST_KEYS}"
            " are needed to judge each row by a model that has not seen its key; choose"
            " finer keys in data.split.by"
        )


def _check_certain(found: Mapping[str, Any], settings: rules.Settings) -> None:
    if found["problems"] and settings.on_uncertain == "refuse":
        raise DataError(
            f"{_KEY}: the environments that {settings.method} finds are arbitrary:"
            f" {'; and '.join(found['problems'])}; name the environments, infer them"
            " from other features, or accept these with on_uncertain: accept"
        )


def _sums(written: list[dict[str, Any]], settings: rules.Settings) -> dict[str, Any]:
    names = inferred_names(settings.number)
    bad: dict[str, Any] = {}
    for part in written:
        bad_rows.merge(bad, part["bad_rows"])
    return {
        "environments": {
            name: {
                key: sum(part[key][i] for part in written)
                for key in ("rows", "positives")
            }
            for i, name in enumerate(names)
        },
        "unlabelled": sum(part["unlabelled"] for part in written),
        "bad_rows": bad,
    }


def _check_environments(found: Mapping[str, Any]) -> None:
    for name, entry in found["environments"].items():
        if entry["positives"] in (0, entry["rows"]):
            what = "no rows"
            if entry["rows"]:
                what = f"one label only in its {entry['rows']:,} rows"
            mend = "ask for a smaller number, or infer from other features"
            if found["method"] == rules.EIIL:
                mend = "infer from other features, or name the environments"
            raise DataError(
                f"{_KEY}: {name}, as {found['method']} finds it, has {what}, and"
                f" nothing can be learned from that; {mend}"
            )


def _listed(folder: str, settings: rules.Settings) -> list[SourceFile]:
    """The files written, as a manifest has them."""
    found = []
    for name in inferred_names(settings.number):
        source = {"environment": name, "format": "parquet", "held_out": False}
        at = os.path.join(folder, name)
        for file in sorted(tf.io.gfile.listdir(at)):
            path = os.path.join(at, file)
            found.append(listing.source_file((source, path, Listed({}, None))))
    return found


def sentence(found: Mapping[str, Any]) -> str:
    """What was found, in one sentence without its end."""
    sizes = ", ".join(
        f"{name} has {entry['rows']:,} rows ({entry['positives'] / entry['rows']:.1%}"
        " positive)"
        for name, entry in found["environments"].items()
    )
    apart = found["separation"]
    text = (
        f"{sizes}; two fits on different rows agree by an adjusted Rand index of"
        f" {found['stability']['mean']:.2f}; the reference has an AUC of"
        f" {found['reference']['auc']:.3f} and an IRMv1 penalty of"
        f" {apart['penalty']:.2g} on them, on random ones {apart['random']:.2g}"
    )
    if found["silhouette"] is not None:
        text += f"; their silhouette is {found['silhouette']:.2f}"
    best = next(iter(found["told_by"]), None)
    if best is not None and found["told_by"][best] > 0:
        text += (
            f"; given the label, {best} tells them apart most"
            f" (R\u00b2 {found['told_by'][best]:.2f})"
        )
    if found["problems"]:
        text += f". They are arbitrary: {'; and '.join(found['problems'])}"
    return text
