"""Sequence-level distillation: https://distillation-patterns.github.io/patterns/sequence-level.html

A teacher writes answers to unlabelled prompts; a student learns to write them (Kim & Rush 2016, 1606.07947, sec. 3.2).

    distill run sequence-level                                # embedded teacher, 48 gold summaries
    distill run sequence-level --gold 400                     # plenty of gold: is the teacher still worth it?
    distill run sequence-level --prompts notes.jsonl --instruction "Summarize."   # your own prompts
    distill run sequence-level --smoke                        # the same code, shrunk to a minute

The story is scarce gold: few answers by experts, many prompts without one. The teacher is tuned on the gold and
answers the rest; the student learns from its answers alone. The control is the same student, from the same start,
for the same steps, trained on the gold alone. If it does as well, the verdict is: do not distil.
"""

from __future__ import annotations

from ..record import ArmKind
from .arms import Arms, Lesson, Outcome, Setup


def run(setup: Setup) -> Outcome:
    """Run every arm for every seed. Raises InputError, with everything earned kept, when answers are missing."""
    arms = Arms(setup)
    for _ in arms.seeds():
        # 1. See what the teacher knows, and teach it the task from the few answers that experts wrote.
        teacher = arms.tuned_teacher()

        # 2. Let it answer the prompts that nobody answered.
        transfer = arms.transfer_set(teacher)

        # 3. Train the student on those answers, and its control on the gold: same start, same steps.
        student = arms.students(
            {
                ArmKind.STUDENT_GOLD: Lesson(arms.gold),
                ArmKind.STUDENT_DISTILLED: Lesson(transfer),
            }
        )
    return arms.outcome(teacher, student)
