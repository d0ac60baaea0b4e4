"""The checks beyond worst, gap and baseline: truth tables by the t table.

t(0.95, 19) = 1.729, t(0.975, 19) = 2.093; limits of AUC are on the scale of logits.
"""

import numpy as np
import pytest

from components.evaluator.results import Estimate
from components.invariance_validator.decision import decide

PASS, FAIL, LACK = "PASS", "FAIL", "INSUFFICIENT_DATA"


def only(decision):
    (check,) = decision.checks
    return check


def floor(slice_, split=None, **bounds):
    leaf = {"slice": slice_, **bounds}
    return {"floor": {"auc": [{**leaf, "split": split} if split else leaf]}}


class TestFloor:
    UA = {"environment": "LGA", "carrier": "UA"}

    def counts(self, make, number):
        made = make.counts(EWR=1000, LGA=("ood", 1000))
        made["slices"]["ood"]['["carrier", "environment"]'] = [[["UA", "LGA"], number]]
        return made

    @pytest.mark.parametrize(
        ("value", "verdict"), [(0.6175, PASS), (0.61, LACK), (0.5827, FAIL)]
    )
    def test_only_the_named_slice_counts(self, make, value, verdict):
        results = [
            make.result("environment=LGA,carrier=UA", "ood", auc=value),
            make.result("environment=LGA,carrier=B6", "ood", auc=0.1),
            make.result("environment=LGA", "ood", auc=0.1),
        ]
        checks = floor(self.UA, min=0.6)
        found = only(decide(results, self.counts(make, 1000), checks))
        assert found.verdict == verdict
        assert found.name == "floor.auc.environment=LGA,carrier=UA"
        assert (found.slice, found.split) == ("environment=LGA,carrier=UA", "ood")

    def test_a_pooled_slice_lacks_data(self, make):
        results = [make.result("environment=LGA,carrier=other", "ood", auc=0.9)]
        found = only(decide(results, self.counts(make, 34), floor(self.UA, min=0.6)))
        assert found.verdict == LACK
        assert found.reason == (
            "environment=LGA,carrier=UA (ood) has only 34 of the 200 examples needed;"
            " 166 more would do."
        )

    def test_a_vanished_slice_fails(self, make):
        found = only(decide([], self.counts(make, 1000), floor(self.UA, min=0.6)))
        assert found.verdict == FAIL
        assert "has 1,000 examples in the data but was not evaluated" in found.reason

    def test_a_slice_that_is_nowhere_fails(self, make):
        counts = self.counts(make, 1000)
        unknown = {"environment": "LGA", "carrier": "ZZ"}
        found = only(decide([], counts, floor(unknown, min=0.6)))
        assert (found.verdict, found.split) == (FAIL, "eval / ood")
        assert found.reason == (
            "there is no example of environment=LGA,carrier=ZZ in eval / ood."
        )
        found = only(decide([], counts, floor(self.UA, "eval", min=0.6)))
        assert found.reason.endswith("of environment=LGA,carrier=UA in eval.")

    def test_both_splits_count_where_the_slice_is_in_both(self, make):
        results = [
            make.result("carrier=UA", "eval", auc=0.9),
            make.result("carrier=UA", "ood", auc=0.3),
        ]
        checks = floor({"carrier": "UA"}, min=0.6)
        assert only(decide(results, {}, checks)).split == "ood"
        checks = floor({"carrier": "UA"}, "eval", min=0.6)
        assert only(decide(results, {}, checks)).verdict == PASS

    def test_overall_is_the_empty_slice(self, make):
        found = only(decide([make.result(auc=0.9)], {}, floor({}, min=0.6)))
        assert (found.name, found.verdict) == ("floor.auc.overall", PASS)


class TestCalibrationError:
    CHECKS = {"calibration_error": {"max": 0.05, "over": "overall"}}

    def result(self, make, value, noise=0.01, reach=0.01, error=0.005):
        plain = make.estimate(value, error)
        estimate = Estimate(value, plain.replicates, noise, reach)
        return make.result(calibration_error=estimate)

    @pytest.mark.parametrize(
        ("value", "verdict"),
        [
            # PASS up to 0.05 - 1.729 reach; FAIL from 0.05 + noise + 1.729 error.
            (0.0327, PASS),
            (0.0328, LACK),
            (0.0686, LACK),
            (0.0687, FAIL),
        ],
    )
    def test_the_limits_are_those_of_a_norm(self, make, value, verdict):
        found = only(decide([self.result(make, value)], {}, self.CHECKS))
        assert found.verdict == verdict
        low, high = found.interval
        assert low == pytest.approx(max(0, value - 0.01 - 2.093 * 0.005), abs=1e-5)
        assert high == pytest.approx(value + 2.093 * 0.01, abs=1e-5)

    def test_the_sentence(self, make):
        found = only(decide([self.result(make, 0.03)], {}, self.CHECKS))
        assert found.reason == (
            "calibration_error of overall (eval, 1,000 examples) is 0.030, at most"
            " 0.047 with 95 % confidence; the bound is 0.05."
        )


class TestScoreDistance:
    CHECKS = {"score_distance": {"max": 0.1, "over": "environment"}}

    def results(self, make, distance, error=0.01, **more):
        return [
            make.result(
                "environment=EWR",
                mean_prediction=0.3,
                scores=make.sketch(0.3, error=error),
            ),
            make.result(
                "environment=LGA",
                "ood",
                mean_prediction=0.3,
                scores=make.sketch(0.3 + distance, error=0.0),
                **more,
            ),
        ]

    @pytest.mark.parametrize(
        ("distance", "verdict"),
        [
            # The bins between the two points move together: reach = error = 0.01.
            (0.0826, PASS),
            (0.0828, LACK),
            # noise = sqrt(2 / pi) error: FAIL from 0.1 + 0.00798 + 0.01729.
            (0.1252, LACK),
            (0.1254, FAIL),
        ],
    )
    def test_the_distance_of_two_points(self, make, distance, verdict):
        found = only(decide(self.results(make, distance), {}, self.CHECKS))
        assert found.verdict == verdict
        assert found.value == pytest.approx(distance)
        assert found.slice == "environment=EWR / environment=LGA"

    def test_a_slice_without_enough_examples_lacks_data(self, make):
        results = self.results(make, 0.01, examples=150)
        found = only(decide(results, {}, self.CHECKS))
        assert (found.verdict, found.slice) == (LACK, "environment=LGA")

    def test_the_sentence(self, make):
        found = only(decide(self.results(make, 0.05), {}, self.CHECKS))
        assert found.reason == (
            "score_distance of environment=EWR (eval, 1,000 examples) and"
            " environment=LGA (ood, 1,000 examples) is 0.050, at most 0.067 with"
            " 95 % confidence; the bound is 0.1."
        )


class TestRiskVariance:
    def results(self, make, *risks, error=0.01):
        # Blocks move the risks apart, not together.
        return [
            make.result(
                f"environment=e{i}",
                log_loss=make.estimate(risk, error, make.signs * (-1) ** i),
            )
            for i, risk in enumerate(risks)
        ]

    @pytest.mark.parametrize(
        ("bound", "verdict"),
        [
            # Of two risks the standard deviation is half of their difference, its
            # error here as well: 0.05 and 0.01, so PASS from (0.05 + 0.01729)^2 and
            # FAIL below (0.05 - 0.01 - 0.01729)^2.
            (0.004529, PASS),
            (0.004527, LACK),
            (0.000516, LACK),
            (0.000515, FAIL),
        ],
    )
    def test_two_risks(self, make, bound, verdict):
        checks = {"risk_variance": {"max": bound, "over": "environment"}}
        found = only(decide(self.results(make, 0.5, 0.6), {}, checks))
        assert found.verdict == verdict
        assert found.value == pytest.approx(0.0025)
        assert (found.slice, found.split, found.examples) == (
            "environment",
            "eval",
            2000,
        )

    def test_the_sentence_shows_small_numbers(self, make):
        checks = {"risk_variance": {"max": 0.0006, "over": "environment"}}
        results = self.results(make, 0.5, 0.5, 0.502, error=0.003)
        variance = np.var([0.5, 0.5, 0.502])
        reason = only(decide(results, {}, checks)).reason
        assert reason.startswith(
            "variance of log_loss over 3 slices by environment (eval, 3,000 examples)"
            f" is {variance:.5f}, at most 0.0000"
        )
        assert reason.endswith("with 95 % confidence; the bound is 0.0006.")

    def test_what_one_slice_lacks_the_variance_lacks(self, make):
        checks = {"risk_variance": {"max": 0.1, "over": "environment"}}
        few = make.result("environment=few", examples=50, log_loss=0.5)
        results = [*self.results(make, 0.5, 0.5), few]
        found = only(decide(results, {}, checks))
        assert (found.verdict, found.slice) == (LACK, "environment=few")

    def test_every_feature_is_a_group_of_its_own(self, make):
        results = [
            *self.results(make, 0.5, 0.5),
            make.result("carrier=AA", log_loss=0.2),
            make.result("carrier=UA", log_loss=0.9),
        ]
        found = only(decide(results, {}, {"risk_variance": {"max": 0.01}}))
        assert (found.verdict, found.slice) == (FAIL, "carrier")
        assert found.value == pytest.approx(0.35**2)


class TestOodDrop:
    def trained(self, make, metric="auc"):
        """Two trained environments whose blocks cancel in their mean, 0.75."""
        return [
            make.result("environment=EWR", **{metric: make.estimate(0.7)}),
            make.result(
                "environment=JFK", **{metric: make.estimate(0.8, signs=-make.signs)}
            ),
        ]

    @pytest.mark.parametrize(
        ("held_out", "verdict"),
        # So the error is LGA's alone.
        [(0.7174, PASS), (0.7172, LACK), (0.6828, LACK), (0.6826, FAIL)],
    )
    def test_held_out_against_the_mean_of_the_trained(self, make, held_out, verdict):
        lga = make.result("environment=LGA", "ood", auc=held_out)
        checks = {"ood_drop": {"auc": {"max": 0.05}}}
        found = only(decide([*self.trained(make), lga], {}, checks))
        assert found.verdict == verdict
        assert found.value == pytest.approx(0.75 - held_out)
        assert (found.split, found.slice) == ("ood", "environment=LGA")

    def test_a_loss_drops_by_rising(self, make):
        lga = make.result("environment=LGA", "ood", log_loss=0.9)
        checks = {"ood_drop": {"log_loss": {"max": 0.05}}}
        found = only(decide([*self.trained(make, "log_loss"), lga], {}, checks))
        assert found.verdict == FAIL
        assert found.reason == (
            "log_loss of environment=LGA (ood, 1,000 examples) is 0.150 worse than the"
            " mean of the environments trained on, at least 0.133 worse with 95 %"
            " confidence; it may be 0.05 worse."
        )

    def test_better_than_trained_on_passes(self, make):
        lga = make.result("environment=LGA", "ood", auc=0.85)
        checks = {"ood_drop": {"auc": {"max": 0}}}
        found = only(decide([*self.trained(make), lga], {}, checks))
        assert found.reason == (
            "auc of environment=LGA (ood, 1,000 examples) is 0.100 better than the mean"
            " of the environments trained on, at least 0.083 better with 95 %"
            " confidence; it may be 0 worse."
        )

    def test_a_trained_environment_that_decides_nothing_leaves_it_open(self, make):
        few = make.result("environment=EWR", auc=0.7, examples=10)
        others = [
            make.result("environment=JFK", auc=0.8),
            make.result("environment=LGA", "ood", auc=0.1),
        ]
        checks = {"ood_drop": {"auc": {"max": 0.05}}}
        found = only(decide([few, *others], {}, checks))
        assert (found.verdict, found.slice) == (LACK, "environment=EWR")

    def test_nothing_held_out_fails(self, make):
        checks = {"ood_drop": {"auc": {"max": 0.05}}}
        found = only(decide(self.trained(make), {}, checks))
        assert found.verdict == FAIL
        assert "no slice by environment in ood" in found.reason


def test_the_report_shows_every_kind(make):
    from components.invariance_validator import report

    results = []
    for i, (name, split) in enumerate(
        (("EWR", "eval"), ("JFK", "eval"), ("LGA", "ood"))
    ):
        results.append(
            make.result(
                f"environment={name}",
                split,
                auc=0.7 + i / 100,
                log_loss=0.5 + i / 1000,
                mean_prediction=0.3,
                calibration_error=Estimate(
                    0.02, make.estimate(0.02).replicates, 0.01, 0.02
                ),
                irm_gradient=0.001,
                scores=make.sketch(0.3 + i / 100),
            )
        )
    checks = {
        "floor": {"auc": {"slice": {"environment": "LGA"}, "min": 0.6}},
        "worst": {"irm_gradient": {"min": -0.1, "max": 0.1, "over": "environment"}},
        "calibration_error": {"max": 0.1, "over": "environment"},
        "score_distance": {"max": 0.1, "over": "environment"},
        "risk_variance": {"max": 0.001, "over": "environment"},
        "ood_drop": {"auc": {"max": 0.05}},
    }
    decision = decide(results, {}, checks)
    assert [c.verdict for c in decision.checks] == [PASS] * 6
    page = report.render(report.Material(decision, results, {}))
    for title in (
        "floor of environment=LGA",
        "held out",
        "distance by environment",
        "over the slices by",
        "calibration_error <span>",
        "irm_gradient <span>",
        "worse by ≤ 0.05",
    ):
        assert title in page, title
