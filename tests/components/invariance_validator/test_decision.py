"""Truth tables, by the t table: t(0.95, 19) = 1.729 and t(0.975, 19) = 2.093.

The limits of mean_prediction are formed on its own scale, those of auc on another.
"""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from components.invariance_validator.decision import decide

PASS, FAIL, LACK = "PASS", "FAIL", "INSUFFICIENT_DATA"
WORST = {"worst": {"auc": {"min": 0.65}}}
# The environments are always expected; where a test has none, it says what it looks at.
HERE = {"worst": {"auc": {"min": 0.65, "over": "overall"}}}
CARRIERS = {"worst": {"auc": {"min": 0.65, "over": ["overall", "carrier"]}}}
MEAN = {"mean_prediction": {"min": 0.65, "over": ["overall", "carrier"]}}


def only(decision):
    (check,) = decision.checks
    return check


@pytest.mark.parametrize(
    ("bound", "value", "verdict"),
    [
        # error 0.01: PASS from 0.65 + 0.01729, FAIL below 0.65 - 0.01729
        ({"min": 0.65}, 0.6673, PASS),
        ({"min": 0.65}, 0.6672, LACK),
        ({"min": 0.65}, 0.6328, LACK),
        ({"min": 0.65}, 0.6327, FAIL),
        ({"max": 0.65}, 0.6327, PASS),
        ({"max": 0.65}, 0.6328, LACK),
        ({"max": 0.65}, 0.6672, LACK),
        ({"max": 0.65}, 0.6673, FAIL),
        ({"min": 0.6, "max": 0.65}, 0.6250, PASS),
        ({"min": 0.6, "max": 0.65}, 0.6170, LACK),
        ({"min": 0.6, "max": 0.65}, 0.6330, LACK),
        ({"min": 0.6, "max": 0.65}, 0.5820, FAIL),
        ({"min": 0.6, "max": 0.65}, 0.6680, FAIL),
    ],
)
def test_one_slice(make, bound, value, verdict):
    checks = {"worst": {"mean_prediction": {**bound, "over": "overall"}}}
    found = only(decide([make.result(mean_prediction=value)], {}, checks))
    assert found.verdict == verdict
    assert found.value == value
    low, high = found.interval
    assert low == pytest.approx(value - 0.02093, abs=1e-5)
    assert high == pytest.approx(value + 0.02093, abs=1e-5)
    assert (found.split, found.slice, found.examples) == ("eval", "overall", 1000)


def carriers(make, count, **metrics):
    return [make.result(f"carrier=c{i}", **metrics) for i in range(count)]


def test_a_pass_needs_every_slice_and_no_correction(make):
    results = [
        *carriers(make, 40, mean_prediction=0.6673),
        make.result(mean_prediction=0.6673),
    ]
    assert decide(results, {}, {"worst": MEAN}).verdict == PASS


def test_a_fail_is_corrected_for_the_number_of_slices(make):
    # Five slices: one-sided 0.99, t = 2.539, so FAIL below 0.65 - 0.02539.
    others = carriers(make, 4, mean_prediction=0.8)
    for value, verdict in ((0.6246, FAIL), (0.6247, LACK)):
        found = only(
            decide([make.result(mean_prediction=value), *others], {}, {"worst": MEAN})
        )
        assert (found.verdict, found.slice) == (verdict, "overall")


def test_the_worst_slice_is_named_and_the_others_counted(make):
    results = [
        make.result("carrier=LH", auc=0.5),
        make.result("carrier=AA", auc=0.4),
        make.result(auc=0.9),
    ]
    found = only(decide(results, {}, CARRIERS))
    assert (found.slice, found.bound) == ("carrier=AA", 0.65)
    assert found.reason.endswith("(1 more of 3 slices failed).")


def test_a_slice_that_fails_goes_before_one_that_lacks_data(make):
    results = [
        make.result("carrier=AA", auc=(0.3, 0.5)),
        make.result("carrier=UA", auc=0.6),
    ]
    checks = {"worst": {"auc": {"min": 0.65, "over": "carrier"}}}
    assert only(decide(results, {}, checks)).slice == "carrier=UA"


@pytest.mark.parametrize(
    ("changes", "verdict", "words"),
    [
        ({"auc": float("nan")}, FAIL, "undefined auc (nan)"),
        ({"auc": float("inf")}, FAIL, "undefined auc (inf)"),
        ({"log_loss": 0.3}, FAIL, "no auc: it was not computed"),
        ({"auc": 0.9, "examples": 199}, LACK, "only 199 of the 200 examples"),
        ({"auc": float("nan"), "positives": 0}, LACK, "only 0 of the 20 positive"),
        ({"auc": (1.0, 0.0)}, LACK, "the same in every block"),
        ({"auc": (0.9, float("nan"))}, LACK, "undefined without one of the blocks"),
        ({"auc": (0.9, float("inf"))}, LACK, "undefined without one of the blocks"),
    ],
)
def test_what_is_undefined_or_too_small_never_passes(make, changes, verdict, words):
    good = make.result("carrier=AA", auc=0.9)
    found = only(decide([make.result(**changes), good], {}, CARRIERS))
    assert found.verdict == verdict
    assert words in found.reason


@pytest.mark.parametrize(
    ("positives", "words"),
    [
        (19, "only 19 of the 20 positive examples"),
        (981, "only 19 of the 20 negative examples"),
    ],
)
def test_what_is_no_share_says_nothing_with_few_of_a_class(make, positives, words):
    checks = {"worst": {"log_loss": {"max": 0.6, "over": "overall"}}}
    found = only(decide([make.result(log_loss=0.1, positives=positives)], {}, checks))
    assert found.verdict == LACK
    assert words in found.reason


def test_invalid_predictions_never_pass(make):
    import dataclasses

    bad = dataclasses.replace(make.result(auc=0.9), invalid_predictions=3)
    found = only(decide([bad], {}, HERE))
    assert found.verdict == FAIL
    assert "3 predictions that are not a number from 0 to 1" in found.reason


def test_a_vanished_environment_is_noticed(make):
    counts = make.counts(EWR=1000, JFK=1000, LGA=("ood", 1000))
    results = [
        make.result(auc=0.9, examples=2000),
        make.result("environment=EWR", auc=0.9),
        make.result("environment=JFK", auc=0.9),
        make.result("overall", "ood", auc=0.9),
    ]
    found = only(decide(results, counts, WORST))
    assert found.verdict == FAIL
    assert found.reason == (
        "environment=LGA (ood) has 1,000 examples in the data but was not evaluated."
    )


def test_an_environment_without_evaluated_examples_is_not_shown(make):
    counts = make.counts(EWR=1000, JFK=0)
    results = [make.result(auc=0.9), make.result("environment=EWR", auc=0.9)]
    found = only(decide(results, counts, WORST))
    assert (found.verdict, found.slice) == (LACK, "environment=JFK")


def with_carriers(make, **numbers):
    counts = make.counts(EWR=sum(numbers.values()))
    counts["slices"]["eval"]['["carrier"]'] = [[[k], n] for k, n in numbers.items()]
    total = sum(numbers.values())
    results = [
        make.result(auc=0.9, examples=total),
        make.result("environment=EWR", auc=0.9, examples=total),
    ]
    return counts, results


def test_a_vanished_value_is_noticed_and_a_pooled_one_listed(make):
    counts, results = with_carriers(make, UA=500, OO=6, HA=30)
    decision = decide(results, counts, WORST)
    assert only(decision).reason == (
        "carrier=UA (eval) has 500 examples in the data but was not evaluated."
    )
    assert decision.table.pooled() == {"eval": {"carrier": [["HA", 30], ["OO", 6]]}}
    results.append(make.result("carrier=UA", auc=0.9, examples=500))
    results.append(make.result("carrier=other", auc=0.1, examples=36))
    assert decide(results, counts, WORST).verdict == PASS


def test_a_pooled_other_that_is_large_enough_is_judged(make):
    counts, results = with_carriers(make, UA=500, AS=150, F9=150)
    results.append(make.result("carrier=UA", auc=0.9, examples=500))
    found = only(decide(results, counts, WORST))
    assert (found.verdict, found.slice) == (FAIL, "carrier=other")
    results.append(make.result("carrier=other", auc=0.3, examples=300))
    found = only(decide(results, counts, WORST))
    assert (found.verdict, found.slice, found.value) == (FAIL, "carrier=other", 0.3)


def test_a_slice_evaluated_in_part_fails(make):
    counts, results = with_carriers(make, UA=500)
    results.append(make.result("carrier=UA", auc=0.9, examples=499))
    found = only(decide(results, counts, WORST))
    assert found.verdict == FAIL
    assert "has 500 examples in the data, but 499 were evaluated" in found.reason


def test_a_slice_that_only_the_released_model_has_is_noticed(make):
    results = [
        make.result(auc=0.9),
        make.result("carrier=UA", auc=0.9, model="baseline"),
    ]
    found = only(decide(results, {}, CARRIERS))
    assert (found.verdict, found.slice) == (FAIL, "carrier=UA")


def test_nothing_evaluated_fails():
    assert only(decide([], {}, WORST)).verdict == FAIL


def test_no_check_shows_nothing(make):
    decision = decide([make.result(auc=0.9)], {}, {})
    assert (decision.verdict, decision.blessed) == (LACK, False)


def test_scopes_and_splits_are_obeyed(make):
    results = [
        make.result(auc=0.9),
        make.result("environment=EWR", auc=0.9),
        make.result("environment=LGA", "ood", auc=0.1),
        make.result("carrier=UA", auc=0.1),
        make.result("environment=EWR,carrier=UA", auc=0.1),
        make.result("overall", "ood", auc=0.9),
    ]

    def verdict(**leaf):
        leaf = {"min": 0.65, **leaf}
        return decide(results, {}, {"worst": {"auc": leaf}}).verdict

    assert verdict(split="eval", over="environment") == PASS
    assert verdict(over="overall") == PASS
    assert verdict(over="environment") == FAIL
    assert verdict(split="ood") == FAIL
    assert verdict(split="eval", over="carrier") == FAIL
    assert verdict(split="eval", over=[["carrier", "environment"]]) == FAIL
    # A cross is judged only where it is named.
    results[3] = make.result("carrier=UA", auc=0.9)
    assert verdict(split="eval") == PASS


def test_environments_are_always_expected(make):
    found = only(decide([make.result(auc=0.9)], {}, WORST))
    assert found.reason == "there is no slice by environment in eval."


def test_a_slicing_that_was_named_must_be_there(make):
    leaf = {"min": 0.65, "over": "carrier"}
    found = only(decide([make.result(auc=0.9)], {}, {"worst": {"auc": leaf}}))
    assert found.verdict == FAIL
    assert "there is no slice by carrier in eval" in found.reason
    leaf = {"min": 0.65, "split": "ood"}
    assert decide([make.result(auc=0.9)], {}, {"worst": {"auc": leaf}}).verdict == FAIL


def gap(most=0.05, **leaf):
    return {"gap": {"auc": {"max": most, "over": "environment", **leaf}}}


def environments(make, *values, signs=None):
    signs = signs or [make.signs] * len(values)
    names = ["EWR", "JFK", "LGA"]
    return [
        make.result(
            f"environment={names[i]}",
            "ood" if names[i] == "LGA" else "eval",
            auc=make.estimate(value, 0.01, sign),
        )
        for i, (value, sign) in enumerate(zip(values, signs, strict=True))
    ]


def test_a_gap_spans_splits_and_uses_the_covariance(make):
    # Blocks that move all environments alike leave no error in the difference.
    found = only(decide(environments(make, 0.72, 0.70, 0.68), {}, gap()))
    assert (found.verdict, found.value) == (PASS, pytest.approx(0.04))
    assert found.interval == pytest.approx([0.04, 0.04])
    assert found.slice == "environment=EWR / environment=LGA"
    assert found.split == "eval / ood"
    assert found.examples == 2000
    # Against each other they add up: error 0.02, limit 0.04 + 1.729 * 0.02 = 0.0746.
    signs = [make.signs, make.signs, -make.signs]
    results = environments(make, 0.72, 0.70, 0.68, signs=signs)
    assert only(decide(results, {}, gap())).verdict == LACK
    assert only(decide(results, {}, gap(0.0746))).verdict == PASS
    assert only(decide(results, {}, gap(0.0745))).verdict == LACK


def test_a_gap_fails_by_the_limit_corrected_for_pairs(make):
    # Two environments: 0.14 - 1.729 * 0.02 = 0.1054.
    results = environments(make, 0.84, 0.70, signs=[make.signs, -make.signs])
    assert only(decide(results, {}, gap(0.1053))).verdict == FAIL
    assert only(decide(results, {}, gap(0.1055))).verdict == LACK


def test_a_gap_over_another_feature_stays_within_its_split(make):
    results = [
        make.result("carrier=AA", "eval", auc=0.9),
        make.result("carrier=UA", "eval", auc=0.9),
        make.result("carrier=AA", "ood", auc=0.6),
        make.result("carrier=UA", "ood", auc=0.6),
    ]
    assert decide(results, {}, gap(over="carrier")).verdict == PASS


def test_a_gap_needs_two(make):
    found = only(decide(environments(make, 0.7), {}, gap()))
    assert found.verdict == FAIL
    assert "a gap needs two" in found.reason


def test_a_gap_with_an_environment_that_cannot_be_judged_does_not_pass(make):
    results = environments(make, 0.7, 0.7, float("nan"))
    assert decide(results, {}, gap()).verdict == FAIL
    results = environments(make, 0.7, 0.7)
    results.append(make.result("environment=LGA", "ood", auc=0.7, examples=50))
    assert decide(results, {}, gap()).verdict == LACK


def test_many_pairs_are_all_counted(make):
    results = carriers(make, 60, auc=0.9) + [make.result("carrier=bad", auc=0.1)]
    found = only(decide(results, {}, gap(over="carrier")))
    assert found.verdict == FAIL
    # 61 * 60 / 2 pairs, of which 60 have the bad carrier.
    assert found.reason.endswith("(59 more of 1,830 pairs failed).")


def against(make, candidate, released, signs=None, **kwargs):
    signs = make.signs if signs is None else signs
    return [
        make.result(auc=make.estimate(candidate, 0.01), **kwargs),
        make.result(auc=make.estimate(released, 0.01, signs), model="baseline"),
    ]


BASELINE = {"baseline": {"auc": {"max_drop": 0.01, "over": "overall"}}}


@pytest.mark.parametrize(
    ("drop", "verdict"), [(0.0, PASS), (0.01, PASS), (0.0101, FAIL), (-0.1, PASS)]
)
def test_a_change_is_paired(make, drop, verdict):
    # Both models move alike with each block: the change has no error.
    results = against(make, 0.75 - drop, 0.75)
    assert only(decide(results, {}, BASELINE)).verdict == verdict


def test_a_change_with_an_error(make):
    # Error 0.02 of the change: PASS only from -0.01 + 1.729 * 0.02 = 0.0246 on.
    for gain, verdict in ((0.0246, PASS), (0.0245, LACK), (-0.0446, FAIL)):
        results = against(make, 0.7 + gain, 0.7, -make.signs)
        found = only(decide(results, {}, BASELINE))
        assert (found.verdict, found.bound) == (verdict, -0.01)
        assert found.value == pytest.approx(gain)


def test_a_rise_is_judged_from_the_other_side(make):
    checks = {"baseline": {"log_loss": {"max_rise": 0.01, "over": "overall"}}}
    for rise, verdict in ((0.0099, PASS), (0.0101, FAIL)):
        results = [
            make.result(log_loss=0.4 + rise),
            make.result(log_loss=0.4, model="baseline"),
        ]
        assert only(decide(results, {}, checks)).verdict == verdict


def test_without_a_released_model_there_is_nothing_to_compare(make):
    found = only(decide([make.result(auc=0.7)], {}, BASELINE))
    assert found.verdict == PASS
    assert "no released model" in found.reason
    assert found.interval is None


@pytest.mark.parametrize("released", [None, "undefined", "other examples"])
def test_a_released_model_that_was_not_measured_does_not_pass(make, released):
    results = [make.result(auc=0.9)]
    if released == "undefined":
        results.append(make.result(auc=float("nan"), model="baseline"))
    elif released == "other examples":
        results.append(make.result(auc=0.9, examples=999, model="baseline"))
    decision = decide(results, {}, BASELINE, expect_baseline=True)
    assert only(decision).verdict == FAIL


def test_the_verdict_is_the_worst_and_the_blessing_needs_all(make):
    results = [make.result(auc=0.9, log_loss=(0.5, 0.2))]
    checks = {
        "worst": {
            "auc": {"min": 0.65, "over": "overall"},
            "log_loss": {"max": 0.6, "over": "overall"},
        }
    }
    decision = decide(results, {}, checks)
    assert (decision.verdict, decision.blessed) == (LACK, False)
    allowed = decide(results, {}, checks, {"allow_insufficient": ["worst.log_loss"]})
    assert (allowed.verdict, allowed.blessed) == (LACK, True)
    assert "lets pass" in allowed.checks[1].reason
    other = decide(results, {}, checks, {"allow_insufficient": ["worst.auc"]})
    assert not other.blessed
    # FAIL is never allowed.
    results = [make.result(auc=0.9, log_loss=0.9)]
    failed = decide(results, {}, checks, {"allow_insufficient": ["worst.log_loss"]})
    assert (failed.verdict, failed.blessed) == (FAIL, False)


def test_confidence_moves_the_limit(make):
    # t(0.99, 19) = 2.539
    results = [make.result(mean_prediction=0.6754)]
    checks = {"worst": {"mean_prediction": {"min": 0.65, "over": "overall"}}}
    assert decide(results, {}, checks, {"confidence": 0.99}).verdict == PASS
    assert decide(results, {}, checks, {"confidence": 0.995}).verdict == LACK


def test_the_same_slice_twice_is_an_error(make):
    with pytest.raises(ValueError, match="evaluated twice"):
        decide([make.result(auc=0.9), make.result(auc=0.9)], {}, WORST)


def test_replicates_with_few_blocks_are_wider(make):
    # Four blocks vary: t(0.95, 3) = 2.353; error = 0.01 * sqrt(4 / 20).
    signs = np.where(np.arange(20) < 4, make.signs, 0.0)
    results = [make.result(mean_prediction=make.estimate(0.66, 0.01, signs))]
    limit = 2.353 * 0.01 * np.sqrt(0.2)
    for bound, verdict in ((0.66 - limit - 1e-5, PASS), (0.66 - limit + 1e-5, LACK)):
        checks = {
            "worst": {"mean_prediction": {"min": float(bound), "over": "overall"}}
        }
        assert decide(results, {}, checks).verdict == verdict


def decided(results, kind, metric, **bounds):
    leaf = {**bounds, "over": "environment"}
    checks = {kind: leaf if kind == metric else {metric: leaf}}
    return decide(results, {}, checks, {"min_examples": 1}).verdict


@st.composite
def measured(draw, make):
    """Three environments with any values, replicates and classes."""
    found = []
    for i, name in enumerate(("EWR", "JFK", "LGA")):
        rng = np.random.default_rng(draw(st.integers(0, 10_000)))
        value = draw(st.floats(0.05, 0.95))
        spread = draw(st.sampled_from([0.0, 1e-4, 0.003, 0.02]))
        replicates = np.clip(value + spread * rng.standard_gamma(0.5, 20), 0, 1)
        metrics = {
            metric: make.estimate(value, 0.0)
            for metric in ("auc", "accuracy", "calibration", "log_loss")
        }
        for estimate in metrics.values():
            estimate.replicates[:] = replicates
        positives = draw(st.sampled_from([0, 1, 7, 19, 20, 150]))
        split = "ood" if i == 2 else "eval"
        one = make.result(f"environment={name}", split, 300, positives, **metrics)
        found.append(one)
    return found


ORDER = [FAIL, LACK, PASS]


@hypothesis.given(
    st.data(),
    st.sampled_from(["auc", "accuracy", "calibration", "log_loss"]),
    st.sampled_from(["worst min", "worst max", "gap max"]),
    st.floats(0.01, 0.99),
    st.floats(0.01, 0.99),
)
@hypothesis.settings(
    deadline=None,
    max_examples=150,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
def test_a_looser_bound_never_makes_a_verdict_worse(
    make, data, metric, where, first, second
):
    results = data.draw(measured(make))
    kind, key = where.split()
    strict, loose = sorted([first, second], reverse=key == "min")
    hard, easy = (
        decided(results, kind, metric, **{key: bound}) for bound in (strict, loose)
    )
    assert ORDER.index(hard) <= ORDER.index(easy)


@pytest.mark.parametrize(
    ("value", "positives", "verdict"),
    [
        # All of 19 pairs' worth right, with 20 blocks: 0.05^(1/19) = 0.854.
        (1.0, 19, PASS),
        (1.0, 7, PASS),  # 0.05^(1/7) = 0.652
        (1.0, 6, LACK),  # 0.607
        (0.9, 19, PASS),  # at least binom.cdf's: beta.ppf(0.05, 17.1, 2.9) = 0.706
        (0.85, 19, LACK),  # 0.648
    ],
)
def test_an_auc_of_few_has_the_limits_of_a_share_of_the_rarer_class(
    make, value, positives, verdict
):
    import dataclasses

    estimate = make.estimate(value, 0.0 if value == 1 else 0.01)
    one = make.result(positives=positives, auc=estimate)
    one = dataclasses.replace(one, block_examples=(50,) * 20)
    assert decide([one], {}, HERE).verdict == verdict


def test_a_perfect_model_is_as_sure_as_its_blocks_are_many(make):
    # Who knows what belongs together: 0.05^(1/20) = 0.861, however many examples.
    import dataclasses

    one = make.result(examples=100_000, accuracy=make.estimate(1.0, 0.0))
    one = dataclasses.replace(one, block_examples=(5000,) * 20)
    for bound, verdict in ((0.86, PASS), (0.862, LACK)):
        checks = {"worst": {"accuracy": {"min": bound, "over": "overall"}}}
        assert decide([one], {}, checks).verdict == verdict


@pytest.mark.parametrize(("auc", "verdict"), [(0.984, PASS), (0.989, LACK)])
def test_aucs_next_to_one_are_not_compared(make, auc, verdict):
    # 250 positives x (1 - auc) is what keeps them from 1: three at least.
    results = [
        make.result(f"environment={name}", auc=(auc, 0.0001)) for name in ("A", "B")
    ]
    assert only(decide(results, {}, gap())).verdict == verdict


@pytest.mark.parametrize(("examples", "verdict"), [(290, LACK), (310, PASS)])
def test_a_change_of_a_share_may_wait_for_a_single_example(make, examples, verdict):
    # 3.0 / n must be below the drop that is allowed: 300 examples for 0.01.
    both = {"examples": examples, "positives": 100, "accuracy": (0.9, 0.01)}
    results = [make.result(**both), make.result(model="baseline", **both)]
    checks = {"baseline": {"accuracy": {"max_drop": 0.01, "over": "overall"}}}
    assert only(decide(results, {}, checks)).verdict == verdict
