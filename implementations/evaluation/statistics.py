"""Means, differences and ratios over seeds and items, with bootstrap intervals.

Every score matrix is (S, N): one row per seed, one column per held-out item, the same items in every row. Resampling
draws seeds and items independently with replacement (the two-factor bootstrap of Owen 2007, "The pigeonhole
bootstrap", Ann. Appl. Stat. 1(2)), so an interval covers both which notes were drawn and which training it was.
With one seed only the notes vary, and the interval says nothing about another training.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..record import Estimate

RESAMPLES = 4000
LEVEL = 0.95


def mean(a: np.ndarray) -> Estimate:
    """The mean of ``a`` (S, N)."""
    return _estimate(lambda m: m[0], a)


def difference(a: np.ndarray, b: np.ndarray) -> Estimate:
    """mean(a) − mean(b), paired: both are resampled by the same draws of seeds and items."""
    return _estimate(lambda m: m[0] - m[1], a, b)


def ratio(a: np.ndarray, b: np.ndarray) -> Estimate:
    """mean(a) / mean(b), paired. Resamples in which mean(b) is 0 are left out."""
    return _estimate(lambda m: m[0] / m[1], a, b)


def _estimate(statistic: Callable[[np.ndarray], np.ndarray], *matrices: np.ndarray) -> Estimate:
    stacked = np.stack(matrices)  # (M, S, N)
    _, seeds, items = stacked.shape
    rng = np.random.default_rng(0)
    # How often each seed and each item was drawn, as shares; a resampled mean is then one weighted sum.
    seed_share = rng.multinomial(seeds, np.full(seeds, 1 / seeds), RESAMPLES) / seeds
    item_share = rng.multinomial(items, np.full(items, 1 / items), RESAMPLES) / items
    means = np.einsum("rs,msn,rn->mr", seed_share, stacked, item_share, optimize=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        resampled = statistic(means)
        per_seed = statistic(stacked.mean(axis=2))
        value = statistic(stacked.mean(axis=(1, 2)))
    resampled = resampled[np.isfinite(resampled)]
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail]) if len(resampled) else (np.nan, np.nan)
    return Estimate(
        value=_finite(value),
        low=_finite(low),
        high=_finite(high),
        n=seeds * items,
        per_seed=[_finite(v) for v in per_seed],
    )


def _finite(value: float) -> float:
    """A ratio to a score of 0 is reported as 0: nothing was there to be kept."""
    return round(float(value), 6) if np.isfinite(value) else 0.0
