"""The contenders of a run, and the steps that every recipe takes with them: train, ask, evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from ..evaluation.measure import ArmAnswers
from ..record import ArmKind
from ..tasks.task import Item, Splits, Task
from ..teachers.collect import Collected
from ..teachers.teacher import Request, Teacher
from ..transfer.config import TrainConfig

if TYPE_CHECKING:  # it loads torch, and a plan reads a recipe's settings without
    from ..workspace import Pairs, Workspace

TITLES = {
    ArmKind.TEACHER_SHIPPED: "Teacher as shipped",
    ArmKind.TEACHER_TUNED: "Teacher tuned on the gold",
    ArmKind.STUDENT_BEFORE: "Student before training",
    ArmKind.STUDENT_GOLD: "Student on the gold alone",
    ArmKind.STUDENT_DISTILLED: "Student distilled",
}
STAGES = {
    ArmKind.TEACHER_TUNED: "tune the teacher",
    ArmKind.STUDENT_GOLD: "train the student on the gold",
    ArmKind.STUDENT_DISTILLED: "distil the student",
}


class Arms:
    """The contenders, step by step: each step shows its bar, and its seconds are counted once, whoever repeats it."""

    def __init__(self, work: Workspace, task: Task):
        self.work, self.task = work, task
        self.of: dict[ArmKind, ArmAnswers] = {}
        self.seconds: dict[str, float] = {}
        self._counted: set[tuple[str, str]] = set()

    def open(self, splits: Splits, suffix: str) -> None:
        """Begin the next seed. Raises InputError when it has nothing to learn from."""
        self.splits, self.suffix = splits, suffix
        for name, items in {"gold": splits.gold, "transfer": splits.transfer, **splits.slices}.items():
            if not items:
                raise InputError(f"{self.task.title}: no items left for {name}; give more, and different, prompts")

    def train(self, kind: ArmKind, title: str, start: Path, pairs: Pairs, config: TrainConfig) -> Path:
        """Train the arm of ``kind`` from ``start``; the trained model's folder."""
        folder, curve = self.work.train(title + self.suffix, start, self.task.instruction, pairs, config)
        self._arm(kind).training.append(curve)
        self.count(STAGES[kind], str(folder), curve.seconds)
        return folder

    def evaluate(self, kind: ArmKind, model: Teacher) -> None:
        """Ask the arm about every held-out item. Raises InputError when the arm has not answered all of them."""
        items = [item for slice_items in self.splits.slices.values() for item in slice_items]
        collected = self.ask(f"Evaluate: {TITLES[kind].lower()}", model, items, "evaluate")
        if collected.why_pending:
            raise InputError(collected.why_pending)
        texts = iter(collected.answers)
        for name, slice_items in self.splits.slices.items():
            self._arm(kind).answers.setdefault(name, []).append([next(texts).text for _ in slice_items])

    def ask(self, title: str, model: Teacher, items: list[Item], stage: str = "ask the teacher") -> Collected:
        requests = [Request(self.task.instruction, item.prompt, self.task.max_new_tokens) for item in items]
        collected = self.work.ask(title + self.suffix, model, requests)
        for request, answer in zip(requests, collected.answers, strict=True):
            self.count(stage, request.key(model.identity), answer.seconds)
        return collected

    def _arm(self, kind: ArmKind) -> ArmAnswers:
        return self.of.setdefault(kind, ArmAnswers(kind, TITLES[kind], kind.value.partition("_")[0]))

    def count(self, stage: str, what: str, seconds: float) -> None:
        """Add ``seconds`` to ``stage`` unless ``what`` was counted there before."""
        if (stage, what) not in self._counted:
            self._counted.add((stage, what))
            self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds
