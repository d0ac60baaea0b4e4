"""Looks against a plain loop over days, and what must never pass as holding."""

import math

import numpy as np
import pytest

from components.invariance_validator.checks import parse_checks
from components.monitor import looks, sequences, state, watches
from components.monitor.rows import Rows

REFERENCE = {
    "eval": [
        {"slice": [], "examples": 900, "mean": 0.3, "below": []},
        {
            "slice": [["environment", "A"]],
            "examples": 900,
            "mean": 0.3,
            "below": [[0.2, 0.4, 0.5]],
        },
        {"slice": [["kind", "x"]], "examples": 500, "mean": 0.3, "below": []},
        {"slice": [["kind", "other"]], "examples": 9, "mean": 0.3, "below": []},
    ],
    "ood": [
        {"slice": [["environment", "B"]], "examples": 90, "mean": 0.4, "below": []}
    ],
}
CHECKS = {"worst": {"log_loss": {"max": 0.7}, "accuracy": {"min": 0.6}}}


def plan(checks=CHECKS, shift=0.2, tolerance=0.1, reference=REFERENCE, task="binary"):
    follows, _ = watches.follow(parse_checks(checks, task))
    return looks.Plan(
        task=task,
        confidence=0.95,
        follows=[*follows, *watches.calibration(task, tolerance)],
        slices=[(), ("environment",), ("kind",)],
        evaluated=reference,
        training=frozenset("A"),
        held_out=frozenset("B"),
        score_shift=shift,
    )


def fresh():
    return state.State(1, "d" * 32, "s" * 32)


def draw(rng, size, environment="A", shift=0.0, days=3, label=True):
    """Calibrated predictions but for a shift of the labels."""
    p = rng.uniform(0.1, 0.5, size)
    y = (rng.random(size) < p + shift).astype(float)
    return Rows(
        labels=y if label else np.full(size, np.nan),
        predictions=p,
        values={
            "environment": np.array([environment] * size, object),
            "kind": np.array([("x", "y", "z", None)[i % 4] for i in range(size)]),
        },
        units=rng.integers(0, days, size).astype(np.uint64),
    )


def one(known, check, name, side="max", quantity=None):
    (found,) = (
        w
        for w in known.watched.values()
        if (w.watch.check, w.watch.slice, w.watch.side) == (check, name, side)
        and quantity in (None, w.watch.quantity)
    )
    return found


def test_is_a_loop_over_days():
    rng, known, asked = np.random.default_rng(1), fresh(), plan()
    expected = sequences.start(), sequences.start()
    for _ in range(4):
        rows = draw(rng, 60)
        looks.judge(rows, asked, known)
        means, labels, predicted = [], [], []
        for day in sorted(set(rows.units)):
            at = rows.units == day
            y, p = rows.labels[at], rows.predictions[at]
            means.append(np.mean(-(y * np.log(p) + (1 - y) * np.log(1 - p))))
            labels.append(y.mean())
            predicted.append(p.mean())
        stakes = (
            sequences.stakes(np.array(means), 0.7),
            sequences.stakes(1 - np.array(labels), 1 - np.array(predicted) + 0.1),
        )
        expected = [sequences.add(*pair) for pair in zip(expected, stakes, strict=True)]
    loss = one(known, "worst.log_loss", "environment=A")
    gap = one(known, "calibration", "environment=A", "min")
    for found, wanted in zip((loss, gap), expected, strict=True):
        assert found.evidence.active == pytest.approx(wanted.active)
        assert found.evidence.peak == pytest.approx(float(wanted.peak))
    assert loss.all.examples == 240
    assert looks.verdict(known) == looks.HOLDS


def test_both_sides_of_the_calibration_are_found():
    for shift, side in ((0.4, "max"), (-0.4, "min")):
        rng, known = np.random.default_rng(2), fresh()
        for _ in range(40):
            looks.judge(draw(rng, 60, shift=shift), plan(), known)
        other = "min" if side == "max" else "max"
        gap = [one(known, "calibration", "environment=A", s) for s in (side, other)]
        assert gap[0].broken and not gap[1].broken
        assert looks.verdict(known) == looks.BROKEN
        (reason,) = (r for r in looks.reasons(known) if r.startswith("calibration"))
        assert "environment=A (eval): mean label less mean prediction is" in reason


def test_given_the_predictions_the_mean_is_bounded_as_said():
    """A label mean of prediction + bound leaves the evidence as it is, on average."""
    asked = plan({"worst": {"log_loss": {"max": 9}}})
    values = []
    for y in (0.0, 1.0):
        known = fresh()
        rows = Rows(
            labels=np.array([y]),
            predictions=np.array([0.3]),
            values={n: np.array(["A"], object) for n in ("environment", "kind")},
        )
        looks.judge(rows, asked, known)
        gap = one(known, "calibration", "environment=A")
        values.append(math.exp(sequences.log_value(gap.evidence)))
    assert 0.6 * values[0] + 0.4 * values[1] == pytest.approx(1)


def test_levels_add_up_to_no_more_than_may_be_spent():
    rng, known = np.random.default_rng(3), fresh()
    for name in ("A", "C", "D", "A", "B"):
        looks.judge(draw(rng, 30, name), plan(), known)
    assert sum(w.level for w in known.watched.values()) <= 0.05
    assert known.generations == 2  # of C and of D


def test_a_new_environment_is_judged_apart():
    rng, known, asked = np.random.default_rng(4), fresh(), plan()
    for _ in range(30):
        looks.judge(draw(rng, 60), asked, known)
        looks.judge(draw(rng, 60, "new", shift=0.5), asked, known)
    assert asked.is_new("new") and asked.split_of("new") == "ood"
    found = one(known, "calibration", "environment=new")
    assert found.broken and found.watch.split == "ood"
    assert not one(known, "calibration", "environment=A").broken


def test_small_slices_are_pooled_as_the_release_pooled_them():
    known = fresh()
    looks.judge(draw(np.random.default_rng(5), 40), plan(), known)
    sizes = {
        w.watch.slice: w.all.examples
        for w in known.watched.values()
        if w.watch.check == "worst.log_loss" and w.all.examples
    }
    assert sizes == {"overall": 40, "environment=A": 40, "kind=x": 10, "kind=other": 20}


def test_a_floor_looks_at_its_slice_alone():
    floor = {"floor": {"log_loss": {"slice": {"environment": "A"}, "max": 0.7}}}
    known = fresh()
    asked = plan(floor, shift=None, tolerance=None)
    looks.judge(draw(np.random.default_rng(5), 40), asked, known)
    assert [w.watch.slice for w in known.watched.values()] == ["environment=A"]


def test_a_prediction_that_is_none_never_holds():
    rows = draw(np.random.default_rng(6), 20)
    rows.predictions[3] = np.nan
    known = fresh()
    looks.judge(rows, plan(), known)
    assert looks.verdict(known) == looks.BROKEN
    assert looks.reasons(known)[0].startswith("1 predictions are none: NaN")
    looks.judge(draw(np.random.default_rng(6), 20), plan(), known)
    assert looks.verdict(known) == looks.BROKEN  # and is not forgotten


def test_without_labels_the_scores_alone_are_looked_at():
    rng, known = np.random.default_rng(7), fresh()
    looks.judge(draw(rng, 60, label=False), plan(), known)
    checks = {w.watch.check for w in looks.findings(known)}
    assert checks == {"score_shift"}
    for _ in range(60):
        rows = draw(rng, 60, label=False)
        rows.predictions[:] = 0.9
        looks.judge(rows, plan(), known)
    assert one(known, "score_shift", "environment=A", quantity="mean_prediction").broken
    below = one(known, "score_shift", "environment=A", "min", quantity="below:0.2:0.4")
    assert below.broken and below.watch.figure(below.since.mean) == 0


def test_missing_values_are_counted_by_environment():
    follows = watches.missing(["age"], 0.3)
    asked = looks.Plan("binary", 0.95, follows, [("environment",)], REFERENCE)
    rng, known = np.random.default_rng(8), fresh()
    for _ in range(30):
        rows = draw(rng, 40, label=False)
        absent = rng.random(40) < 0.8
        looks.judge(Rows(**{**vars(rows), "missing": {"age": absent}}), asked, known)
    found = one(known, "missing", "environment=A")
    assert found.broken
    assert "the share of missing values of 'age' is 0." in looks.reasons(known)[0]


def test_weights_lay_bets():
    rows = draw(np.random.default_rng(9), 30)
    weights = np.random.default_rng(9).random(30) * 5
    weights[4] = 0
    known = fresh()
    looks.judge(
        Rows(**{**vars(rows), "units": None, "weights": weights}), plan(), known
    )
    y, p = rows.labels, rows.predictions
    losses = -(y * np.log(p) + (1 - y) * np.log(1 - p))
    stake = sequences.stakes(losses, 0.7, weights / weights.max())
    expected = sequences.add(sequences.start(), stake)
    found = one(known, "worst.log_loss", "overall")
    assert found.evidence.active == pytest.approx(expected.active)
    assert found.all.mean == pytest.approx(np.average(losses, weights=weights))
    assert found.all.examples == 29


def test_units_of_the_look_before_are_noticed():
    rng, known = np.random.default_rng(10), fresh()
    rows = draw(rng, 30)
    assert looks.shared_units(rows, known) == 0
    looks.judge(rows, plan(), known)
    assert looks.shared_units(rows, known) == 3


def test_a_stretch_begins_where_the_mean_goes_beyond():
    rng, known, asked = np.random.default_rng(11), fresh(), plan()
    for i in range(70):
        looks.judge(draw(rng, 60, shift=0.45 if i >= 30 else 0.0), asked, known)
    found = one(known, "calibration", "environment=A")
    assert found.broken and 28 <= found.since.look <= 32
    assert found.watch.figure(found.since.mean) == pytest.approx(0.45, abs=0.03)


def test_several_classes_and_numbers():
    rng = np.random.default_rng(12)
    p = rng.dirichlet([2, 2, 2], 50)
    values = {n: np.array(["A"] * 50, object) for n in ("environment", "kind")}
    known = fresh()
    checks = {"worst": {"log_loss": {"max": 2}, "mean_confidence": {"max": 0.9}}}
    rows = Rows(np.zeros(50), p, values)
    looks.judge(rows, plan(checks, task="multiclass"), known)
    loss = one(known, "worst.log_loss", "overall")
    assert loss.all.mean == pytest.approx(np.mean(-np.log(p[:, 0])))
    sure = one(known, "worst.mean_confidence", "overall")
    assert sure.all.mean == pytest.approx(p.max(axis=1).mean())

    known = fresh()
    checks = {"worst": {"root_mean_squared_error": {"max": 2}}}
    rows = Rows(np.arange(50.0), np.arange(50.0) + 1.5, values)
    looks.judge(rows, plan(checks, task="regression"), known)
    found = one(known, "worst.root_mean_squared_error", "overall")
    assert (found.watch.bound, found.all.mean) == (4, pytest.approx(2.25))


def test_the_state_comes_back_as_it_was(tmp_path):
    rng, known, asked = np.random.default_rng(13), fresh(), plan()
    for _ in range(3):
        looks.judge(draw(rng, 60, shift=0.3), asked, known)
    folder = str(tmp_path / "state")
    state.save(folder, known, {"look": known.looks})
    again = state.load(folder, fresh())
    rows = draw(rng, 60, "C")
    for each in (known, again):
        looks.judge(rows, asked, each)
    state.save(folder, known, {})
    text = (tmp_path / "state" / "state.json").read_text()
    state.save(folder, again, {})
    assert (tmp_path / "state" / "state.json").read_text() == text
