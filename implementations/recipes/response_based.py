"""Response-based distillation: https://distillation-patterns.github.io/patterns/response-based.html

The student learns the teacher's whole distribution over the next token, not only the token that the teacher chose:
soft labels at a temperature (Hinton et al. 2015, 1503.02531, sec. 2).

    distill run response-based                                # embedded teacher, 48 gold summaries
    distill run response-based --prompts notes.jsonl --instruction "Summarize."   # your own prompts
    distill run response-based --teacher claude:MODEL --budget-usd 5              # bridged by an open assistant
    distill run response-based --smoke                        # the same code, shrunk to a minute

The story is the one of sequence-level distillation, and so is the transfer set. What is new is the loss,

    alpha · CE(the teacher's answer) + (1 − alpha) · T² · KL(teacher ‖ student)

at every token of the answer. It needs the teacher's logits. Where a platform gives text alone, its answers tune an
open model on this machine, and this assistant gives them (Mirzadeh et al., 1902.03393). There are two controls, from
the same start and for the same steps: the student on the gold alone, which says whether to distil at all, and the
student on the same answers with hard labels alone, which says whether the soft ones add anything.
"""

from __future__ import annotations

from ..record import ArmKind
from ..transfer.config import Loss
from .arms import Arms, Lesson, Outcome, Setup, Simpler

SIMPLER = Simpler("sequence-level", "Student on the teacher's text alone")
LOSS = Loss(alpha=0.5, temperature=1.0)  # equal shares; the temperature at which the teacher wrote its answers


def run(setup: Setup) -> Outcome:
    """Run every arm for every seed. Raises InputError, with everything earned kept, when answers are missing."""
    arms = Arms(setup, SIMPLER)
    for _ in arms.seeds():
        # 1. See what the teacher knows, and teach it the task from the few answers that experts wrote.
        teacher = arms.tuned_teacher()

        # 2. Let it answer the prompts that nobody answered.
        transfer = arms.transfer_set(teacher)

        # 3. Who gives the distribution: the teacher itself, or an assistant that learnt to answer like it.
        gives = teacher if teacher.folder else arms.assistant(transfer)

        # 4. Train the student on answers and distributions, and its two controls: same start, same steps.
        student = arms.students(
            {
                ArmKind.STUDENT_GOLD: Lesson(arms.gold),
                ArmKind.STUDENT_SIMPLER: Lesson(transfer),
                ArmKind.STUDENT_DISTILLED: Lesson(transfer, LOSS, gives.folder),
            }
        )
    return arms.outcome(teacher, student)
