"""Multi-teacher distillation: https://distillation-patterns.github.io/patterns/multi-teacher.html

Several teachers answer, each counts as much as its measured competence, and one student learns from the result (You et
al. 2017, "Learning from Multiple Teacher Networks", averaged networks; texts of teachers on any platform are chosen
from, see teachers/committee.py).

    distill run multi-teacher --teacher claude:MODEL --teacher ollama:MODEL --teacher local
    distill run multi-teacher                                 # a committee out of the embedded teacher
    distill run multi-teacher --teacher claude:MODEL          # and the embedded teacher completes it
    distill run multi-teacher --smoke                         # the same code, shrunk to a minute

A teacher behind a platform sits in the committee as it is. One whose weights are here sits there three times: tuned on
the one half of the gold, on the other half, and as shipped. So each is scored on gold that it was not tuned on, and
one is bad: as shipped, the embedded teacher misses or garbles most facts. Of two the heavier would always win, so
fewer than three teachers behind platforms are joined by an open one, the embedded or --assistant.

The student learns, for each prompt, the answer that the weighted vote takes. There are three controls, from the same
start and for the same steps: the student on the gold alone, on the answers of the best teacher alone, and on those
that an equal vote takes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..evaluation import statistics
from ..record import ArmKind, Member
from ..tasks.task import Item, Task
from ..teachers import committee
from ..teachers.teacher import Teacher
from .arms import Arms, Lesson, Outcome, Setup, Simpler

SIMPLER = Simpler("sequence-level", "Student on the best teacher's text alone")


@dataclass
class Tally:
    """What one seat of the committee did in each seed: scores on gold and held-out items, its share of the vote, and
    the share of the transfer set that it won."""

    name: str
    competence: list[list[float]] = field(default_factory=list)
    heldout: list[list[float]] = field(default_factory=list)
    votes: list[float] = field(default_factory=list)
    won: list[float] = field(default_factory=list)

    def member(self) -> Member:
        """Over all seeds. A teacher that answered no gold has no competence."""
        pooled = [score for scores in self.competence for score in scores]
        return Member(
            name=self.name,
            competence=statistics.mean(np.array([pooled])) if pooled else None,
            weight=sum(self.votes) / len(self.votes),
            won=sum(self.won) / len(self.won),
            heldout=statistics.mean(np.array(self.heldout)),
        )


def run(setup: Setup) -> Outcome:
    """Run every arm for every seed. Raises InputError, with everything earned kept, when answers are missing."""
    arms, task = Arms(setup, SIMPLER), setup.task
    tallies: list[Tally] = []
    for splits in arms.seeds():
        # 1. Seat the committee, and score each member on gold that it was not tuned on. That gives it its vote.
        seats = _seats(arms)
        scores = [_scores(task, [a.text for a in arms.collect(f"Score {m.name}", m, gold)], gold) for m, gold in seats]
        votes = committee.weights(scores, _guesses(task, splits.gold))
        equal = [1 / len(seats)] * len(seats)

        # 2. Let all of them answer the prompts that nobody answered. Who has no whole answer to one abstains there.
        answers = [arms.collect(f"Ask {member.name}", member, splits.transfer) for member, _ in seats]
        whole = [[a.text if arms.learnable(a) else "" for a in own] for own in answers]
        weighted, uniform = (committee.elect(whole, share) for share in (votes, equal))
        best = max(range(len(seats)), key=lambda i: (any(whole[i]), votes[i]))

        # 3. See what the committee is worth beside its best member, on held-out items.
        heldout = [arms.heldout(member.name, member) for member, _ in seats]
        arms.enter(ArmKind.TEACHER_BEST, heldout[best])
        arms.enter(ArmKind.TEACHER_COMMITTEE, _taken(heldout, committee.elect(heldout, votes)))

        # 4. Train the student on what the vote takes, and its three controls: same start, same steps.
        student = arms.students(
            {
                ArmKind.STUDENT_GOLD: Lesson(arms.gold),
                ArmKind.STUDENT_SIMPLER: Lesson(arms.pairs(answers[best])),
                ArmKind.STUDENT_UNIFORM: Lesson(arms.lesson(_taken(answers, uniform), "committee")),
                ArmKind.STUDENT_DISTILLED: Lesson(arms.lesson(_taken(answers, weighted), "committee")),
            }
        )

        tallies = tallies or [Tally(member.name) for member, _ in seats]
        first = next(iter(splits.slices.values()))
        for i, tally in enumerate(tallies):
            tally.competence.append(scores[i])
            tally.heldout.append(_scores(task, heldout[i][: len(first)], first, abstained=0.0))
            tally.votes.append(votes[i])
            tally.won.append(weighted.count(i) / len(weighted))
    return arms.outcome(None, student, [tally.member() for tally in tallies])


def _seats(arms: Arms) -> list[tuple[Teacher, list[Item]]]:
    """Who sits in the committee, each with the gold that it was not tuned on."""
    gold, config = arms.splits.gold, arms.setup.teacher_training
    one, other = gold[::2], gold[1::2]
    seats = []
    for teacher in (arms.setup.teacher, *arms.setup.others):
        for which, half, rest in (("one", one, other), ("the other", other, one)) if teacher.folder else ():
            title = f"Tune {teacher.name} on {which} half of the gold"
            name = f"{teacher.name}, tuned on {which} half of the gold"
            pairs = [(item.prompt, item.reference or "") for item in half]
            seats.append((arms.tune(ArmKind.TEACHER_COMMITTEE, title, teacher.folder, pairs, config, name), rest))
        seats.append((teacher, gold))
    return seats


def _taken(answers: list[list[Any]], elected: list[int | None]) -> list[Any]:
    """For each prompt the answer of the member elected; where all abstained, the first's, which is none."""
    return [answers[member or 0][n] for n, member in enumerate(elected)]


def _scores(task: Task, texts: list[str], items: list[Item], abstained: float | None = None) -> list[float]:
    """The primary metric of each answer; an empty one is not scored, or scored ``abstained``."""
    scores = [
        task.metrics(text, item)[task.primary] if text else abstained for text, item in zip(texts, items, strict=True)
    ]
    return [score for score in scores if score is not None]


def _guesses(task: Task, gold: list[Item]) -> list[float]:
    """What an expert's answer to another prompt scores: an answer in the right form that knows nothing."""
    others = gold[1:] + gold[:1]
    return _scores(task, [other.reference or "" for other in others], gold)
