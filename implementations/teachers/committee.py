"""A committee of teachers: how much each counts, and which of their answers is taken.

Texts cannot be averaged, so one of them is chosen, by minimum Bayes risk: the one that agrees most with all of them
(Kumar & Byrne 2004, "Minimum Bayes-Risk Decoding for Statistical Machine Translation"; over the answers of a crowd:
Suzgun et al. 2023, 2211.07634). Where answers are labels, that is a weighted vote.

The weight of a vote is its log-odds of being right, which is optimal for independent voters of known competence
(Nitzan & Paroush 1982; with competence estimated from a sample: Berend & Kontorovich 2014, 1312.0451). Among more than
two answers the odds are those against a blind guess (Zhu et al. 2009, "Multi-class AdaBoost", whose log(K − 1) that is
for K answers). A score in [0, 1] stands for the probability of being right.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..tasks.task import rouge_l

LEAST = 3  # of two the heavier would always win


def weights(scores: Sequence[Sequence[float]], guess: Sequence[float]) -> list[float]:
    """Each member's share of the vote, which add up to 1.

    ``scores`` are in [0, 1], one for each gold answer of each member, and ``guess`` those of answers that know nothing
    of their prompt. Who is no better than that has no vote; where nobody is, all have the same. Each is taken to have
    guessed once more, so that few scores count for less, and those that are all 1 for no infinite odds.
    """
    chance = (sum(guess) + 1) / (len(guess) + 2)  # Laplace's rule of succession: neither 0 nor 1
    right = [(sum(own) + chance) / (len(own) + 1) for own in scores]
    above = [max(0.0, _log_odds(p) - _log_odds(chance)) for p in right]
    total = sum(above)
    return [w / total for w in above] if total else [1 / len(scores)] * len(scores)


def _log_odds(p: float) -> float:
    return math.log(p / (1 - p))


def choose(answers: Sequence[str], votes: Sequence[float]) -> int | None:
    """The index of the answer with the highest weighted mean agreement (ROUGE-L) with all answers, its own included.

    An empty answer abstains; None when all do. Of equals, that of the heavier member is taken, then the first.
    """
    cast = [i for i, answer in enumerate(answers) if answer]

    def agreement(i: int) -> float:
        return sum(votes[j] * (1.0 if answers[j] == answers[i] else rouge_l(answers[j], answers[i])) for j in cast)

    return max(cast, key=lambda i: (agreement(i), votes[i]), default=None)


def elect(answers: Sequence[Sequence[str]], votes: Sequence[float]) -> list[int | None]:
    """`choose` for every prompt: ``answers`` holds one list a member, in the order of the prompts."""
    return [choose(row, votes) for row in zip(*answers, strict=True)]
