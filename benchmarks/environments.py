"""What EnvironmentValidator finds, what it finds where nothing is, and what it costs.

    python benchmarks/environments.py [--resamples N] [--json FILE] [--quick]

1. Defects of `planted.py`, each planted into the flights of the example: found, and
   named with its feature and environment?
2. Errors on bootstrap resamples of the clean flights, of rows and of whole days: the
   false-error rate, with its 95 % upper limit.
3. Seconds beside StatisticsGen's on the same examples, each in a process of its own,
   and the peak memory at one and four times the rows.
"""

import argparse
import dataclasses
import datetime
import glob
import json
import os
import platform
import subprocess
import sys
import tempfile
import time

import numpy as np
import pyarrow as pa
from scipy import stats

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))

from benchmarks import planted  # noqa: E402

CONFIG = os.path.join(HERE, "..", "examples", "flights", "config.yaml")
ROLES = planted.Roles(
    label="late",
    key=("month", "day"),
    degrees="temp",
    length="distance",
    share="humid",
    clock="sched_dep_time",
    category="carrier",
    victim="JFK",
    other="EWR",
)


def ingest(folder):
    """The example's Examples: (counts, patterns by split)."""
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.pipeline import Pipeline

    from components.multi_env_example_gen import ingest as ingestion
    from components.multi_env_example_gen.executor import spec_from_json
    from components.source_manifest import listing
    from pipeline.config_io import load_config
    from pipeline.pipeline import create_pipeline
    from pipeline.runtime import LOCAL_BEAM_RUNNER, Local

    config = load_config(CONFIG, sets=[f"root={folder}/root"])
    graph = create_pipeline(config, Local(config))
    (gen,) = [c for c in graph.components if c.id == "MultiEnvExampleGen"]
    spec = spec_from_json(gen.spec.exec_properties["spec"])
    options = PipelineOptions([f"--runner={LOCAL_BEAM_RUNNER}"])
    counts = ingestion.ingest(
        listing.build_manifest(config.data.sources),
        spec,
        f"{folder}/examples",
        lambda: Pipeline(options=options),
    )
    (inspector,) = [c for c in graph.components if c.id == "EnvironmentValidator"]
    properties = inspector.spec.exec_properties
    return counts, properties["options"], properties["inspect"]


def patterns(folder):
    """Split -> its files."""
    return {
        split: sorted(glob.glob(f"{folder}/examples/Split-{split}/*.gz"))
        for split in ("train", "eval", "ood")
    }


def read_world(folder):
    """The examples as tables of plain columns, by split and environment."""
    from tfx_bsl.public.tfxio import RecordBatchesOptions, TFExampleRecord

    world = {}
    for split, files in patterns(folder).items():
        record = TFExampleRecord(files, schema=_schema(), telemetry_descriptors=["b"])
        batches = record.RecordBatches(
            RecordBatchesOptions(65_536, num_epochs=1, shuffle=False)
        )
        table = pa.concat_tables([pa.table(_plain(b)) for b in batches])
        names = table["environment"].to_pylist()
        for name in sorted(set(names)):
            mask = pa.array([n == name for n in names])
            world[split, name.decode()] = table.filter(mask)
    return world


def _plain(batch):
    from components.environment_validator import profiles

    columns = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        lengths = pa.compute.fill_null(pa.compute.list_value_length(column), 0)
        columns[name] = profiles._at(column, lengths.to_numpy(), 0)
    return columns


def _schema():
    import tensorflow_data_validation as tfdv

    return tfdv.load_schema_text(os.path.join(os.path.dirname(CONFIG), "schema.pbtxt"))


class Inspector:
    """Findings of a world, without Beam."""

    def __init__(self, options, inspect=None):
        from components.environment_validator import checks

        self.options = options
        self.settings = checks.parse(inspect)

    def findings(self, world, reference=None):
        """(findings, reference) of a world."""
        from components.environment_validator import record, validating

        evidence, columns = self.evidence(world, reference=reference)
        judged = validating.judge(evidence, self.settings, columns)
        return judged, record.reference(evidence)

    def evidence(self, world, schema=None, key=(), reference=None):
        """(evidence, columns) of a world; without a schema, only the columns' types."""
        from tensorflow_metadata.proto.v0 import schema_pb2

        from components.environment_validator import profiles, repeats, validating

        seen = schema_pb2.Schema()
        for name, kind in sorted(planted.shapes(world).items()):
            seen.feature.add(name=name, type=getattr(schema_pb2, kind))
        options = self.options
        features = (*options.features, "planted")
        columns = profiles.Columns(
            schema=seen,
            label=options.label,
            label_columns=options.label_columns,
            environment=options.environment,
            split_by=options.split_by,
            key=key,
            candidates=tuple(f.name for f in seen.feature if f.name in features),
            task=options.task,
            classes=options.classes,
        )
        profiler = profiles.Profiler(columns)
        found, parts = [], []
        for (split, name), table in world.items():
            stamped = table.set_column(
                table.schema.get_field_index("environment"),
                "environment",
                pa.array([name.encode()] * len(table)),
            )
            batch = planted.list_columns(stamped)
            partial, repeated = profiler.take(batch, split)
            found.append(profiler.finish(partial[name], split, name))
            parts.append(repeated)
        if schema is not None:
            columns = dataclasses.replace(columns, schema=schema)
        held_out = {n for s, n in world if s == "ood"}
        counts = {
            "environments": {n: {"held_out": n in held_out} for _, n in world},
            "slices": {},
        }
        evidence = validating.gather(
            found,
            repeats.merge(parts),
            columns,
            counts,
            options.categorical,
            reference,
        )
        return evidence, columns


def is_named(defect, findings, clean, roles=ROLES):
    """The finding that names a defect, or None."""
    for finding in findings:
        if finding.check not in defect.checks:
            continue
        same = [f for f in clean if f.check == finding.check]
        if any(f.feature == finding.feature and f.value == finding.value for f in same):
            continue
        feature = defect.feature(roles)
        if feature and finding.feature != feature:
            continue
        if finding.environments and roles.victim not in finding.environments:
            continue
        if defect.error and finding.level != "error":
            continue
        return finding
    return None


def find_planted(inspector, world, seed):
    """A row a defect."""
    clean, _ = inspector.findings(world)
    rows = []
    for defect in planted.DEFECTS:
        rng = np.random.default_rng(seed)
        findings, _ = inspector.findings(defect.plant(world, ROLES, rng))
        named = is_named(defect, findings, clean)
        others = sum(f.level == "error" for f in findings if f is not named)
        row = {
            "defect": defect.name,
            "found": named is not None,
            "check": named.check if named else None,
            "level": named.level if named else None,
            "other_errors": others,
            "sentence": named.sentence if named else None,
        }
        print(
            f"{'found' if named else 'MISSED':<6} {defect.name:<34}"
            f" {row['check'] or '-':<32} {row['level'] or '-'}"
            f"{f'  ({others} other errors)' if others else ''}",
            flush=True,
        )
        if named is None:
            new = [f for f in findings if f not in clean]
            print("\n".join(f"         {f.check}: {f.sentence}" for f in new[:4]))
        rows.append(row)
    return rows, clean


def false_errors(inspector, world, resamples, seed):
    """How often a resample of the clean data has an error."""
    result = {}
    for kind, key in (("rows", ()), ("days", ROLES.key)):
        wrong, names = 0, {}
        for i in range(resamples):
            rng = np.random.default_rng((seed, i))
            drawn = planted.resampled(world, rng, 40_000, key)
            errors = [f for f in inspector.findings(drawn)[0] if f.level == "error"]
            wrong += bool(errors)
            for f in errors:
                names[f.check] = names.get(f.check, 0) + 1
        result[kind] = _rate(resamples, wrong) | {"checks": names}
        print(f"{kind}: {wrong} of {resamples} resamples with an error", flush=True)
    both = sum(part["with_an_error"] for part in result.values())
    result["both"] = _rate(2 * resamples, both)
    print(
        f"both: at most {100 * result['both']['upper_95']:.2f} % (95 % limit; bar 1 %)"
    )
    return result


def _rate(resamples, wrong):
    upper = stats.beta.ppf(0.95, wrong + 1, resamples - wrong)
    return {
        "resamples": resamples,
        "with_an_error": wrong,
        "upper_95": round(float(upper), 5),
    }


_COST = """
import json, sys
which, folder, copies = sys.argv[1], sys.argv[2], int(sys.argv[3])
sys.path.insert(0, {root!r})
from benchmarks import environments
print(json.dumps(environments.run_stage(which, folder, copies)))
"""


def run_stage(which, folder, copies):
    """Seconds and peak memory of a stage's Beam part on the examples, so many times."""
    import tensorflow_data_validation as tfdv
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.pipeline import Pipeline
    from tfx_bsl.public.tfxio import TFExampleRecord

    from components.environment_validator import checks, profiles, profiling
    from components.environment_validator.executor import Options
    from pipeline.runtime import LOCAL_BEAM_RUNNER

    files = {split: [many(folder, split, copies)] for split in patterns(folder)}
    options = PipelineOptions([f"--runner={LOCAL_BEAM_RUNNER}"])
    with open(f"{folder}/options.json") as file:
        given, inspect = json.load(file)
    roles = Options.from_json(given)
    began, used = time.perf_counter(), time.process_time()
    with Pipeline(options=options) as pipeline:
        if which == "statistics":
            for split, names in files.items():
                record = TFExampleRecord(names, telemetry_descriptors=["b"])
                _ = (
                    pipeline
                    | f"Read[{split}]" >> record.BeamSource()
                    | f"Generate[{split}]" >> tfdv.GenerateStatistics()
                    | f"Write[{split}]"
                    >> tfdv.WriteStatisticsToBinaryFile(f"{folder}/{split}.pb")
                )
        else:
            columns = profiles.Columns(
                schema=_schema(),
                label=roles.label,
                label_columns=roles.label_columns,
                environment=roles.environment,
                split_by=roles.split_by,
                key=checks.parse(json.loads(inspect)).key,
                candidates=roles.features,
            )
            _ = pipeline | profiling.ProfileSplits(columns, files, f"{folder}/p.pkl")
    if which == "environments":
        _judge(folder, columns, roles, inspect)
    return {
        "seconds": round(time.perf_counter() - began, 2),
        "cpu_seconds": round(time.process_time() - used, 2),
        "peak_mib": peak_mib(),
    }


def many(folder, split, copies):
    """A pattern of so many copies of a split's files, as a stage gets its split."""
    place = f"{folder}/x{copies}/Split-{split}"
    if not os.path.isdir(place):
        os.makedirs(place)
        for path in patterns(folder)[split]:
            for i in range(copies):
                os.link(path, f"{place}/{i}-{os.path.basename(path)}")
    return f"{place}/*"


def peak_mib():
    """The most that this process ever held."""
    with open("/proc/self/status") as file:
        (line,) = [line for line in file if line.startswith("VmHWM")]
    return int(line.split()[1]) // 1024


def _judge(folder, columns, roles, inspect):
    import pickle

    from components.environment_validator import checks, page, record, validating

    with open(f"{folder}/p.pkl", "rb") as file:
        found, repeated = pickle.load(file)
    evidence = validating.gather(found, repeated, columns, {}, roles.categorical)
    settings = checks.parse(json.loads(inspect))
    kept = record.record(
        evidence, settings, validating.judge(evidence, settings, columns)
    )
    page.page(kept, "flights")


def cost(folder, times):
    """Both stages in turn, each in its own process; memory at four times the rows."""
    result = {"statistics": [], "environments": []}
    for _ in range(times):
        for which in result:
            result[which].append(_process(which, folder, 1))
    best = {w: min(r["cpu_seconds"] for r in runs) for w, runs in result.items()}
    larger = _process("environments", folder, 4)
    ratio = round(best["environments"] / best["statistics"], 3)
    print(f"CPU seconds {best}, ratio {ratio} (bar: 1)")
    small = result["environments"][0]["peak_mib"]
    print(f"peak MiB {small}, at four times the rows {larger['peak_mib']}")
    return {**result, "cpu_ratio": ratio, "four_times_the_rows": larger}


def _process(which, folder, copies):
    code = _COST.format(root=os.path.dirname(HERE))
    done = subprocess.run(
        [sys.executable, "-c", code, which, folder, str(copies)],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def main():
    """Runs all parts and prints their tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--resamples", type=int, default=160)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--quick", action="store_true", help="defects alone")
    parser.add_argument("--rows", type=int, help="sample so many rows; default: all")
    options = parser.parse_args()
    began = time.time()
    from components.environment_validator.executor import Options

    with tempfile.TemporaryDirectory() as folder:
        _, given, inspect = ingest(folder)
        with open(f"{folder}/options.json", "w") as file:
            json.dump([given, inspect], file)
        world = read_world(folder)
        if options.rows:
            world = planted.sampled(world, options.rows, options.seed)
        inspector = Inspector(Options.from_json(given), json.loads(inspect))
        rows, clean = find_planted(inspector, world, options.seed)
        result = {
            "command": f"python benchmarks/environments.py --resamples"
            f" {options.resamples} --seed {options.seed}",
            "date": datetime.date.today().isoformat(),
            "python": platform.python_version(),
            "rows": {f"{e} ({s})": len(t) for (s, e), t in world.items()},
            "planted": rows,
            "clean": [
                {"check": f.check, "level": f.level, "feature": f.feature}
                for f in clean
            ],
        }
        found = sum(row["found"] for row in rows)
        print(f"{found} of {len(rows)} defects found and named")
        if not options.quick:
            result["false_errors"] = false_errors(
                inspector, world, options.resamples, options.seed
            )
            result["cost"] = cost(folder, 3)
    result["seconds"] = round(time.time() - began)
    if options.json:
        with open(options.json, "w") as file:
            json.dump(result, file, indent=1)


if __name__ == "__main__":
    main()
