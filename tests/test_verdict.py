"""What a run concludes from its arms."""

from __future__ import annotations

import random

import pytest

from implementations.evaluation.measure import Added, ArmAnswers, Scoreboard, verdict
from implementations.record import ArmKind, Decision
from implementations.tasks.task import Item


class Scored:
    """A task whose answers are their own scores."""

    primary = "fact_f1"

    def metrics(self, answer: str, item: Item) -> dict[str, float]:
        return {"fact_f1": float(answer)}


def board(**levels: float) -> Scoreboard:
    """Arms that score around ``levels`` on 60 items with three seeds, ± 0.05."""
    arms = []
    for number, (kind, level) in enumerate(levels.items()):
        rng = random.Random(number)
        answers = [[f"{level + rng.uniform(-0.05, 0.05):.3f}" for _ in range(60)] for _ in range(3)]
        arms.append(ArmAnswers(ArmKind(kind), kind, "student", {"heldout": answers}))
    items = {"heldout": [Item(str(i), "") for i in range(60)]}
    return Scoreboard(Scored(), items, arms, ArmKind.TEACHER_TUNED)


@pytest.mark.parametrize(
    "distilled, simpler, decision, why",
    [
        (0.8, None, Decision.DISTIL, "answers are worth having"),
        (0.8, 0.6, Decision.DISTIL, "What this pattern adds is worth having"),
        (0.8, 0.8, Decision.SIMPLER, "adds to sequence-level cannot be seen"),
        (0.7, 0.8, Decision.SIMPLER, "adds to sequence-level cannot be seen"),
        (0.5, 0.3, Decision.DO_NOT_DISTIL, "do not carry that over"),
        (0.52, 0.3, Decision.UNSURE, "covers the margin"),
    ],
)
def test_the_verdict_weighs_both_controls(distilled, simpler, decision, why):
    levels = {"teacher_tuned": 0.9, "student_gold": 0.5, "student_distilled": distilled}
    if simpler is None:
        found = verdict(board(**levels))
    else:
        scored = board(**levels, student_simpler=simpler)
        added = scored.compare(ArmKind.STUDENT_DISTILLED, ArmKind.STUDENT_SIMPLER).difference
        found = verdict(scored, Added("sequence-level", added))
    assert found.decision is decision and why in found.reason


def test_a_teacher_that_does_not_lead_has_nothing_to_teach():
    found = verdict(board(teacher_tuned=0.5, student_gold=0.5, student_distilled=0.5))
    assert found.decision is Decision.DO_NOT_DISTIL and "nothing measurable to teach" in found.reason
