"""The whole way with `push.path` on a store: TensorFlow's filesystem in memory.

It ends with its process, so all commands run in one.
"""

import json
import subprocess
import sys
import textwrap

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tests.e2e.helpers import CONFIG, FLIGHTS, KEEP, write_sample

pytestmark = pytest.mark.e2e

SCRIPT = """
import json, sys
import tensorflow as tf
from components.pusher import versions
from pipeline import cli

config, label = sys.argv[1:]
store = "ram://bucket/serving"
found = []
for command in (
    ["run"],
    ["run"],
    ["run", "--set", "train.seed=7", "--set", "checks.baseline.auc.max_drop=0.5"],
    ["monitor", "--environment", "EWR", "--data", label, "--rollback"],
    ["prune", "--keep", "1"],
    ["rollback"],
    ["run"],
):
    name, *arguments = command
    status = cli.main([name, config, "--set", f"push.path={store}", *arguments])
    served = [[v.number, v.told] for v in versions.versions(store)]
    found.append([name, status, served])
names = [n for _, _, names in tf.io.gfile.walk(f"{store}/monitor") for n in names]
print(json.dumps({"found": found, "monitor": sorted(names)}))
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What is served after each command, and what the monitor keeps."""
    folder = tmp_path_factory.mktemp("store")
    write_sample(folder / "data")
    (folder / "config.yaml").write_text(textwrap.dedent(CONFIG))
    ewr = pq.read_table(FLIGHTS / "data" / "EWR.parquet").select(KEEP)
    ewr = ewr.filter(pc.is_valid(ewr["arr_delay"]))
    on_time = pc.less_equal(ewr["arr_delay"], 15)
    wrong = pc.if_else(on_time, pa.scalar(99), pa.scalar(0))
    at = ewr.schema.get_field_index("arr_delay")
    label = folder / "wrong.parquet"
    pq.write_table(ewr.set_column(at, "arr_delay", wrong), label)
    command = [sys.executable, "-c", SCRIPT, str(folder / "config.yaml"), str(label)]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=FLIGHTS.parents[1], timeout=900
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stdout


def test_a_model_goes_there_once_and_comes_back(told):
    found, said = told[0]["found"], told[1]
    statuses = [(name, status) for name, status, _ in found]
    assert statuses == [
        *(("run", 0), ("run", 0), ("run", 0), ("monitor", 3)),
        *(("prune", 0), ("rollback", 2), ("run", 0)),
    ], said
    first, again, second, back, *after = (served for _, _, served in found)
    assert len(first) == 1 and again == first  # the same digest is not pushed twice
    assert len(second) == 2 and second[1][1] != first[0][1]
    assert len(back) == 3 and back[2][1] == first[0][1]
    assert after == [back] * 3  # nothing to go back to, and a rerun finds it served
    assert "pushed   ram://bucket/serving/" in said
    assert f"replaced ram://bucket/serving/{second[1][0]}" in said


def test_the_monitor_keeps_its_looks_there(told):
    assert told[0]["monitor"] == ["look-00001.json", "state.json"]
