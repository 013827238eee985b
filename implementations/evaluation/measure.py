"""Scores of every arm on the same held-out items, and what they say."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..figures import metric_title, points
from ..record import Arm, ArmKind, Comparison, Curve, Decision, Estimate, Verdict
from ..tasks.task import Item, Task, rouge_l
from . import statistics

MARGIN = 0.02  # a difference of the primary metric smaller than this decides nothing


@dataclass
class ArmAnswers:
    """One contender's answers: ``answers[slice][seed][item]``, and the trainings behind them, one a seed."""

    kind: ArmKind
    title: str
    model: str
    answers: dict[str, list[list[str]]] = field(default_factory=dict)
    training: list[Curve] = field(default_factory=list)


class Scoreboard:
    """The metrics of all arms as matrices (seeds, items), from which every figure of the record is drawn."""

    def __init__(
        self,
        task: Task,
        slices: dict[str, list[Item]],
        arms: list[ArmAnswers],
        reference: ArmKind,
    ):
        self.task, self.slices, self.arms = task, slices, {arm.kind: arm for arm in arms}
        self.reference = reference
        self.matrix: dict[tuple[ArmKind, str, str], np.ndarray] = {}
        for arm in arms:
            for name, items in slices.items():
                teacher = self.arms[self.reference].answers[name]
                scored = [
                    [
                        task.metrics(answer, item) | {"rouge_l_to_teacher": rouge_l(taught, answer)}
                        for answer, taught, item in zip(answers, taughts, items, strict=True)
                    ]
                    for answers, taughts in zip(arm.answers[name], teacher, strict=True)
                ]
                for metric in scored[0][0]:
                    values = np.array([[s[metric] for s in row] for row in scored])
                    self.matrix[arm.kind, name, metric] = values

    def arm(self, kind: ArmKind) -> Arm:
        """The arm as the record shows it: every metric of every slice with its interval."""
        arm = self.arms[kind]
        metrics: dict[str, dict[str, Estimate]] = {name: {} for name in self.slices}
        for (owner, name, metric), values in self.matrix.items():
            if owner == kind:
                metrics[name][metric] = statistics.mean(values)
        return Arm(kind=kind, title=arm.title, model=arm.model, metrics=metrics, training=arm.training)

    def compare(self, a: ArmKind, b: ArmKind, name: str = "heldout") -> Comparison:
        """``a`` − ``b`` in the primary metric."""
        metric = self.task.primary
        difference = statistics.difference(self.matrix[a, name, metric], self.matrix[b, name, metric])
        return Comparison(a=a, b=b, slice=name, metric=metric, difference=difference)

    def retention(self, name: str = "heldout") -> Estimate:
        """Distilled student over the teacher it learnt from, primary metric."""
        student = self.matrix[ArmKind.STUDENT_DISTILLED, name, self.task.primary]
        return statistics.ratio(student, self.matrix[self.reference, name, self.task.primary])


@dataclass(frozen=True)
class Added:
    """What a pattern adds to a simpler one: a difference of the primary metric, and what it is of."""

    to: str
    difference: Estimate
    what: str = "Distilled minus the same student by the simpler pattern"


def verdict(board: Scoreboard, added: Added | None = None) -> Verdict:
    """Is the teacher worth it, and is this pattern?

    Decided on the distilled student against the same student trained on the gold alone: do not distil when the whole
    interval of the difference lies below ``MARGIN``, and "unsure" when it covers it. Where it lies above, the answer
    is "distil", or to take the simpler pattern when what this one ``added`` to it is not measurably above nothing.
    """
    gain = board.compare(ArmKind.STUDENT_DISTILLED, ArmKind.STUDENT_GOLD).difference
    against = f"{metric_title(board.task.primary)}, distilled minus gold alone: {_points(gain)}."
    if gain.high <= MARGIN:
        return Verdict(decision=Decision.DO_NOT_DISTIL, reason=f"{against} {_why_not(board)}")
    if gain.low <= MARGIN:
        more = "run more seeds or keep more items held out."
        return Verdict(
            decision=Decision.UNSURE, reason=f"{against} The interval covers the margin of {points(MARGIN)}; {more}"
        )
    if added is None:
        return Verdict(decision=Decision.DISTIL, reason=f"{against} The teacher's answers are worth having.")
    against += f" {added.what} ({added.to}): {_points(added.difference)}."
    if added.difference.low > 0:
        return Verdict(decision=Decision.DISTIL, reason=f"{against} What this pattern adds is worth having.")
    return Verdict(
        decision=Decision.SIMPLER,
        reason=f"{against} Distil, but what this pattern adds to {added.to} cannot be seen here.",
    )


def _why_not(board: Scoreboard) -> str:
    lead = board.compare(board.reference, ArmKind.STUDENT_GOLD).difference
    said = f"Teacher minus gold alone: {_points(lead)}; "
    if lead.low <= 0:
        return f"{said}it has nothing measurable to teach."
    return f"{said}its answers do not carry that over: try more of them, more steps or more layers."


def _points(estimate: Estimate) -> str:
    low, high = (points(end).removesuffix(" points") for end in (estimate.low, estimate.high))
    return f"{points(estimate.value)} with a 95% interval from {low} to {high}"
