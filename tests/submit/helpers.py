"""A config for both services, the command run on it, and what a run leaves."""

import contextlib
import json
import os
import pathlib

from pipeline import cli
from tests.submit import stubs

BUCKET = "gs://a-bucket"
CONFIG = f"""\
name: flights
data:
  label: {{name: late, from: arr_delay, above: 15}}
  environments:
    EWR: {{parquet: "{BUCKET}/data/ewr.parquet"}}
    JFK: {{csv: "{BUCKET}/data/jfk-*.csv.gz"}}
    LGA: {{tfrecord: "{BUCKET}/data/lga.tfrecord", held_out: true}}
train:
  method: v_rex
  methods: {{irm_v1: {{penalty: {{weight: 1000}}}}}}
  steps: 20
checks:
  worst: {{auc: {{min: 0.65}}}}
vertex:
  project: a-project
  region: europe-west4
  root: {BUCKET}/root
  image: registry.example.com/tfx-irm:1
  service_account: trainer@a-project.iam.gserviceaccount.com
  network: projects/123456/global/networks/private
  labels: {{team: cardiology}}
kubeflow:
  host: https://kubeflow.example.com/pipeline
  namespace: team-a
  service_account: pipeline-runner
  root: {BUCKET}/root
  image: registry.example.com/tfx-irm:1
  token: {{env: THE_TOKEN}}
"""
DATA = ("ewr.parquet", "jfk-1.csv.gz", "jfk-2.csv.gz", "lga.tfrecord")
STAGES = ("SourceManifest", "MultiEnvExampleGen", "Trainer", "RunRecord")
# What RunRecord leaves; `tests/e2e` runs the real one.
RECORD = {
    "verdict": "PASS",
    "pushed": f"{BUCKET}/root/serving/1767225600",
    "not_pushed": None,
    "override": None,
    "model_digest": "0" * 32,
    "error": None,
    "checks": [],
    "load_check": None,
    "metrics": {"eval": {"overall": {"auc": 0.75}}},
    "undefined": [],
    "environments": {"EWR": {"train": 10, "eval": 5}},
    "findings": [],
    "bad_rows": {},
    "inference": None,
    "notes": [],
    "versions": {"tfx": "1.16.0"},
    "method": "v_rex",
}


class Project:
    """A folder with a config, the command run on it, and what it left."""

    def __init__(self, folder, capfd):
        self.folder, self.capfd = folder, capfd
        self.config = folder / "config.yaml"
        self.config.write_text(CONFIG)

    def replace(self, old, new):
        text = self.config.read_text()
        assert text.count(old) == 1, f"{old!r} is there {text.count(old)} times"
        self.config.write_text(text.replace(old, new))

    def submit(self, *arguments):
        """Exit code, standard output, standard error."""
        # As in a process of its own: pytest's streams are not those of descriptors.
        with (
            open(1, "w", closefd=False) as out,
            open(2, "w", closefd=False) as err,
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = cli.main(["submit", str(self.config), *arguments])
        return code, *self.capfd.readouterr()

    @property
    def runs(self):
        return sorted((self.folder / "runs-root" / "runs").iterdir())

    @property
    def summary(self):
        return json.loads((self.runs[-1] / "summary.json").read_text())


class Leaves:
    """What a run leaves under its root, in the layout of a service.

    Attributes:
      layout: the folder of a stage's outputs, with the stage's name in it.
      files: name -> text, of RunRecord's output; None where it did not come so far.
      error: content of `error.json`, or None.
      root: what it was called with.
    """

    def __init__(self, layout):
        self.layout = layout
        self.files = {
            "report.html": "<p>report</p>",
            "environments.html": "<p>page</p>",
        }
        self.files["summary.json"] = json.dumps(RECORD)
        self.error = None
        self.root = None

    def __call__(self, root):
        self.root = root
        if self.files is not None:
            folder = self._folder("RunRecord") / "record"
            folder.mkdir(parents=True)
            for name, text in self.files.items():
                (folder / name).write_text(text)
        if self.error is not None:
            path = self._folder("Trainer") / "model"
            path = path.parent.parent / "error.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.error)

    def _folder(self, stage):
        root = self.root
        if root.startswith("gs://"):
            root = os.path.join(stubs.Bucket.folder, root.removeprefix("gs://"))
        return pathlib.Path(root) / self.layout.format(stage)


VERTEX_LAYOUT = "123456/a-job/{}_-2947392"
KUBEFLOW_LAYOUTS = ("flights/5c2b/{}", "flights/5c2b/{}/8d1e")
