"""A cascade: the student answers, and what it is least sure of is passed on to the teacher.

Confidence and quality are matrices (S, N): a row for each seed, a column for each item.
"""

from __future__ import annotations

import numpy as np

from ..record import ArmKind, Cascade, Deferral
from ..teachers.teacher import Answer
from . import statistics
from .measure import Scoreboard

SCORE = "the probability of the least probable token of the answer"
SHARES = np.linspace(0, 1, 11)  # of the curve


def confidence(answer: Answer) -> float:
    """The lowest log-probability among the tokens that were chosen; −inf for an answer without any.

    A sum over the tokens would let the length of the answer decide (Gupta et al. 2024, 2404.10136, abstract).
    """
    return min((first for (_, first), *_ in answer.top_logprobs or ()), default=-np.inf)


def passed_on(scores: np.ndarray, fitted: np.ndarray, share: float) -> np.ndarray:
    """Which of ``scores`` lie under the threshold that passes on ``share`` of ``fitted``: what service would do."""
    # One of the values, not a mean of two: there is none with −inf.
    return scores < np.quantile(fitted, share, method="higher")


def passed_on_by_halves(scores: np.ndarray, share: float) -> np.ndarray:
    """The same where there are no other items to fit the threshold on: that of each half is read off the other half."""
    deferred = np.zeros(len(scores), bool)
    deferred[::2] = passed_on(scores[::2], scores[1::2], share)
    deferred[1::2] = passed_on(scores[1::2], scores[::2], share)
    return deferred


def measure(board: Scoreboard, scores: dict[str, list[list[float]]], deferred: dict[str, list[list[bool]]]) -> Cascade:
    """What the cascade of ``board`` is worth. ``scores`` and ``deferred`` are by slice, then (S, N) as lists."""
    primary = board.task.primary
    student = board.matrix[ArmKind.STUDENT_DISTILLED, "heldout", primary]
    teacher = board.matrix[board.reference, "heldout", primary]
    whole = board.matrix[ArmKind.CASCADE, "heldout", primary]
    shares = {name: np.array(marks, float) for name, marks in deferred.items()}
    chance = shares["heldout"].mean(axis=1, keepdims=True)  # of each seed
    return Cascade(
        score=SCORE,
        deferred={name: statistics.mean(marks) for name, marks in shares.items()},
        added=statistics.difference(whole, chance * teacher + (1 - chance) * student),
        curve=[_point(np.array(scores["heldout"]), student, teacher, share) for share in SHARES],
    )


def _point(scores: np.ndarray, student: np.ndarray, teacher: np.ndarray, share: float) -> Deferral:
    count = round(share * scores.shape[1])
    ranks = scores.argsort(axis=1, kind="stable").argsort(axis=1)
    chance = count / scores.shape[1]
    return Deferral(
        share=round(chance, 4),
        quality=statistics.mean(np.where(ranks < count, teacher, student)),
        at_random=statistics.mean(chance * teacher + (1 - chance) * student),
    )
