"""How far new prompts are from those that a student learns from."""

from __future__ import annotations

import re

import numpy as np

from ..record import Drift

DEALT = 400  # times that the prompts are dealt out at random
VOCABULARY = 20_000  # most frequent words; the rest count as one


def drift(before: list[str], after: list[str]) -> Drift:
    """The Jensen–Shannon distance (Endres & Schindelin 2003; base 2, 0 to 1) of the words of ``before`` and ``after``.

    Two samples of one distribution differ too, small ones much. So the same prompts are dealt out at random, in the
    same numbers, and the distances then give the 95% interval of no drift: a permutation test.
    """
    words, ids = {}, []
    texts = [*before, *after]
    for text in texts:
        ids.append([words.setdefault(word, len(words)) for word in re.findall(r"\w+", text.lower())])
    lengths = np.array([len(row) for row in ids])
    tokens = np.array([word for row in ids for word in row], dtype=np.int64)
    frequent = np.argsort(-np.bincount(tokens, minlength=len(words)), kind="stable")[:VOCABULARY]
    column = np.full(len(words), len(frequent))
    column[frequent] = np.arange(len(frequent))
    tokens, whole = column[tokens], np.bincount(column[tokens], minlength=len(frequent) + 1)

    def distance(is_after: np.ndarray) -> float:
        second = np.bincount(tokens[np.repeat(is_after, lengths)], minlength=len(whole))
        return _jensen_shannon(whole - second, second)

    rng = np.random.default_rng(0)
    is_after = np.arange(len(texts)) >= len(before)
    dealt = [distance(rng.permutation(is_after)) for _ in range(DEALT)]
    low, high = np.quantile(dealt, [0.025, 0.975])
    return Drift(
        distance=round(distance(is_after), 4), chance_low=round(float(low), 4), chance_high=round(float(high), 4)
    )


def _jensen_shannon(a: np.ndarray, b: np.ndarray) -> float:
    """Of two vectors of counts; 0 where one has none."""
    if not a.sum() or not b.sum():
        return 0.0
    p, q = a / a.sum(), b / b.sum()
    middle = (p + q) / 2

    def divergence(p: np.ndarray) -> float:
        there = p > 0
        return float((p[there] * np.log2(p[there] / middle[there])).sum())

    return max(0.0, (divergence(p) + divergence(q)) / 2) ** 0.5
