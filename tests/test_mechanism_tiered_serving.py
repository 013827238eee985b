"""Tiered serving: does the student's confidence tell which answers to pass on?"""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
from mechanism import SEEDS, show

from implementations.evaluation.cascade import confidence, measure, passed_on_by_halves
from implementations.evaluation.measure import ArmAnswers, Scoreboard
from implementations.record import ArmKind
from implementations.tasks.task import Item
from implementations.teachers.local import LocalTeacher, load
from implementations.teachers.teacher import Request
from implementations.transfer import students
from implementations.transfer.chat import row
from implementations.transfer.config import TrainConfig
from implementations.transfer.trainer import train


class Exact:
    """A task of one right answer each."""

    primary = "right"

    def metrics(self, answer: str, item: Item) -> dict[str, float]:
        return {"right": float(answer == item.reference)}


def test_tiered_serving(tiny, tmp_path):
    """The cascade at its cost, against as many answers passed on at random and against either model alone.

    Forty questions, of which the student saw some often and some hardly; a teacher that saw all of them often. In
    earlier forms of this test the student saw so little that it was hardly ever right, so that no score could tell.
    """
    rng = random.Random(0)
    words = "fever cough pain rash ankle wrist aspirin rest fluids ice clinic home".split()
    items = [Item(str(i), f"case {i}", " ".join(rng.sample(words, 2))) for i in range(40)]
    rng.shuffle(items)  # halves must not differ in how often they were seen
    scores, deferred, answers = [], [], {kind: [] for kind in (ArmKind.TEACHER_TUNED, ArmKind.STUDENT_DISTILLED)}
    teacher = answer(fit(tiny, tmp_path / "teacher", items * 80, 400, 0), items)
    for seed in range(SEEDS):
        often = random.Random(seed).choices(items, [1 / (1 + int(item.id)) for item in items], k=2000)
        student = answer(fit(tiny, tmp_path / f"student-{seed}", often, 250, seed), items)
        sure = np.array([confidence(a) for a in student])
        scores.append(sure.tolist())
        deferred.append(passed_on_by_halves(sure, 0.3).tolist())
        answers[ArmKind.TEACHER_TUNED].append([a.text for a in teacher])
        answers[ArmKind.STUDENT_DISTILLED].append([a.text for a in student])
    marks = np.array(deferred)
    answers[ArmKind.CASCADE] = np.where(marks, *(np.array(texts) for texts in answers.values())).tolist()
    arms = [ArmAnswers(kind, kind, "", {"heldout": texts}) for kind, texts in answers.items()]
    board = Scoreboard(Exact(), {"heldout": items}, arms, ArmKind.TEACHER_TUNED)
    found = measure(board, {"heldout": scores}, {"heldout": deferred})
    alone = board.compare(ArmKind.CASCADE, ArmKind.STUDENT_DISTILLED).difference
    behind = board.compare(ArmKind.CASCADE, ArmKind.TEACHER_TUNED).difference
    show(f"tiered-serving: {found.deferred['heldout'].value:.0%} passed on, minus as many at random", found.added)
    show("tiered-serving: cascade minus student alone", alone)
    show("tiered-serving: cascade minus teacher alone", behind)
    # What passing on buys is plain; that the score knows which to pass on is within the noise at this size.
    assert alone.low > 0 and found.added.high > 0


def fit(start: Path, folder: Path, items: list[Item], steps: int, seed: int) -> Path:
    """Two layers of the tiny model, trained on ``items``; the folder it is in."""
    model, tokenizer = load(start, "cpu", "float32")
    rows = [row(tokenizer, "", item.prompt, item.reference) for item in items]
    config = TrainConfig(steps=steps, learning_rate=5e-3, batch=8, seed=seed)
    train(students.cut(model, 2), tokenizer, rows, config, folder)
    return folder / "model"


def answer(folder: Path, items: list[Item]) -> list:
    requests = [Request("", item.prompt, 8, top_logprobs=1) for item in items]
    found = {i: a for group in LocalTeacher(folder, "", "cpu").answer(requests) for i, a in group}
    return [found[i] for i in range(len(items))]
