"""The clinical notes as a hospital's traffic: some conditions are frequent, the mix drifts, and notes come again.

Gold and hand-made prompts are those of the clinical summaries, where every condition comes alike: that is how somebody
writes examples by hand. What production asks, and the held-out notes, its latest, come in the mix of their day.
"""

from __future__ import annotations

import random
import re
from dataclasses import replace

from . import clinical_vocabulary as words
from .clinical_summary import EVALUATION_SEED, ClinicalSummary, note
from .task import Item, Sizes, Splits

TRAFFIC = 1.5  # requests served before the held-out ones, for each hand-made prompt
AGAIN = 0.2  # of the requests repeat one of the last RECENT: half word for word, half with another number to call
RECENT = 50
# How far, over the whole time, conditions move through the ranks of frequency: 4 of 26, as with the seasons. At 0.5,
# the mix of the whole log is no nearer to that of the latest notes than one in which every condition is alike.
SHIFT = 0.15


class ClinicalProduction(ClinicalSummary):
    """Notes in, one line out, five known facts each; held out is what production asked last."""

    name = "clinical-production"
    title = "Clinical note summarization in production (synthetic notes)"

    def splits(self, sizes: Sizes, seed: int) -> Splits:
        """Draw the notes of one run; the latest are the same for every seed.

        No sentence of a gold, hand-made or served note occurs in a held-out or unseen note.
        """
        drawn = super().splits(sizes, seed)
        latest = [_at(1.0, f"later-{i}", rng) for rng in [random.Random(EVALUATION_SEED)] for i in range(sizes.heldout)]
        slices = {"heldout": latest, "unseen": drawn.slices["unseen"]}
        closed = {sentence for items in slices.values() for item in items for sentence in item.sentences}
        served = _serve(round(TRAFFIC * sizes.transfer), random.Random(f"served {seed}"))
        gold, dev, transfer, served = (
            [item for item in items if closed.isdisjoint(item.sentences)]
            for items in (drawn.gold, drawn.dev, drawn.transfer, served)
        )
        return Splits(gold, dev, transfer, slices, served)


def _serve(count: int, rng: random.Random) -> list[Item]:
    """``count`` requests in order."""
    served: list[Item] = []
    for i in range(count):
        if served and rng.random() < AGAIN:
            served.append(_again(f"served-{i}", rng.choice(served[-RECENT:]), rng))
        else:
            served.append(_at(i / count, f"served-{i}", rng))
    return served


def mix(when: float) -> list[float]:
    """How often each of the seen conditions comes at the time ``when``: by Zipf's law of its rank, and ranks move."""
    number = len(words.SEEN)
    return [1 / (1 + (i - when * SHIFT * number) % number) for i in range(number)]


def _at(when: float, identifier: str, rng: random.Random) -> Item:
    """A note of the time ``when``, from 0 to 1."""
    [condition] = rng.choices(words.SEEN, mix(when))
    return note(identifier, rng, condition)


def _again(identifier: str, item: Item, rng: random.Random) -> Item:
    """``item`` sent once more, as it was or with another number in its last sentence, which is the one to call."""
    if rng.random() < 0.5:
        return replace(item, id=identifier)
    *sentences, plan = item.sentences
    sentences.append(re.sub(r"\b\d{4}\b", str(rng.randint(1000, 9899)), plan))
    return replace(item, id=identifier, prompt=" ".join(sentences), sentences=tuple(sentences))
