"""What the task is, from the references: a fixed set of labels, one narrow kind of text, anything, or a simple rule.

Where the lines are drawn is ours; the figures are shown, and --given task_shape=… overrules them.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from ..evaluation import statistics
from ..figures import number
from ..record import Estimate
from ..tasks.task import Item, rouge_l
from .model import Case, Measured, proportion, shares
from .similarity import Space, plain, sample

FEWEST = 8  # references below which nothing is said
NEW = 0.2  # of the next answers that nobody has written before: below it the answers are a fixed set
SIMPLE = 0.9  # ROUGE-L with the reference that the nearest other row's, or a piece of the prompt, reaches
NARROW, BROAD = 4, 10  # times as long as the short answers (10th percentile) that the long ones (90th) are
RESAMPLES = 1000


def shape(case: Case) -> Measured:
    """The values of task_shape that the references leave."""
    gold = sample(case.gold)
    if len(gold) < FEWEST:
        return Measured(
            dimension="task_shape",
            values=["narrow_text", "fixed_labels", "broad", "simple"],
            what=f"{len(gold)} references; {FEWEST} at least tell something",
            source=f"{case.prompts}",
            mend="give more rows with a reference, or say --given task_shape=…",
        )
    references = [plain(item.reference or "") for item in gold]
    new, rule, spread = _new(references), _rule(gold), _spread(references)
    values = [value for value, possible in _possible(new, rule, spread).items() if possible]
    return Measured(
        dimension="task_shape",
        values=values,
        what=f"the next answer is a new one in {shares(new)} of cases; without any model, the nearest other row's "
        f"answer or a copy from the prompt scores {shares(rule)} in ROUGE-L; long answers have "
        f"{number(spread.value)} ({number(spread.low)} – {number(spread.high)}) times the words of short ones",
        estimate=new,
        source=f"{len(gold)} references of {case.prompts}",
        mend="" if len(values) == 1 else "more rows with a reference, or say --given task_shape=…",
    )


def _possible(new: Estimate, rule: Estimate, spread: Estimate) -> dict[str, bool]:
    """A rule that does it decides; then a fixed set of answers; then how much their lengths differ."""
    simple, maybe_simple = rule.low >= SIMPLE, rule.high >= SIMPLE
    labels, maybe_labels = not simple and new.high <= NEW, not simple and new.low <= NEW
    text = not simple and not labels
    return {
        "narrow_text": text and spread.low <= BROAD,
        "fixed_labels": maybe_labels,
        "broad": text and spread.high > NARROW,
        "simple": maybe_simple,
    }


def _new(references: list[str]) -> Estimate:
    """The chance that the next answer is none of these: the share that stands there once (Good 1953, Biometrika 40)."""
    return proportion(list(Counter(references).values()).count(1), len(references))


def _rule(gold: list[Item]) -> Estimate:
    """What no model at all would score: the reference of the nearest other row, or the best copy from the prompt."""
    neighbours = Space([item.prompt for item in gold]).neighbours()
    scores = [
        max(rouge_l(item.reference or "", gold[other].reference or ""), _copied(item))
        for item, other in zip(gold, neighbours, strict=True)
    ]
    return statistics.mean(np.array([scores]))


def _copied(item: Item) -> float:
    """Whether the reference stands in the prompt as it is."""
    return float(plain(item.reference or "") in plain(item.prompt))


def _spread(references: list[str]) -> Estimate:
    """The 90th percentile of the answers' words over the 10th, with a bootstrap interval."""
    words = np.array([max(1, len(text.split())) for text in references])
    drawn = np.random.default_rng(0).choice(words, (RESAMPLES, len(words)))

    def ratio(lengths: np.ndarray) -> np.ndarray:
        short, long = np.quantile(lengths, [0.1, 0.9], axis=-1)
        return long / short

    low, high = np.quantile(ratio(drawn), [0.025, 0.975])
    return Estimate(value=float(ratio(words)), low=float(low), high=float(high), n=len(words))
