"""Tasks whose answer is one word, a label: how their items are split, and how an answer is read."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable

from ..errors import InputError
from ..registry import TASKS
from .task import Item, Marks, Sizes, Splits

EVALUATION_SEED = 20261127  # held-out items are the same for every run, so runs can be compared


class Labelled:
    """Texts in, one word out. The reference of an item is its label.

    ``seen`` is what models may learn from, ``unseen`` another kind that they are only compared on. Every split holds
    each label equally often, so that an answer which is always the same scores one in ``len(labels)``.
    """

    name: str
    instruction: str
    labels: tuple[str, ...]
    max_new_tokens = 8
    primary = "accuracy"

    def __init__(self, seen: list[Item], unseen: list[Item], run: int):
        """Takes of items that share ``run`` words in a row the first alone, see `without_near_duplicates`."""
        self.title = TASKS[self.name].title
        kept = {item.id for item in without_near_duplicates([*seen, *unseen], run)}
        self.seen = [item for item in seen if item.id in kept]
        self.unseen = [item for item in unseen if item.id in kept]

    def splits(self, sizes: Sizes, seed: int) -> Splits:
        """Draw the items of one run. Raises InputError when there are not enough.

        Where the unseen kind lacks a label, as hard ham is no spam, the seen kind lends it. Asking for more gold keeps
        the gold there was, and does not change the transfer items.
        """
        rng = random.Random(EVALUATION_SEED)
        seen, unseen = self._shuffled(self.seen, rng), self._shuffled(self.unseen, rng)
        heldout = self._deal(seen, sizes.heldout)
        slices = {
            "heldout": heldout,
            "unseen": self._deal({label: unseen[label] or seen[label] for label in self.labels}, sizes.unseen),
        }
        rest = self._shuffled([item for pool in seen.values() for item in pool], random.Random(seed))
        transfer, dev = self._deal(rest, sizes.transfer), self._deal(rest, sizes.dev)
        gold = self._deal(rest, sizes.gold)
        if len(gold) < sizes.gold:
            raise InputError(f"--gold {sizes.gold}: {self.title} has {len(gold)} beside the other splits; give fewer")
        return Splits(gold, dev, transfer, slices)

    def _shuffled(self, items: list[Item], rng: random.Random) -> dict[str, list[Item]]:
        """By label."""
        pools = {label: [item for item in items if item.reference == label] for label in self.labels}
        for pool in pools.values():
            rng.shuffle(pool)
        return pools

    def _deal(self, pools: dict[str, list[Item]], count: int) -> list[Item]:
        """``count`` items taken out of ``pools``, one label after the other; fewer once a label has no more."""
        dealt: list[Item] = []
        while len(dealt) < count and (pool := pools[self.labels[len(dealt) % len(self.labels)]]):
            dealt.append(pool.pop())
        return dealt

    def metrics(self, answer: str, item: Item) -> dict[str, float]:
        """``accuracy``: 1 for the right label. ``label_given``: 1 for any label."""
        label = self._label(answer)
        return {"accuracy": float(label == item.reference), "label_given": float(label in self.labels)}

    def marks(self, answer: str, item: Item) -> Marks:
        """The answer's first word as found or invented; the label, where that is not it."""
        word = _first_word(answer)
        right = self._label(answer) == item.reference
        spans = ((*word.span(), "found" if right else "invented"),) if word else ()
        return Marks(spans, () if right else (item.reference,))

    def _label(self, answer: str) -> str | None:
        """The first word of ``answer``, whatever stands around it, as in ``**Spam.**``; None where there is none."""
        word = _first_word(answer)
        return word.group().lower() if word else None


def _first_word(answer: str) -> re.Match[str] | None:
    return re.search(r"[^\W\d_]+", answer)


def without_near_duplicates(items: Iterable[Item], run: int) -> list[Item]:
    """``items`` but those that share a run of ``run`` words with an earlier one, or are the same words if shorter.

    The criterion by which Brown et al. 2020 (2005.14165, appendix C) keep a test set apart, with 8 to 13 words.
    """
    kept: list[Item] = []
    taken: set[str] = set()
    for item in items:
        words = re.findall(r"\w+", item.prompt.lower())
        runs = {" ".join(words[i : i + run]) for i in range(max(1, len(words) - run + 1))}
        if taken.isdisjoint(runs):
            kept.append(item)
            taken |= runs
    return kept
