"""Tiered serving: https://distillation-patterns.github.io/patterns/tiered-serving.html

The student answers first. Where it is unsure the teacher answers instead (Chen et al. 2023, FrugalGPT, 2305.05176).

    distill run tiered-serving                                # embedded teacher, 48 gold summaries
    distill run tiered-serving --prompts notes.jsonl --instruction "Summarize."   # your own prompts
    distill run tiered-serving --teacher claude:MODEL --budget-usd 5              # a hosted second tier
    distill run tiered-serving --smoke                        # the same code, shrunk to a minute

The pattern trains nothing: the student is that of sequence-level distillation. Its confidence in an answer is the
probability of its least probable token, and a threshold on it passes on the share that you can pay for. The threshold
of each held-out item is read off the other half of the items. There are three controls: the student alone, the teacher
alone, and as many answers passed on at random, which is what a score that knows nothing would do.
"""

from __future__ import annotations

from ..evaluation.cascade import passed_on, passed_on_by_halves
from ..record import ArmKind
from .arms import Arms, Lesson, Outcome, Setup, Simpler

SIMPLER = Simpler("sequence-level", "Student distilled")
SHARE = 0.3  # of the answers that the teacher may give


def run(setup: Setup) -> Outcome:
    """Run every arm for every seed. Raises InputError, with everything earned kept, when answers are missing."""
    arms = Arms(setup, SIMPLER)
    for _ in arms.seeds():
        # 1. Both tiers: the teacher, and the student that sequence-level distillation makes of its answers.
        teacher = arms.tuned_teacher()
        transfer = arms.transfer_set(teacher)
        student = arms.students(
            {
                ArmKind.STUDENT_GOLD: Lesson(arms.gold),
                ArmKind.STUDENT_DISTILLED: Lesson(transfer),
            }
        )

        # 2. How sure the student is of each of its answers.
        scores = arms.confidence(student)

        # 3. Pass on what falls under the threshold, and serve the rest.
        fitted = scores["heldout"]
        deferred = {name: passed_on(of_slice, fitted, SHARE) for name, of_slice in scores.items()}
        deferred["heldout"] = passed_on_by_halves(fitted, SHARE)
        arms.cascade(scores, deferred)
    return arms.outcome(teacher, student)
