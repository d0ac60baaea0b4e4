"""Labels of classes and of numbers: a clean world, and what is planted into it."""

import dataclasses

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats
from sklearn import metrics

from benchmarks import environments
from components.environment_validator import comparing, events, page, record, sampled
from components.environment_validator.sampled import NUMBER, Feature, Sampled
from components.errors import DataError

from .conftest import OPTIONS

CLASSES = ("cold", "flu", "none")
NUMBERS = dataclasses.replace(OPTIONS, task="regression")
KINDS = dataclasses.replace(OPTIONS, task="multiclass", classes=CLASSES)


def relabelled(world, make):
    """The world with another label: `make(rng, table, environment)`."""
    found = {}
    for i, (cell, table) in enumerate(world.items()):
        label = make(np.random.default_rng(i), table, cell[1])
        at = table.schema.get_field_index("sick")
        found[cell] = table.set_column(at, "sick", pa.array(label))
    return found


def fever(table):
    return (np.asarray(table["temperature"]) - 60) / 15


def length_of_stay(rng, table, _):
    return (3 * fever(table) + rng.normal(0, 4, len(table)) + 10).astype(np.float32)


def diagnosis(rng, table, _):
    return np.digitize(fever(table) + rng.normal(0, 1.5, len(table)), [-1.0, 1.0])


@pytest.fixture(scope="module")
def stays(world):
    return relabelled(world, length_of_stay)


@pytest.fixture(scope="module")
def diagnoses(world):
    return relabelled(world, diagnosis)


@pytest.fixture(scope="module")
def of_numbers():
    return environments.Inspector(NUMBERS)


@pytest.fixture(scope="module")
def of_kinds():
    return environments.Inspector(KINDS)


def found(inspector, world, check, reference=None):
    findings, _ = inspector.findings(world, reference)
    return [f for f in findings if f.check == check]


def test_clean_worlds_have_no_error_and_no_warning(
    of_numbers, of_kinds, stays, diagnoses
):
    for inspector, world in ((of_numbers, stays), (of_kinds, diagnoses)):
        findings, _ = inspector.findings(world)
        assert [f.sentence for f in findings if f.level != "note"] == []


def test_a_number_that_never_varies_is_an_error(of_numbers, stays):
    stuck = relabelled(
        stays,
        lambda rng, t, e: (
            np.full(len(t), 7.0) if e == "south" else np.asarray(t["sick"])
        ),
    )
    train, evaluated = found(of_numbers, stuck, "label_support")
    assert {train.split, evaluated.split} == {"train", "eval"}
    assert train.level == "error" and train.environments == ("south",)
    assert "the label is 7 in all of south in train" in train.sentence


def test_a_shift_of_a_number_is_that_of_wasserstein(of_numbers, stays):
    moved = relabelled(
        stays, lambda rng, t, e: np.asarray(t["sick"]) + 4.0 * (e == "west")
    )
    (one,) = found(of_numbers, moved, "label_shift")
    assert "west" in one.environments and one.level == "warn"
    labels = [np.asarray(moved[c]["sick"]) for c in moved if c[1] in one.environments]
    labels = [
        np.asarray(moved[("ood" if n == "west" else "train"), n]["sick"])
        for n in one.environments
    ]
    deviation = np.sqrt(np.mean([np.var(part) for part in labels]))
    expected = stats.wasserstein_distance(*labels) / deviation
    assert one.value == pytest.approx(expected, rel=1e-6)
    assert found(of_numbers, stays, "label_shift") == []


def test_drift_of_a_number_is_seen_since_the_released_run(of_numbers, stays):
    _, reference = of_numbers.findings(stays)
    longer = relabelled(
        stays, lambda rng, t, e: np.asarray(t["sick"]) + 1.0 * (e == "south")
    )
    (one,) = found(of_numbers, longer, "label_drift", reference)
    assert one.environments == ("south",)
    labels = np.asarray(stays["train", "south"]["sick"])
    # The middle 99 % of a normal has a deviation of 0.97 of the whole.
    assert one.value == pytest.approx(1 / (0.97 * labels.std()), rel=0.05)
    assert found(of_numbers, stays, "label_drift", reference) == []


def test_what_gives_a_number_away_is_a_leak(of_numbers, stays):
    known = {
        cell: t.append_column("planted", pa.array(np.asarray(t["sick"]) * 2.0 + 1))
        for cell, t in stays.items()
    }
    (one,) = found(of_numbers, known, "leak")
    assert (one.feature, one.level) == ("planted", "error")
    assert "alone tells whether the label is above" in one.sentence


def test_a_number_that_is_turned_around_is_named(of_numbers, stays):
    turned = relabelled(
        stays,
        lambda rng, t, e: (
            20 - np.asarray(t["sick"]) if e == "south" else np.asarray(t["sick"])
        ),
    )
    (one,) = found(of_numbers, turned, "label_agreement")
    assert one.level == "error" and "south" in one.environments


def test_classes_that_are_not_everywhere_are_a_warning(of_kinds, diagnoses):
    without = relabelled(
        diagnoses,
        lambda rng, t, e: (
            np.minimum(np.asarray(t["sick"]), 1)
            if e == "south"
            else np.asarray(t["sick"])
        ),
    )
    ones = found(of_kinds, without, "label_support")
    assert {(f.environments, f.split, f.level) for f in ones} == {
        (("south",), "train", "warn"),
        (("south",), "eval", "warn"),
    }
    assert "south has no 'none' example among" in ones[0].sentence


def test_one_class_alone_is_an_error(of_kinds, diagnoses):
    alone = relabelled(
        diagnoses,
        lambda rng, t, e: (
            np.ones(len(t), int) if e == "south" else np.asarray(t["sick"])
        ),
    )
    ones = found(of_kinds, alone, "label_support")
    assert {f.level for f in ones} == {"error"}
    assert "no 'cold' and 'none' examples" in ones[0].sentence
    assert "nothing of the label" in ones[0].sentence


def test_few_of_a_class_are_counted(of_kinds, diagnoses):
    def rare(rng, t, e):
        label = np.asarray(t["sick"]).copy()
        if e == "south":
            label[label == 2] = 0
            label[:7] = 2
        return label

    ones = found(of_kinds, relabelled(diagnoses, rare), "positives")
    assert {(f.environments, f.value) for f in ones} == {(("south",), 7.0)}
    assert "south has 7 'none' examples in" in ones[0].sentence


def test_a_shift_of_classes_is_the_largest_difference_of_shares(of_kinds, diagnoses):
    def more_flu(rng, t, e):
        label = np.asarray(t["sick"]).copy()
        if e == "west":
            label[: int(0.6 * len(label))] = 1
        return label

    world = relabelled(diagnoses, more_flu)
    (one,) = found(of_kinds, world, "label_shift")
    shares = {
        cell[1]: np.bincount(np.asarray(t["sick"]), minlength=3) / len(t)
        for cell, t in world.items()
        if cell[0] != "eval"
    }
    table = np.stack(list(shares.values()))
    assert one.value == pytest.approx(np.ptp(table, axis=0).max())
    assert one.sentence.startswith("the label is flu in")
    _, reference = of_kinds.findings(diagnoses)
    (drifted,) = found(of_kinds, world, "label_drift", reference)
    assert drifted.environments == ("west",) and "flu in" in drifted.sentence


def test_what_tells_one_class_alone_warns_and_what_tells_all_stops(of_kinds, diagnoses):
    one_class = {
        cell: t.append_column("planted", pa.array((np.asarray(t["sick"]) == 2) * 1.0))
        for cell, t in diagnoses.items()
    }
    (one,) = found(of_kinds, one_class, "leak")
    assert one.level == "warn" and "planted alone tells class none" in one.sentence
    every = {
        cell: t.append_column("planted", pa.array(np.asarray(t["sick"]) * 1.0))
        for cell, t in diagnoses.items()
    }
    (one,) = found(of_kinds, every, "leak")
    assert one.level == "error" and one.feature == "planted"


def test_a_label_past_the_classes_is_refused(of_kinds, diagnoses):
    wrong = relabelled(diagnoses, lambda rng, t, e: np.asarray(t["sick"]) + 1)
    with pytest.raises(DataError, match="has the label 3, and there are 3 classes"):
        of_kinds.findings(wrong)


@pytest.mark.parametrize("task", ["regression", "multiclass"])
def test_the_page_tells_of_the_task(task, of_numbers, of_kinds, stays, diagnoses):
    inspector = of_numbers if task == "regression" else of_kinds
    world = stays if task == "regression" else diagnoses
    evidence, _ = inspector.evidence(world)
    kept = record.record(evidence, inspector.settings, [])
    assert (kept["task"], kept["classes"]) == (
        task,
        [] if task == "regression" else list(CLASSES),
    )
    text = page.page(kept, "clinics")
    assert "% positive" not in text
    told = "whether the label is above" if task == "regression" else "a class"
    assert told in text
    assert record.to_json(kept) and record.to_json(record.reference(evidence))


def samples(task, labels, classes=()):
    features = [
        Feature("x", NUMBER, tuple(labels), tuple(_bins(part) for part in labels), 8)
    ]
    return Sampled(("a", "b"), 2, tuple(labels), tuple(features), task, classes)


def _bins(values):
    return np.clip(np.asarray(values, int), 0, 7)


def test_the_event_of_a_number_is_being_above_the_median_of_training():
    rng = np.random.default_rng(0)
    labels = [rng.normal(0, 1, 101), rng.normal(5, 1, 101), rng.normal(100, 1, 101)]
    (event,) = events.of(labels, "regression", (), num_training=2)
    cut = np.median(np.concatenate(labels[:2]))
    for part, there in zip(labels, event.labels, strict=True):
        np.testing.assert_array_equal(there, part > cut)


def test_a_number_of_which_most_are_the_largest_is_cut_below_them():
    labels = [np.array([0.0, 1.0, 1.0, 1.0]), np.array([1.0, 1.0, 0.5, 1.0])]
    (event,) = events.of(labels, "regression", (), num_training=2)
    assert [part.tolist() for part in event.labels] == [
        [False, True, True, True],
        [True, True, False, True],
    ]


def test_of_classes_the_one_that_a_feature_tells_best_is_kept():
    rng = np.random.default_rng(0)
    labels = [rng.integers(0, 3, 4000) for _ in range(2)]
    tells_one = [np.where(part == 1, 5, rng.integers(0, 5, 4000)) for part in labels]
    data = samples("multiclass", labels, CLASSES)
    feature = Feature(
        "x",
        sampled.CATEGORY,
        tuple(tells_one),
        tuple(part + 1 for part in tells_one),
        7,
        tuple("012345"),
    )
    data = dataclasses.replace(data, features=(feature,))
    (compared,) = comparing.compare(data)
    assert data.events[compared.event].told == "class flu"
    expected = metrics.roc_auc_score(labels[1] == 1, tells_one[1] == 5)
    assert compared.auc[0, 1] == pytest.approx(expected, abs=0.01)
    # Of the other two classes it tells that they are not flu.
    others = [metrics.roc_auc_score(labels[0] == k, tells_one[0] != 5) for k in (0, 2)]
    mean = np.mean([1.0, *others])
    assert compared.own[0] == pytest.approx(mean, abs=0.02)


def test_more_classes_ask_for_more_certainty():
    assert events.sure(1) == pytest.approx(2.0)
    p = 1 - stats.norm.cdf(2.0)
    assert 1 - stats.norm.cdf(events.sure(10)) == pytest.approx(p / 10)
