"""Times the whole pipeline beside the same one of stock TFX components.

    python benchmarks/pipeline.py [--rows N] [--runs N] [--json FILE]

Same rows in one format (CSV), same transform graph, network, steps, slices and metrics,
full statistics. Both run as commands of their own, by turns; wall clock, imports
included. The stock one gets its rows already split, labelled and stamped. Also times
ingestion alone: the stages that turn sources into Examples.

Bars: pipeline at most 0.65 of stock's time, ingestion at least 10 times as fast.
"""

import argparse
import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from components.multi_env_example_gen import splitting

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
FLIGHTS = REPOSITORY / "examples" / "flights"
HELD_OUT = "LGA"
CONFIG = """
name: benchmark
root: {root}
data:
  schema: {schema}
  label: {{name: late, from: arr_delay, above: 15}}
  exclude: [dep_time, dep_delay, arr_time, air_time, year, day, time_hour, origin,
            tailnum, flight]
  environments:
    EWR: {{csv: {data}/EWR.csv}}
    JFK: {{csv: {data}/JFK.csv}}
    LGA: {{csv: {data}/LGA.csv, held_out: true}}
  split: {{eval: 0.2, by: [month, day]}}
  features:
    numeric: [distance, temp, dewp, humid, wind_speed, wind_gust, precip, pressure,
              visib, plane_year, seats]
    categorical: [carrier, dest, month, manufacturer, engines]
    bucketized: {{sched_dep_time: 24, sched_arr_time: 24, wind_dir: 8}}
train: {{method: erm, steps: 2000, batch_size: 1024, model: {{hidden: [128, 64]}}}}
evaluate: {{slices: [carrier, [environment, carrier]]}}
checks: {{worst: {{auc: {{min: 0.5, over: environment}}}}}}
verdict: {{min_examples: 1}}
push: {{path: {root}/serving}}
"""


def read_flights():
    """Environment -> its rows, from the three formats of the example."""
    import tensorflow as tf
    from tfx_bsl.coders import example_coder

    frames = {"EWR": pq.read_table(FLIGHTS / "data" / "EWR.parquet").to_pandas()}
    paths = sorted((FLIGHTS / "data").glob("jfk-*.csv.gz"))
    frames["JFK"] = pd.concat([pd.read_csv(path) for path in paths], ignore_index=True)
    decoder = example_coder.ExamplesToRecordBatchDecoder()
    tables = []
    for path in sorted((FLIGHTS / "data").glob("lga-*")):
        records = tf.data.TFRecordDataset(str(path), "GZIP").batch(200_000)
        for records_batch in records.as_numpy_iterator():
            tables.append(
                pa.Table.from_batches([decoder.DecodeBatch(records_batch.tolist())])
            )
    frame = pa.concat_tables(tables, promote=True).to_pandas()
    frame = frame.apply(lambda column: column.map(_only))
    frames["LGA"] = frame.convert_dtypes()[frames["EWR"].columns]
    return frames


def _only(value):
    if value is None or not len(value):
        return None
    return value[0].decode() if isinstance(value[0], bytes) else value[0]


def write_data(folder, frames, rows):
    """CSV of each environment for ours; of each split, labelled, for stock."""
    total = sum(len(frame) for frame in frames.values())
    (folder / "ours").mkdir(parents=True)
    for split in splitting.SPLITS:
        (folder / "stock" / split).mkdir(parents=True)
    counts = dict.fromkeys(splitting.SPLITS, 0)
    for name, frame in frames.items():
        share = max(1, round(len(frame) * rows / total))
        repeats = -(-share // len(frame))
        step = max(1, len(frame) * repeats // share)
        frame = pd.concat([frame] * repeats, ignore_index=True)[::step][:share]
        integers = [c for c in frame if c not in FLOATS and frame[c].dtype != object]
        kinds = {c: "Int64" for c in integers if c not in TEXTS}
        frame = frame.astype(kinds | dict.fromkeys(FLOATS, "float64"))
        frame.to_csv(folder / "ours" / f"{name}.csv", index=False)
        known = frame[frame.arr_delay.notna()].assign(
            late=lambda f: (f.arr_delay > 15).astype(int), environment=name
        )
        keys = [pa.array(known[column]) for column in ("month", "day")]
        on_eval = splitting.on_eval_side(splitting.key_hashes(keys), 0.2)
        if name == HELD_OUT:
            parts = {"ood": known[on_eval]}
        else:
            parts = {"train": known[~on_eval], "eval": known[on_eval]}
        for split, part in parts.items():
            part.to_csv(folder / "stock" / split / f"{name}.csv", index=False)
            counts[split] += len(part)
    return counts


FLOATS = {"temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust"} | {
    "precip",
    "pressure",
    "visib",
}
TEXTS = {"carrier", "tailnum", "origin", "dest", "time_hour", "manufacturer"}


def timed(command, log):
    """Wall seconds of a command; fails loudly."""
    began = time.monotonic()
    with open(log, "a") as file:
        done = subprocess.run(
            command,
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        )
    if done.returncode not in (0, 3):
        tail = pathlib.Path(log).read_text()[-2000:]
        sys.exit(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{tail}")
    return time.monotonic() - began


def run_ours(folder, number):
    """One run of `tfx-irm run`: seconds in all and by stage."""
    root = folder / f"ours-{number}"
    config = folder / f"ours-{number}.yaml"
    config.write_text(
        CONFIG.format(root=root, data=folder / "ours", schema=FLIGHTS / "schema.pbtxt")
    )
    command = [sys.executable, "-m", "pipeline.cli", "run", str(config)]
    seconds = timed(command, folder / "ours.log")
    (run,) = (root / "runs").iterdir()
    summary = json.loads((run / "summary.json").read_text())
    stages = {stage["name"]: stage["seconds"] for stage in summary["stages"]}
    metrics = summary["metrics"]["eval"]["overall"]
    return seconds, stages, metrics["auc"]


def run_stock(folder, number, settings):
    """One run of the stock pipeline: seconds in all and by stage."""
    root = folder / f"stock-{number}"
    log = folder / f"stock-{number}.log"
    command = [sys.executable, "-m", "benchmarks.stock_pipeline"]
    told = {
        "--data": folder / "stock",
        "--root": root,
        "--schema": FLIGHTS / "schema.pbtxt",
        "--settings": settings,
    }
    for key, value in told.items():
        command += [key, str(value)]
    seconds = timed(command, log)
    return seconds, stock_stages(log.read_text())


def stock_stages(text):
    """Seconds between the runner's own lines `Component X is running/finished`."""
    stages = {}
    for kind in ("running", "finished"):
        pattern = rf"I(\d{{4}}) (\S+) .*Component (\S+) is {kind}\."
        for day, clock, name in re.findall(pattern, text):
            at = datetime.datetime.strptime(f"{day} {clock}", "%m%d %H:%M:%S.%f")
            stages.setdefault(name, []).append(at)
    return {
        name: (times[1] - times[0]).total_seconds()
        for name, times in stages.items()
        if len(times) == 2
    }


def main():
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=336_776, help="rows in all")
    parser.add_argument("--runs", type=int, default=1, help="runs of each, by turns")
    parser.add_argument("--json", help="also write the figures to this file")
    options = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="benchmark-pipeline-"))
    try:
        result = measure(folder, options)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(result, indent=1) + "\n")


def measure(folder, options):
    """Runs both by turns; prints the table; returns the figures."""
    counts = write_data(folder, read_flights(), options.rows)
    print(f"rows: {options.rows:,} ({counts})", flush=True)
    settings = folder / "settings.json"
    write_settings(folder, settings)
    ours, stock = [], []
    for number in range(options.runs):
        ours.append(run_ours(folder, number))
        print(f"ours   {ours[-1][0]:7.1f} s   eval AUC {ours[-1][2]:.4f}", flush=True)
        stock.append(run_stock(folder, number, settings))
        print(f"stock  {stock[-1][0]:7.1f} s", flush=True)
    ratio = statistics.median(o[0] / s[0] for o, s in zip(ours, stock, strict=True))
    ingest = statistics.median(
        s[1]["CsvExampleGen"] / (o[1]["SourceManifest"] + o[1]["MultiEnvExampleGen"])
        for o, s in zip(ours, stock, strict=True)
    )
    print("\nseconds a stage (last run)")
    for title, stages in (("ours", ours[-1][1]), ("stock", stock[-1][1])):
        for name, seconds in stages.items():
            print(f"  {title:<6} {name:<30} {seconds:7.1f}")
    print(f"\npipeline: {ratio:.2f} of stock's time (bar 0.65)")
    print(f"ingestion: {ingest:.1f} times as fast as CsvExampleGen (bar 10)")
    return {
        "rows": options.rows,
        "splits": counts,
        "ratio": ratio,
        "ingestion_speedup": ingest,
        "ours": [{"seconds": s, "stages": t, "eval_auc": a} for s, t, a in ours],
        "stock": [{"seconds": s, "stages": t} for s, t in stock],
        "date": datetime.date.today().isoformat(),
        "command": "python " + " ".join(sys.argv),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "versions": {
            "python": platform.python_version(),
            **{n: importlib.metadata.version(n) for n in ("tfx", "tensorflow")},
        },
    }


def write_settings(folder, path):
    """What the stock pipeline is told: our own custom_config and slices."""
    config_path = folder / "settings.yaml"
    config_path.write_text(
        CONFIG.format(
            root=folder / "none", data=folder / "ours", schema=FLIGHTS / "schema.pbtxt"
        )
    )
    script = (
        "import json, sys\n"
        "from pipeline.config_io import load_config\n"
        "from pipeline.eval_config import slices\n"
        "from pipeline.stages import custom_config\n"
        "config = load_config(sys.argv[1])\n"
        "told = {'custom_config': custom_config(config), 'slices': slices(config)}\n"
        "open(sys.argv[2], 'w').write(json.dumps(told))\n"
    )
    command = [sys.executable, "-c", script, str(config_path), str(path)]
    timed(command, folder / "settings.log")


if __name__ == "__main__":
    main()
