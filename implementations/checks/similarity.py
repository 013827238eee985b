"""How alike texts are: the cosine of their character n-grams, weighted by tf-idf (Salton & Buckley 1988).

Letters, not a model: a paraphrase in other words looks far away, which errs on the side of a warning.
"""

from __future__ import annotations

import random
import re
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

GRAM = 4  # characters, spaces among them
BUCKETS = 4096  # n-grams are hashed into so many
MOST = 2000  # texts of one kind that are compared; of more, a sample
BLOCK = 256  # rows of a similarity matrix at a time

T = TypeVar("T")


class Space:
    """The space of ``texts``: a gram that stands in many of them says little."""

    def __init__(self, texts: Sequence[str]):
        counts = _counts(texts)
        self.idf = np.log((1 + len(texts)) / (1 + (counts > 0).sum(axis=0))) + 1  # (BUCKETS,)
        self.vectors = self._weighted(counts)  # (N, BUCKETS), of length 1

    def within(self) -> np.ndarray:
        """How near the nearest other text is to each text (N,), in [0, 1]."""
        return self._nearest(self.vectors, itself=True)[1]

    def neighbours(self) -> np.ndarray:
        """Which other text is nearest to each text (N,)."""
        return self._nearest(self.vectors, itself=True)[0]

    def nearest(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Which text of the space is nearest to each of other ``texts`` (M,), and how near (M,)."""
        return self._nearest(self._weighted(_counts(texts)), itself=False)

    def _nearest(self, vectors: np.ndarray, itself: bool) -> tuple[np.ndarray, np.ndarray]:
        which, near = np.zeros(len(vectors), int), np.zeros(len(vectors))
        for start in range(0, len(vectors), BLOCK):
            block = vectors[start : start + BLOCK] @ self.vectors.T
            rows = np.arange(len(block))
            if itself:
                block[rows, start + rows] = -1
            best = block.argmax(axis=1)
            which[start : start + BLOCK], near[start : start + BLOCK] = best, block[rows, best]
        return which, near

    def _weighted(self, counts: np.ndarray) -> np.ndarray:
        weights = np.log1p(counts) * self.idf
        return (weights / np.maximum(np.linalg.norm(weights, axis=1, keepdims=True), 1e-12)).astype(np.float32)


def plain(text: str) -> str:
    """``text`` in small letters with single spaces: what two texts that are the same share."""
    return re.sub(r"\s+", " ", text.casefold()).strip()


def distinct(items: Sequence[T], key: Callable[[T], str]) -> list[T]:
    """The first of the items whose text is the same, in order."""
    first: dict[str, T] = {}
    for item in items:
        first.setdefault(plain(key(item)), item)
    return list(first.values())


def sample(items: Sequence[T]) -> list[T]:
    """All of them, or ``MOST`` drawn at random, in order."""
    if len(items) <= MOST:
        return list(items)
    return [items[i] for i in sorted(random.Random(0).sample(range(len(items)), MOST))]


def _counts(texts: Sequence[str]) -> np.ndarray:
    counts = np.zeros((len(texts), BUCKETS), np.float32)
    for row, text in zip(counts, texts, strict=True):
        padded = f" {plain(text)} "
        grams = Counter(padded[i : i + GRAM] for i in range(max(1, len(padded) - GRAM + 1)))
        for gram, number in grams.items():
            row[zlib.crc32(gram.encode()) % BUCKETS] += number
    return counts
