"""The evidence against its definition, and what Ville's inequality promises."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats

from components.monitor import sequences


def weight(j):
    return sequences.HORIZON / ((sequences.HORIZON + j - 1) * (sequences.HORIZON + j))


def by_definition(looks, most):
    """E_t by its sum over starts and fractions, without logarithms."""
    found = 0.0
    for j in range(1, len(looks) + 1):
        for f in sequences.FRACTIONS:
            money = weight(j) / len(sequences.FRACTIONS)
            for x in itertools.chain(*looks[j - 1 :]):
                money *= 1 + f * (x / most - 1)
            found += money
    return found + 1 - sum(weight(j) for j in range(1, len(looks) + 1))


def run(looks, most):
    evidence = sequences.start()
    for values in looks:
        evidence = sequences.add(evidence, sequences.stakes(np.array(values), most))
    return evidence


def test_is_its_definition():
    draws = np.random.default_rng(1)
    looks = [draws.gamma(2.0, 0.3, size).tolist() for size in (3, 1, 0, 5, 2)]
    evidence = run(looks, 0.5)
    values = [by_definition(looks[:t], 0.5) for t in range(len(looks) + 1)]
    assert math.exp(sequences.log_value(evidence)) == pytest.approx(values[-1])
    assert math.exp(evidence.peak) == pytest.approx(max(1.0, *values))


def test_the_weights_of_all_looks_are_one():
    rest = sequences.HORIZON / (sequences.HORIZON + 50)
    assert sum(weight(j) for j in range(1, 51)) + rest == pytest.approx(1)


@pytest.mark.parametrize("most", [0.1, 0.5, 1.3])
def test_is_fair_at_the_bound_and_loses_within(most):
    """One more look, 0 or 4 * most: at a mean of `most` E stays, on average."""
    before = run([[0.3], [0.2, 0.9]], most)
    low, high = (
        math.exp(sequences.log_value(sequences.add(before, sequences.stakes(x, most))))
        for x in (np.array([0.0]), np.array([4 * most]))
    )
    now = math.exp(sequences.log_value(before))
    assert 0.75 * low + 0.25 * high == pytest.approx(now)
    assert 0 < 0.9 * low + 0.1 * high < now  # a mean of 0.4 * most


def test_many_side_by_side_are_each_by_itself():
    draws = np.random.default_rng(2).random((4, 3, 6))
    many = sequences.start((3,))
    for look in draws:
        many = sequences.add(many, sequences.stakes(look, 0.4))
    for i in range(3):
        alone = run(draws[:, i].tolist(), 0.4)
        assert many.peak[i] == alone.peak
        assert np.array_equal(many.active[i], alone.active)


def test_sizes_lay_less_on_some():
    values, sizes = np.array([0.7, 0.1, 9.0]), np.array([0.5, 1.0, 0.0])
    found = sequences.stakes(values, 0.4, sizes)
    for f, log in zip(sequences.FRACTIONS, found, strict=True):
        money = (1 + f * 0.5 * (0.7 / 0.4 - 1)) * (1 + f * (0.1 / 0.4 - 1))
        assert log == pytest.approx(math.log(money))


def test_nothing_allowed_is_broken_by_anything_and_kept_by_nothing():
    kept = run([[0.0, 0.0]], 0.0)
    assert math.exp(kept.peak) == pytest.approx(1)
    assert np.isfinite(run([[0.0, 1e-9]], 0.0).peak)
    assert run([[0.0, 1e-9]], 0.0).peak > math.log(1e12)


def test_extremes_stay_finite():
    evidence = run([[1e300, np.inf], [0.0] * 100_000], 1e-300)
    for part in (evidence.active, evidence.peak, sequences.log_value(evidence)):
        assert np.isfinite(part).all()


@pytest.mark.parametrize(
    "law",
    [
        scipy.stats.bernoulli(0.2),
        scipy.stats.gamma(0.5, scale=0.4),
        scipy.stats.pareto(1.5, scale=0.2 / 3),
    ],
    ids=["seldom", "skewed", "without variance"],
)
def test_false_alarms_at_the_bound(law):
    """400 years of daily looks at the bound; with Clopper and Pearson's limit."""
    runs, level = 400, 0.1
    draws = law.rvs((365, runs, 4), random_state=3)
    evidence = sequences.start((runs,))
    for look in draws:
        evidence = sequences.add(evidence, sequences.stakes(look, law.mean()))
    alarms = int((evidence.peak >= math.log(1 / level)).sum())
    least = scipy.stats.beta.ppf(0.001, alarms, runs - alarms + 1) if alarms else 0.0
    assert least <= level
