"""A project with a sample of the real flights, and the command run on it."""

import dataclasses
import json
import pathlib
import subprocess
import sys

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import tensorflow as tf

FLIGHTS = pathlib.Path(__file__).parents[2] / "examples" / "flights"
KEEP = [
    *("month", "day", "carrier", "dest", "distance", "sched_dep_time", "arr_delay"),
    *("dep_delay", "temp", "wind_gust", "visib", "precip", "plane_year"),
]
CONFIG = """
    name: flights-sample
    data:
      label: {name: late, from: arr_delay, above: 15}
      exclude: [dep_delay]
      environments:
        EWR: {parquet: data/EWR.parquet}
        JFK: {csv: data/jfk-*.csv.gz}
        LGA: {tfrecord: data/lga.tfrecord.gz, held_out: true}
      split: {eval: 0.3, by: [month, day]}
      features:
        numeric: [distance, temp, wind_gust, visib, precip, plane_year]
        categorical: [carrier, dest]
        bucketized: {sched_dep_time: 10}
    train:
      method: v_rex
      penalty: {weight: 10, anneal_steps: 50}
      steps: 200
      batch_size: 512
      model: {hidden: [32]}
    evaluate:
      slices: [carrier, [environment, carrier]]
    checks:
      worst: {auc: {min: 0.5, over: environment}}
      robustness: {log_loss: {max: 3, epsilon: 0.1, over: environment}}
      gap: {auc: {max: 0.4, over: environment}}
      calibration_slope: {min: 0.05, max: 20, over: environment}
      baseline: {auc: {max_drop: 0.05}}
    verdict: {min_examples: 100}
"""


@dataclasses.dataclass(frozen=True)
class Run:
    """What one command left behind."""

    exit_code: int
    stdout: str
    stderr: str
    summary: dict
    folder: pathlib.Path


@dataclasses.dataclass(frozen=True)
class Project:
    """A folder with a config and a sample of the flights in three formats."""

    folder: pathlib.Path

    @property
    def config(self):
        """Path of the config."""
        return self.folder / "config.yaml"

    def command(self, name, *arguments):
        """Runs a command as a user would, in a process of its own."""
        command = [sys.executable, "-m", "pipeline.cli", name, str(self.config)]
        return subprocess.run(
            [*command, *arguments],
            capture_output=True,
            text=True,
            cwd=FLIGHTS.parents[1],
            timeout=900,
        )

    def run(self, *arguments):
        """Runs `tfx-irm run`, and reads what it left."""
        done = self.command("run", *arguments)
        runs = sorted((self.folder / "runs-root" / "runs").iterdir())
        text = (runs[-1] / "summary.json").read_text()
        assert done.returncode in (0, 2, 3), done.stderr + done.stdout
        summary = json.loads(text)
        return Run(done.returncode, done.stdout, done.stderr, summary, runs[-1])


def write_sample(folder):
    """A few thousand real flights of every airport, each in the demo's own format."""
    folder.mkdir(parents=True)
    ewr = pq.read_table(FLIGHTS / "data" / "EWR.parquet")
    pq.write_table(_sample(ewr), folder / "EWR.parquet")
    paths = sorted((FLIGHTS / "data").glob("jfk-*.csv.gz"))
    jfk = _sample(pa.concat_tables([pa_csv.read_csv(path) for path in paths]))
    for name, part in (("a", jfk.slice(0, 2000)), ("b", jfk.slice(2000))):
        path = str(folder / f"jfk-{name}.csv.gz")
        with pa.CompressedOutputStream(path, "gzip") as out:
            pa_csv.write_csv(part, out)
    with tf.io.TFRecordWriter(str(folder / "lga.tfrecord.gz"), "GZIP") as writer:
        for path in sorted((FLIGHTS / "data").glob("lga-*")):
            records = tf.data.TFRecordDataset(str(path), "GZIP").shard(12, 0)
            for record in records.as_numpy_iterator():
                writer.write(_only(record))


def _sample(table):
    rows = pa.array(range(0, table.num_rows, 12))
    table = table.take(rows).select(KEEP)
    return table.filter(pc.is_valid(table["distance"]))


def _only(record):
    example = tf.train.Example.FromString(record)
    for name in set(example.features.feature) - set(KEEP):
        del example.features.feature[name]
    return example.SerializeToString()
