"""Feature-based distillation: https://distillation-patterns.github.io/patterns/feature-based.html

The student learns the teacher's hidden states beside its outputs: layer by layer, through learned linear projections
(Romero et al. 2015, 1412.6550, sec. 2.2; Jiao et al. 2020, 1909.10351, sec. 3.1).

    distill run feature-based                                # embedded teacher, 48 gold summaries
    distill run feature-based --student PATH                 # of another depth and width, with the same tokenizer
    distill run feature-based --prompts notes.jsonl --instruction "Summarize."   # your own prompts
    distill run feature-based --teacher claude:MODEL --budget-usd 5              # bridged by an open assistant
    distill run feature-based --smoke                        # the same code, shrunk to a minute

The story is the one of response-based distillation, and so are the transfer set and the loss of the outputs. Added is

    λ · Σ_m (1 − cos(W_m · h_student[m], h_teacher[g(m)]))

at every token, those of the prompt too. The map g spreads the teacher's layers evenly over the student's. λ is set
afresh in every step to the ratio of both losses (Muralidharan et al. 2024, 2407.14679, sec. 3). The directions of
states are compared, not their lengths, as by DistilBERT (Sanh et al. 2019, 1910.01108, sec. 2): in many models a
first token's state is far longer than all others (Sun et al. 2024, 2402.17762) and would rule a squared error. The
projections W stay behind when the student is saved.

It needs the teacher's layers. A platform's answers tune an open model on this machine, and this assistant's layers are
learnt (Mirzadeh et al., 1902.03393). There are two controls, from the same start and for the same steps: the student
on the gold alone, which says whether to distil at all, and the student on the same outputs without hidden states,
which says whether those add anything.
"""

from __future__ import annotations

from dataclasses import replace

from ..record import ArmKind
from ..transfer.config import Distance, Features, LayerMap, Loss, Source
from .arms import Arms, Lesson, Outcome, Setup, Simpler

SIMPLER = Simpler("response-based", "Student on the outputs alone")
OUTPUTS = Loss(alpha=0.5, temperature=1.0)  # that of response-based distillation
# A cache of every layer would be some thousand numbers a token: the teacher reads each batch again instead.
LOSS = replace(OUTPUTS, source=Source.LIVE, features=Features(LayerMap.EVEN, Distance.COSINE))


def run(setup: Setup) -> Outcome:
    """Run every arm for every seed. Raises InputError, with everything earned kept, when answers are missing."""
    arms = Arms(setup, SIMPLER)
    for _ in arms.seeds():
        # 1. See what the teacher knows, and teach it the task from the few answers that experts wrote.
        teacher = arms.tuned_teacher()

        # 2. Let it answer the prompts that nobody answered.
        transfer = arms.transfer_set(teacher)

        # 3. Whose layers are learnt: the teacher's, or those of an assistant that learnt to answer like it.
        shows = teacher if teacher.folder else arms.assistant(transfer)

        # 4. Train the student on outputs and hidden states, and its two controls: same start, same steps.
        student = arms.students(
            {
                ArmKind.STUDENT_GOLD: Lesson(arms.gold),
                ArmKind.STUDENT_SIMPLER: Lesson(transfer, OUTPUTS, shows.folder),
                ArmKind.STUDENT_DISTILLED: Lesson(transfer, LOSS, shows.folder),
            }
        )
    return arms.outcome(teacher, student)
