"""On-policy distillation: https://distillation-patterns.github.io/patterns/on-policy.html

The student writes, the teacher says of every token of it how likely it finds each next one, and the student learns
from that (GKD, Agarwal et al. 2024, 2306.13649, alg. 1; reverse divergence as in MiniLLM, Gu et al. 2024, 2306.08543).

    distill run on-policy                                     # embedded teacher, 48 gold summaries
    distill run on-policy --prompts notes.jsonl --instruction "Summarize."        # your own prompts
    distill run on-policy --teacher claude:MODEL --budget-usd 5                   # bridged by an open assistant
    distill run on-policy --smoke                             # the same code, shrunk to a minute

The story is the one of sequence-level distillation, and so is the first half of the training: the teacher's opinion of
a student that cannot write yet would mean little. In the second half the loss is, at every token of what the student
has just written,

    KL(student ‖ teacher)

without a gradient through the writing. It needs the teacher's logits of text that the teacher did not write, in every
step anew. Where a platform gives text alone, its answers tune an open model on this machine, and this assistant gives
them (Mirzadeh et al., 1902.03393). There are two controls for the same number of steps: the student on the gold alone,
which says whether to distil at all, and the same student, halfway, going on with the same loss on the teacher's
answers: all that differs is who wrote the tokens.
"""

from __future__ import annotations

from dataclasses import replace

from ..errors import InputError
from ..record import ArmKind
from ..transfer.config import ONE_PIECE, Divergence, Loss, OnPolicy, Source
from .arms import Arms, Lesson, Outcome, Setup, Simpler

SIMPLER = Simpler("response-based", "Student on the teacher's own answers")
OFF_POLICY = Loss(alpha=0.0, divergence=Divergence.REVERSE_KL, source=Source.LIVE)


def run(setup: Setup) -> Outcome:
    """Run every arm for every seed. Raises InputError, with everything earned kept, when answers are missing."""
    if setup.work.processes and setup.work.processes.config:
        raise InputError(f"--config {setup.work.processes.config}: {ONE_PIECE}")
    on_policy = replace(OFF_POLICY, on_policy=OnPolicy(setup.task.max_new_tokens))
    arms = Arms(setup, SIMPLER)
    for _ in arms.seeds():
        # 1. See what the teacher knows, and teach it the task from the few answers that experts wrote.
        teacher = arms.tuned_teacher()

        # 2. Let it answer the prompts that nobody answered, and the student learn from that for half of its steps.
        transfer = arms.transfer_set(teacher)
        start = arms.begun(Lesson(transfer))

        # 3. Who reads what the student writes: the teacher itself, or an assistant that learnt to answer like it.
        reads = teacher if teacher.folder else arms.assistant(transfer)

        # 4. Go on for the other half, on the student's own text and, as its control, on the teacher's.
        student = arms.students(
            {
                ArmKind.STUDENT_GOLD: Lesson(arms.gold),
                ArmKind.STUDENT_SIMPLER: Lesson(transfer, OFF_POLICY, reads.folder, start),
                ArmKind.STUDENT_DISTILLED: Lesson(transfer, on_policy, reads.folder, start),
            }
        )
    return arms.outcome(teacher, student)
