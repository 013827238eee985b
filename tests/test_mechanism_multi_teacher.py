"""Multi-teacher: do weights from measured competence choose better answers than an equal vote, or one teacher?"""

from __future__ import annotations

import random

import numpy as np
import pytest
from mechanism import show

from implementations.evaluation import statistics
from implementations.tasks.clinical_summary import ClinicalSummary
from implementations.tasks.task import Item, Sizes, rouge_l
from implementations.teachers import committee


def stated(item: Item, wrong: Item, right: float, rng: random.Random) -> str:
    """The reference with each of its facts kept with probability ``right``, else taken from ``wrong``."""
    text = item.reference
    for kind, fact in item.facts.items():
        if rng.random() >= right:
            text = text.replace(fact, wrong.facts[kind])
    return text


# How often each of four teachers states a fact rightly; the bad ones read the same wrong note, so their errors agree.
TEACHERS = {"one of four is bad": (0.85, 0.75, 0.75, 0.3), "two of four are bad": (0.85, 0.75, 0.3, 0.3)}
BAD = 0.5


@pytest.mark.parametrize("case", TEACHERS)
def test_multi_teacher(case):
    """Weighted against equal votes, and both against the best teacher alone: fact F1 and ROUGE-L on 100 prompts.

    Teachers are simulated, so nothing is trained: what is tested is the scoring on 24 gold answers and the choice.
    One bad teacher among four is outvoted without any weights: what they add is within the noise. Two that err alike
    win an equal vote, which is then far worse than the best teacher alone; the weighted one is better than that.
    """
    task, arms = ClinicalSummary(), {"weighted": [], "equal": [], "best": []}
    overlap = {name: [] for name in arms}
    for seed in range(8):
        rng = random.Random(seed)
        splits = task.splits(Sizes(24, 0, 100, 0, 0), seed)
        said = {}
        for name, items in (("gold", splits.gold), ("transfer", splits.transfer)):
            shared = rng.sample(items, len(items))  # the note that the bad ones read instead
            own = [rng.sample(items, len(items)) for _ in TEACHERS[case]]
            said[name] = [
                [stated(i, w, right, rng) for i, w in zip(items, shared if right < BAD else own[t], strict=True)]
                for t, right in enumerate(TEACHERS[case])
            ]

        def scores(answers: list[str], items: list[Item]) -> list[float]:
            return [task.metrics(a, item)["fact_f1"] for a, item in zip(answers, items, strict=True)]

        others = [item.reference for item in splits.gold[1:] + splits.gold[:1]]
        guess = scores(others, splits.gold)
        votes = committee.weights([scores(answers, splits.gold) for answers in said["gold"]], guess)
        best = votes.index(max(votes))
        for name, share in (("weighted", votes), ("equal", [0.25] * 4)):
            elected = committee.elect(said["transfer"], share)
            answers = [said["transfer"][i][n] for n, i in enumerate(elected)]
            arms[name].append(scores(answers, splits.transfer))
            overlap[name].append(_rouge(answers, splits.transfer))
        arms["best"].append(scores(said["transfer"][best], splits.transfer))
        overlap["best"].append(_rouge(said["transfer"][best], splits.transfer))

    effects = {}
    for metric, rows in (("fact F1", arms), ("ROUGE-L", overlap)):
        matrix = {name: np.array(values) for name, values in rows.items()}
        for a, b in (("weighted", "equal"), ("weighted", "best"), ("equal", "best")):
            effects[metric, a, b] = statistics.difference(matrix[a], matrix[b])
            show(f"multi-teacher, {case}: {metric}, {a} minus {b}", effects[metric, a, b])
    for metric in ("fact F1", "ROUGE-L"):
        assert effects[metric, "weighted", "best"].low > 0
        if case == "two of four are bad":
            assert effects[metric, "weighted", "equal"].low > 0 > effects[metric, "equal", "best"].high
        else:
            assert effects[metric, "equal", "best"].low > 0
            assert abs(effects[metric, "weighted", "equal"].value) < 0.01


def _rouge(answers: list[str], items: list[Item]) -> list[float]:
    return [rouge_l(item.reference, a) for a, item in zip(answers, items, strict=True)]
