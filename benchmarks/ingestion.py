"""Times MultiEnvExampleGen beside TFX's own components on the same files.

    python benchmarks/ingestion.py [--rows N] [--formats csv,parquet,tfrecord]
                                   [--workers 1,2] [--no-stock] [--json FILE]

The demo's flights from EWR and JFK with all their columns are repeated to N rows and
written as one CSV, one Parquet file (row groups of 100,000) and one gzipped TFRecord.
Each component then runs by itself in a process of its own, on Beam's direct runner: the
seconds are those of its executor's `Do`, without imports and start-up, and the memory
is the most that the process held, from which what it held before `Do` is told apart.
Workers are threads of one process: two of ours write other files of the same Examples.
Stock components split 4 to 1 by their hash of the example; ours splits by whole days,
makes the label, stamps the environment and counts, which they cannot.

Bars: 20 times the rows a second of CsvExampleGen, 20 times those of the Parquet
executor, no slower than ImportExampleGen; two workers 1.6 times one.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import resource
import subprocess
import sys
import tempfile
import time

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from pipeline.runtime import LOCAL_BEAM_RUNNER  # noqa: E402

FORMATS = ("csv", "parquet", "tfrecord")
STOCK = {"csv": "CsvExampleGen", "parquet": "Parquet executor"}
STOCK["tfrecord"] = "ImportExampleGen"
BARS = {"csv": 20.0, "parquet": 20.0, "tfrecord": 1.0}
FILES = {"csv": "flights.csv", "parquet": "flights.parquet"}
FILES["tfrecord"] = "flights.tfrecord.gz"


def flights():
    """Two of the demo's airports as one table."""
    import pyarrow as pa
    import pyarrow.csv as pa_csv
    import pyarrow.parquet as pa_parquet

    data = REPOSITORY / "examples" / "flights" / "data"
    parts = [pa_parquet.read_table(data / "EWR.parquet")]
    for path in sorted(data.glob("jfk-*.csv.gz")):
        table = pa_csv.read_csv(path).select(parts[0].schema.names)
        parts.append(table.cast(parts[0].schema, safe=False))
    return pa.concat_tables(parts).combine_chunks()


def make_files(folder, rows, formats):
    """Writes the rows in each format, a repetition at a time."""
    import pyarrow as pa
    import pyarrow.csv as pa_csv
    import pyarrow.parquet as pa_parquet
    import tensorflow as tf

    from components.multi_env_example_gen import encoding
    from components.multi_env_example_gen.columns import column_of, to_feature

    table = flights()
    columns = {f.name: column_of(f.type, f.name, "") for f in table.schema}
    paths = {name: str(folder / FILES[name]) for name in formats}
    writers = {}
    if "csv" in paths:
        writers["csv"] = pa_csv.CSVWriter(paths["csv"], table.schema)
    if "parquet" in paths:
        writers["parquet"] = pa_parquet.ParquetWriter(paths["parquet"], table.schema)
    if "tfrecord" in paths:
        options = tf.io.TFRecordOptions("GZIP", compression_level=1)
        writers["tfrecord"] = tf.io.TFRecordWriter(paths["tfrecord"], options)
    left = rows
    while left:
        part = table.slice(0, min(left, len(table)))
        left -= len(part)
        if "csv" in writers:
            writers["csv"].write_table(part)
        if "parquet" in writers:
            writers["parquet"].write_table(part, row_group_size=100_000)
        if "tfrecord" in writers:
            for batch in part.to_batches(max_chunksize=1 << 15):
                features = [
                    to_feature(column, columns[name])
                    for name, column in zip(
                        part.schema.names, batch.columns, strict=True
                    )
                ]
                made = pa.RecordBatch.from_arrays(features, part.schema.names)
                for example in encoding.encode(made).to_pylist():
                    writers["tfrecord"].write(example)
    for writer in writers.values():
        writer.close()
    return paths


def ours(path, file_format, workers, folder):
    """A function that runs our executor, and where its Examples go."""
    from tfx.types import standard_artifacts

    from components.artifacts import SourceManifest
    from components.multi_env_example_gen import executor
    from components.source_manifest import listing
    from components.source_manifest.executor import MANIFEST_FILE

    source = {"environment": "all", "format": file_format, "patterns": [path]}
    files = listing.build_manifest([{**source, "held_out": False}])
    manifest = SourceManifest()
    manifest.uri = folder
    (pathlib.Path(folder) / MANIFEST_FILE).write_text(listing.to_json(files))
    examples = standard_artifacts.Examples()
    examples.uri = f"{folder}/examples"
    label = {"name": "late", "from": "arr_delay", "above": 15}
    spec = {"label": label, "eval_fraction": 0.2, "split_by": ["month", "day"]}
    spec = json.dumps(spec | {"slices": [["carrier"]]})
    return lambda: executor.Executor(context(executor.Executor, workers)).Do(
        {"manifest": [manifest]}, {"examples": [examples]}, {"spec": spec}
    )


def stock(path, file_format, workers, folder):
    """A function that runs the stock executor."""
    from tfx.components.example_gen.csv_example_gen import executor as csv_executor
    from tfx.components.example_gen.custom_executors import parquet_executor
    from tfx.components.example_gen.import_example_gen import executor as importer
    from tfx.proto import example_gen_pb2
    from tfx.types import standard_artifacts
    from tfx.utils import proto_utils

    kind = {"csv": csv_executor, "parquet": parquet_executor, "tfrecord": importer}
    made = kind[file_format].Executor
    examples = standard_artifacts.Examples()
    examples.uri = f"{folder}/examples"
    split = example_gen_pb2.Input.Split(name="all", pattern=pathlib.Path(path).name)
    config = example_gen_pb2.SplitConfig
    buckets = [
        config.Split(name="train", hash_buckets=4),
        config.Split(name="eval", hash_buckets=1),
    ]
    output = example_gen_pb2.Output(split_config=config(splits=buckets))
    properties = {
        "input_base": str(pathlib.Path(path).parent),
        "input_config": proto_utils.proto_to_json(
            example_gen_pb2.Input(splits=[split])
        ),
        "output_config": proto_utils.proto_to_json(output),
        "output_data_format": example_gen_pb2.FORMAT_TF_EXAMPLE,
        "output_file_format": example_gen_pb2.FORMAT_TFRECORDS_GZIP,
    }
    return lambda: made(context(made, workers)).Do(
        {}, {"examples": [examples]}, properties
    )


def context(executor, workers):
    """What an executor is made with: Beam's direct runner with so many threads."""
    arguments = [f"--runner={LOCAL_BEAM_RUNNER}", f"--direct_num_workers={workers}"]
    if workers > 1:
        arguments.append("--direct_running_mode=multi_threading")
    return executor.Context(
        beam_pipeline_args=arguments, tmp_dir=tempfile.mkdtemp(), unique_id="1"
    )


def memory():
    """MiB that this process and its children held at most."""
    whom = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(one).ru_maxrss for one in whom) / 1024


def run_one(asked):
    """Runs one component; prints its seconds, memory and bytes written."""
    with tempfile.TemporaryDirectory(prefix="benchmark-ingestion-") as folder:
        make = ours if asked["who"] == "ours" else stock
        do = make(asked["path"], asked["format"], asked["workers"], folder)
        before, began = memory(), time.perf_counter()
        do()
        seconds = time.perf_counter() - began
        files = pathlib.Path(folder, "examples").rglob("*.gz")
        size = sum(path.stat().st_size for path in files)
    figures = {"seconds": seconds, "before_mib": before, "peak_mib": memory()}
    print("\n" + json.dumps(figures | {"written": size}))


def measure(**asked):
    """Runs one component in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--one", json.dumps(asked)],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        sys.exit(f"{asked}: {done.stderr[-3000:]}")
    figures = json.loads(done.stdout.splitlines()[-1])
    return {key: asked[key] for key in ("who", "format", "workers")} | {
        key: round(value, 2) for key, value in figures.items()
    }


def main():
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=3_000_000)
    parser.add_argument("--formats", default=",".join(FORMATS))
    parser.add_argument("--workers", default="1,2", help="of ours, at most 9 each")
    parser.add_argument("--no-stock", action="store_true", help="only ours")
    parser.add_argument("--json", type=pathlib.Path, help="write the figures here")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        run_one(json.loads(options.one))
        return
    formats = options.formats.split(",")
    if unknown := set(formats) - set(FORMATS):
        parser.error(f"unknown: {', '.join(unknown)}; expected of {', '.join(FORMATS)}")
    runs = []
    with tempfile.TemporaryDirectory(prefix="benchmark-ingestion-") as folder:
        paths = make_files(pathlib.Path(folder), options.rows, formats)
        print("component                        workers   seconds    rows/s   peak MiB")
        for name in formats:
            wanted = [("ours", int(count)) for count in options.workers.split(",")]
            if not options.no_stock:
                wanted.append(("stock", 1))
            for who, workers in wanted:
                run = measure(who=who, format=name, workers=workers, path=paths[name])
                runs.append(run)
                label = f"MultiEnvExampleGen, {name}" if who == "ours" else STOCK[name]
                seconds, peak = run["seconds"], run["peak_mib"]
                print(
                    f"{label:<32} {workers:>7} {seconds:>9.1f}"
                    f" {options.rows / seconds:>9,.0f} {peak:>10,.0f}",
                    flush=True,
                )
    for line in judge(runs, formats):
        print(line)
    if options.json:
        document = {
            "command": f"python benchmarks/ingestion.py --rows {options.rows}"
            f" --formats {options.formats} --workers {options.workers}"
            f"{' --no-stock' * options.no_stock}",
            "date": datetime.date.today().isoformat(),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "python": platform.python_version(),
            "rows": options.rows,
            "runs": runs,
        }
        options.json.write_text(json.dumps(document, indent=1) + "\n")


def judge(runs, formats):
    """A line for each bar that can be told."""
    seconds = {(r["who"], r["format"], r["workers"]): r["seconds"] for r in runs}
    for name in formats:
        one = seconds.get(("ours", name, 1))
        if one and (theirs := seconds.get(("stock", name, 1))):
            met = "met" if theirs / one >= BARS[name] else "NOT MET"
            yield (
                f"{name}: {theirs / one:.1f} times {STOCK[name]}"
                f" (bar {BARS[name]:g}: {met})"
            )
        if one and (two := seconds.get(("ours", name, 2))):
            yield f"{name}: two threads {one / two:.2f} times one (bar 1.6)"


if __name__ == "__main__":
    main()
