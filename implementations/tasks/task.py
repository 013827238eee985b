"""What a task gives a recipe: items, splits, and how an answer is scored."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from rapidfuzz.distance import LCSseq


@dataclass(frozen=True)
class Item:
    """One prompt. ``reference`` is an expert's answer, if there is one; ``facts`` is what a good answer states."""

    id: str
    prompt: str
    reference: str | None = None
    facts: dict[str, str] = field(default_factory=dict)
    sentences: tuple[str, ...] = ()


@dataclass(frozen=True)
class Splits:
    """The items of one run. Models learn from ``gold`` and ``transfer`` and are compared on ``slices``.

    ``dev`` holds a few more gold items, for choosing a learning rate; it is empty where none is chosen. ``served`` is
    what production asked before the held-out items came, in order and with repeats, where the task tells a story of it.
    """

    gold: list[Item]
    dev: list[Item]
    transfer: list[Item]
    slices: dict[str, list[Item]]
    served: list[Item] = field(default_factory=list)


class Sizes(NamedTuple):
    """How many items each split of one seed holds."""

    gold: int
    dev: int
    transfer: int
    heldout: int
    unseen: int


class Marks(NamedTuple):
    """An answer read fact by fact. ``spans`` are (start, end, "found" | "invented") in the answer, in order."""

    spans: tuple[tuple[int, int, str], ...]
    missed: tuple[str, ...]


class Task(Protocol):
    """What the student must learn. ``primary`` is the metric that retention and the verdict are about."""

    name: str
    title: str
    instruction: str
    max_new_tokens: int
    primary: str

    def splits(self, sizes: Sizes, seed: int) -> Splits:
        """The items of the run with this seed. Held-out slices are the same for every seed."""
        ...

    def metrics(self, answer: str, item: Item) -> dict[str, float]:
        """Scores of one answer in [0, 1], higher is better."""
        ...

    def marks(self, answer: str, item: Item) -> Marks:
        """Which stretches of the answer are right, which are made up, and what it lacks."""
        ...


def rouge_l(reference: str, answer: str) -> float:
    """ROUGE-L: the F-measure of the longest common subsequence of words (Lin 2004, "ROUGE", sec. 3.1, with β = 1)."""
    a, b = (re.findall(r"[a-z0-9]+", text.lower()) for text in (reference, answer))
    common = LCSseq.similarity(a, b)
    return 2 * common / (len(a) + len(b)) if common else 0.0
