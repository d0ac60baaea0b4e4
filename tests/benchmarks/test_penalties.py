"""The benchmark of the penalties at tiny sizes: a broken case fails here, not there."""

import json
import sys

import numpy as np
import pytest
import tensorflow as tf

from benchmarks import irm_loop
from benchmarks import penalties as benchmark
from trainer_module import objectives, penalties
from trainer_module.methods import METHODS

TINY = benchmark.Sizes(rows=64, features=6, hidden=(8, 5))
CASES = [case for case in benchmark.CASES if case.options.get("in") != "PyTorch"]


@pytest.fixture
def eager():
    tf.config.run_functions_eagerly(True)  # to trace each case would take a minute
    yield
    tf.config.run_functions_eagerly(False)


def test_every_method_has_a_case():
    assert {case.method for case in benchmark.CASES} == {*METHODS, "irm_loop"}


def test_labels_tell_the_cases_apart():
    labels = [case.label for case in benchmark.CASES]
    assert len(labels) == len(set(labels))


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
def test_a_case_takes_steps(case):
    for environments in (2, 5):
        _, step = benchmark.make_steps(case, None, TINY, environments, xla=False)
        assert np.isfinite(step())


def test_the_loop_is_what_the_penalty_is():
    features, labels, ids = benchmark.draw(TINY, 5)
    batch = penalties.EnvironmentBatch(features[:, :1], labels, ids, 5)
    environments = penalties.group_by_environment(batch)
    risks = environments.mean(penalties.per_example_loss(batch))
    expected = environments.average(risks) + penalties.irm_v1(batch)
    loop = irm_loop.TensorFlowLoop()(objectives.Step(batch, {}, None, 0))
    assert float(loop) == pytest.approx(float(expected), rel=1e-5)


def test_memory_counts_a_matrix_that_a_step_makes():
    rows = tf.random.stateless_normal([1024, 4], [0, 0])

    @tf.function
    def small():
        return tf.reduce_sum(tf.square(rows))

    @tf.function
    def large():
        return tf.reduce_sum(tf.exp(tf.matmul(rows, rows, transpose_b=True)))

    small(), large()
    above = benchmark.peak_memory(large) - benchmark.peak_memory(small)
    # 4 MiB a matrix; the product and its exponential may share one.
    assert 4 <= above <= 9 or benchmark.peak_memory(small) == 0


def test_batches_have_unequal_environments_in_random_order():
    _, _, ids = benchmark.draw(benchmark.Sizes(), 16)
    counts = np.bincount(ids, minlength=16)
    assert counts.min() > 0
    assert counts.max() > 1.5 * counts.min()
    assert (np.diff(ids) < 0).sum() > 1000


@pytest.mark.parametrize(
    ("case", "ratios", "missed"),
    [
        (benchmark.Case("sd", bar=1.1), {2: 1.09, 16: 1.2}, ["1.20 at 16 (bar 1.10)"]),
        (benchmark.Case("sd", bar=1.1, up_to=2), {2: 1.09, 16: 1.2}, []),
        (benchmark.Case("sd", growth="flat"), {2: 1.0, 16: 1.04, 128: 1.05}, []),
        (
            benchmark.Case("sd", bar=1.1, growth="flat"),
            {2: 1.0, 16: 1.07},
            ["1.07 at 16 (bar 1.05)"],
        ),
        (benchmark.Case("sd", growth="linear"), {2: 1.0, 16: 1.2, 128: 2.5}, []),
        (
            benchmark.Case("sd", growth="linear"),
            {16: 1.2, 128: 2.7},
            ["2.70 at 128 (bar 2.60)"],
        ),
    ],
)
def test_ratios_are_judged_by_the_bars(case, ratios, missed):
    rows = [
        {"case": "sd", "environments": count, "xla": xla, "ratio": 9.0 if xla else r}
        for count, r in ratios.items()
        for xla in (False, True)
    ]
    assert benchmark.judge(case, rows) == (ratios, missed)


def test_the_command_prints_a_table_and_writes_the_figures(
    tmp_path, monkeypatch, capsys
):
    path = tmp_path / "figures.json"
    options = ["--methods=sd,irm_loop", "--environments=2", "--repeats=2"]
    monkeypatch.setattr(sys, "argv", ["penalties.py", *options, f"--json={path}"])
    monkeypatch.setattr(benchmark, "Sizes", lambda: TINY)
    monkeypatch.setattr(irm_loop, "torch_installed", lambda: False)
    benchmark.main()
    figures = json.loads(path.read_text())
    rows = {(row["case"], row["xla"]): row for row in figures["rows"]}
    for xla in (False, True):
        assert rows["sd", xla]["ratio"] > 0
        assert "torch is not" in rows["irm_loop in=PyTorch", False]["left_out"]
    assert rows["irm_loop in=TensorFlow", False]["ms"] > 0
    assert "static shape" in rows["irm_loop in=TensorFlow", True]["left_out"]
    assert figures["machine"]["tensorflow"] == tf.__version__
    assert "torch is not installed" in capsys.readouterr().out


def test_a_cell_that_fails_keeps_the_others_and_ends_in_an_error(monkeypatch, capsys):
    def broken(case, *rest):
        if case.method == "sd":
            raise ValueError("no such shape")
        return (lambda: 1.0,) * 2

    monkeypatch.setattr(benchmark, "make_steps", broken)
    options = ["penalties.py", "--methods=sd,v_rex", "--environments=2", "--no-xla"]
    monkeypatch.setattr(sys, "argv", options)
    monkeypatch.setattr(benchmark, "Sizes", lambda: TINY)
    with pytest.raises(SystemExit, match="Some cells failed"):
        benchmark.main()
    printed = capsys.readouterr().out
    assert "ValueError: no such shape" in printed
    assert "v_rex" in printed
