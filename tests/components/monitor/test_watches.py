"""Which checks a stream is held to, and how."""

import numpy as np
import pytest
import sklearn.metrics

from components.invariance_validator.checks import parse_checks
from components.monitor import quantities, watches


def sides(checks, task="binary"):
    found, _ = watches.follow(parse_checks(checks, task))
    return [(one.quantity, one.side, one.bound) for one in found]


@pytest.mark.parametrize(
    ("task", "checks", "expected"),
    [
        ("binary", {"worst": {"log_loss": {"max": 0.6}}}, [("log_loss", "max", 0.6)]),
        ("binary", {"worst": {"accuracy": {"min": 0.7}}}, [("accuracy", "min", 0.7)]),
        (
            "binary",
            {"worst": {"mean_label": {"min": 0.1, "max": 0.4}}},
            [("mean_label", "max", 0.4), ("mean_label", "min", 0.1)],
        ),
        (
            "binary",
            {"calibration_error": {"max": 0.05}},
            [("calibration_gap", "max", 0.05), ("calibration_gap", "min", -0.05)],
        ),
        (
            "regression",
            {"worst": {"root_mean_squared_error": {"max": 3}}},
            [("mean_squared_error", "max", 9)],
        ),
        (
            "regression",
            {"worst": {"mean_absolute_error": {"max": 3}}},
            [("mean_absolute_error", "max", 3)],
        ),
        (
            "multiclass",
            {"worst": {"mean_confidence": {"min": 0.5}}},
            [("mean_confidence", "min", 0.5)],
        ),
    ],
)
def test_means_are_followed(task, checks, expected):
    assert sides(checks, task) == expected


@pytest.mark.parametrize(
    ("task", "checks", "said"),
    [
        ("binary", {"worst": {"auc": {"min": 0.6}}}, "auc is no mean"),
        ("binary", {"gap": {"log_loss": {"max": 0.1}}}, "compares two slices"),
        ("binary", {"baseline": {"auc": {"max_drop": 0}}}, "compares two models"),
        ("binary", {"calibration_slope": {"min": 0.5}}, "monitor.calibration"),
        ("binary", {"worst": {"calibration": {"max": 1.2}}}, "monitor.calibration"),
        ("regression", {"worst": {"mean_label": {"max": 2}}}, "is no mean"),
        ("regression", {"worst": {"r_squared": {"min": 0.1}}}, "is no mean"),
    ],
)
def test_all_else_is_named(task, checks, said):
    found, not_followed = watches.follow(parse_checks(checks, task))
    assert found == []
    ((_, why),) = not_followed.items()
    assert said in why


def test_turned_and_back():
    for follow in (
        watches.Follow("c", "accuracy", "min", 0.7),
        watches.Follow("c", "log_loss", "max", 0.7),
        watches.Follow("c", "calibration_gap", "min", -0.1),
    ):
        watch = follow.at("eval", "overall")
        values = np.array([0.0, 0.2, 1.0])
        assert watch.figure(watch.turned(values)) == pytest.approx(values)
        assert watch.turned(watch.bound) == pytest.approx(watch.most)
        beyond = watch.bound + (0.1 if watch.side == "max" else -0.1)
        assert watch.turned(beyond) > watch.most


def test_a_bound_that_nothing_can_reach_is_no_watch():
    assert not watches.Follow("c", "accuracy", "max", 1.0).at("eval", "x").can_break
    assert watches.Follow("c", "log_loss", "max", 1.0).at("eval", "x").can_break


class TestQuantities:
    def test_of_the_binary_task(self):
        rng = np.random.default_rng(1)
        p, y = rng.random(200), (rng.random(200) < 0.4).astype(float)
        found, invalid = quantities.measure("binary", y, p)
        assert not invalid.any()
        assert found["log_loss"].mean() == pytest.approx(sklearn.metrics.log_loss(y, p))
        right = sklearn.metrics.accuracy_score(y, p > 0.5)
        assert found["accuracy"].mean() == pytest.approx(right)
        assert found["calibration_gap"] == pytest.approx(y - p)

    def test_a_label_that_is_unknown_leaves_the_scores(self):
        found, invalid = quantities.measure(
            "binary", np.array([np.nan, 1.0, 0.0]), np.array([0.3, 0.6, np.nan])
        )
        assert invalid.tolist() == [False, False, True]
        for name, values in found.items():
            known = [name == "mean_prediction", True, name == "mean_label"]
            if name == "mean_label":
                known[2] = False  # beside a prediction that is none
            assert (~np.isnan(values)).tolist() == known

    def test_one_example_cannot_decide_for_all(self):
        found, _ = quantities.measure("binary", np.array([1.0]), np.array([0.0]))
        assert found["log_loss"] == pytest.approx(-np.log(1e-7))
