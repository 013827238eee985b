"""Intervals that are right on average, paired where they say so, and wide enough for few seeds."""

from __future__ import annotations

import numpy as np
import pytest

from implementations.evaluation import statistics


def test_values_and_seeds():
    a = np.array([[1.0, 0.0, 1.0], [1.0, 1.0, 1.0]])
    estimate = statistics.mean(a)
    assert estimate.value == pytest.approx(5 / 6, abs=1e-6)
    assert estimate.per_seed == pytest.approx([2 / 3, 1.0], abs=1e-6)
    assert estimate.n == 6 and estimate.low <= estimate.value <= estimate.high


def test_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(1)
    inside = 0
    for _ in range(200):
        estimate = statistics.mean(rng.normal(0.5, 0.2, (1, 40)))
        inside += estimate.low <= 0.5 <= estimate.high
    assert 180 <= inside <= 200  # 95% nominal; percentile intervals of 40 items run a little short


def test_spread_between_seeds_widens_the_interval():
    items = np.random.default_rng(0).normal(0.5, 0.05, 50)
    alike, apart = np.stack([items, items, items]), np.stack([items - 0.3, items, items + 0.3])
    narrow, wide = statistics.mean(alike), statistics.mean(apart)
    assert wide.high - wide.low > 5 * (narrow.high - narrow.low)


def test_a_difference_is_paired():
    b = np.random.default_rng(0).uniform(0, 1, (1, 30))
    paired = statistics.difference(b + 0.1, b)
    assert paired.low == pytest.approx(0.1) and paired.high == pytest.approx(0.1)
    assert statistics.ratio(0.5 * b, b).low == pytest.approx(0.5)


def test_a_ratio_to_nothing_is_nothing():
    zero = np.zeros((1, 4))
    estimate = statistics.ratio(np.ones((1, 4)), zero)
    assert (estimate.value, estimate.low, estimate.high) == (0, 0, 0)
