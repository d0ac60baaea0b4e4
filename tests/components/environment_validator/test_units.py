"""Conversions of units and constants, on quantiles."""

import numpy as np
import pytest

from components.environment_validator import units


@pytest.fixture
def celsius():
    return np.random.default_rng(0).normal(12, 9, 4000)


def found(a, b):
    return units.find(units.quantiles(a), units.quantiles(b), 0.5)


def moved(a, b):
    return units.find_offset(units.quantiles(a), units.quantiles(b), 0.5)


def other(seed=1):
    return np.random.default_rng(seed).normal(12, 9, 3000)


def test_fahrenheit_is_told_from_celsius_both_ways(celsius):
    one = found(celsius, other() * 1.8 + 32)
    assert one.name == "degrees Celsius to degrees Fahrenheit"
    assert (one.factor, one.offset) == (1.8, 32)
    assert one.after < 0.05 < 0.5 < one.before
    back = found(other() * 1.8 + 32, celsius)
    assert back.name == "degrees Fahrenheit to degrees Celsius"
    assert back.factor * 212 + back.offset == pytest.approx(100)


@pytest.mark.parametrize("factor", [1.609344, 3.28084, 2.20462, 10, 60, 1000])
def test_a_factor_is_told(factor):
    length = np.random.default_rng(0).gamma(4, 50, 4000)
    again = np.random.default_rng(1).gamma(4, 50, 4000)
    assert found(length, again * factor).factor == pytest.approx(factor)


def test_kelvin_is_a_unit_and_another_constant_is_none(celsius):
    assert "Kelvin" in found(celsius, other() + 273.15).name
    assert found(celsius, other() + 20) is None
    assert moved(celsius, other() + 20).offset == pytest.approx(20, abs=0.6)


def test_alike_numbers_are_left_alone(celsius):
    assert found(celsius, other()) is None
    assert moved(celsius, other()) is None


def test_numbers_that_no_conversion_makes_alike_are_left_alone(celsius):
    two_peaks = np.concatenate([other() - 40, other(2) + 90])
    assert found(celsius, two_peaks) is None
    assert moved(celsius, two_peaks) is None


def test_a_clock_turns_around_midnight():
    hours = np.random.default_rng(0).normal(14, 4, 4000).clip(0, 23.9)
    again = np.random.default_rng(1).normal(14, 4, 4000).clip(0, 23.9)
    turned = moved(hours, (again + 7) % 24)
    assert turned.offset == pytest.approx(7, abs=0.5)
    assert turned.after < 0.1


def test_the_odd_ones_are_in_the_most_pairs():
    near, far = np.arange(100.0), np.arange(100.0) * 10
    assert units.odd_ones([(0, 2), (1, 2), (2, 3)], [near, near, far, near]) == (
        [2],
        [0, 1, 3],
    )
    assert units.odd_ones([(0, 2)], [far, near, near]) == ([0], [2])
