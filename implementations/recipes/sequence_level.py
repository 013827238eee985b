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

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from ..evaluation.measure import ArmAnswers
from ..record import ArmKind, Collection, Tuning
from ..tasks.task import Item, Sizes, Task
from ..teachers.collect import Collected
from ..teachers.teacher import Kind, Teacher
from ..transfer.config import TrainConfig
from .arms import TITLES, Arms

if TYPE_CHECKING:  # it loads torch, and a plan reads the settings below without
    from ..workspace import Pairs, Workspace

SIZES = Sizes(gold=48, dev=0, transfer=240, heldout=48, unseen=24)
SMOKE_SIZES = Sizes(gold=4, dev=0, transfer=8, heldout=2, unseen=2)
STUDENT_LAYERS = "10"  # every third of the default teacher's 30
TEACHER_TRAINING = TrainConfig(steps=24, learning_rate=3e-4, batch=4)
STUDENT_TRAINING = TrainConfig(steps=116, learning_rate=1e-3, batch=4)
LEARNING_RATES = (5e-4, 1e-3)  # tried for both student arms when a record is made


@dataclass(frozen=True)
class Outcome:
    """Everything the run learnt: arms with their answers, and what collecting the transfer set took.

    ``teacher`` is the folder of the model that the student learnt from, None when it is not on this machine.
    """

    slices: dict[str, list[Item]]
    arms: list[ArmAnswers]
    teacher: Path | None
    student: Path
    tuning: list[Tuning]
    collection: Collection
    seconds: dict[str, float]


def run(
    work: Workspace,
    task: Task,
    shipped: Teacher,
    start: Path,
    sizes: Sizes,
    seeds: list[int],
    teacher_training: TrainConfig,
    student_training: TrainConfig,
    choose_rates: bool,
    skip_empty: bool,
    keep_truncated: bool,
) -> Outcome:
    """Run every arm for every seed. ``start`` is the untrained student's folder.

    A teacher whose weights are not on this machine answers as it is: it cannot be tuned here.
    Raises InputError, with everything earned kept, when the teacher leaves answers empty and ``skip_empty`` is off.
    """
    arms = Arms(work, task)
    rates = {ArmKind.STUDENT_GOLD: student_training, ArmKind.STUDENT_DISTILLED: student_training}
    tuning: list[Tuning] = []
    collected: list[Collected] = []
    for number, seed in enumerate(seeds):
        splits = task.splits(sizes, seed)
        of = f" ({number + 1} of {len(seeds)})" if len(seeds) > 1 else ""
        gold = [(item.prompt, item.reference or "") for item in splits.gold]
        arms.open(splits, of)

        # 1. See what the teacher knows, and teach it the task from the few answers that experts wrote.
        arms.evaluate(ArmKind.TEACHER_SHIPPED, shipped)
        teacher = shipped
        if shipped.folder:
            title = f"Tune the teacher on {len(gold)} gold answers"
            tuned = arms.train(ArmKind.TEACHER_TUNED, title, shipped.folder, gold, replace(teacher_training, seed=seed))
            teacher = work.model(tuned, "the tuned teacher")
            arms.evaluate(ArmKind.TEACHER_TUNED, teacher)

        # 2. Let it answer the prompts that nobody answered.
        answers = arms.ask(f"Ask the {'tuned ' if shipped.folder else ''}teacher", teacher, splits.transfer)
        collected.append(answers)
        transfer = _transfer_set(splits.transfer, answers, skip_empty, keep_truncated)

        # 3. Train the student on those answers, and its control on the gold: same start, same steps.
        material: dict[ArmKind, Pairs] = {ArmKind.STUDENT_GOLD: gold, ArmKind.STUDENT_DISTILLED: transfer}
        if choose_rates and not tuning:
            for kind, pairs in material.items():
                tuning.append(_choose_rate(arms, kind, start, pairs, splits.dev, rates[kind]))
                rates[kind] = replace(rates[kind], learning_rate=tuning[-1].chosen)
        arms.evaluate(ArmKind.STUDENT_BEFORE, work.model(start, "the student before training"))
        for kind, pairs in material.items():
            student = arms.train(kind, TITLES[kind], start, pairs, replace(rates[kind], seed=seed))
            arms.evaluate(kind, work.model(student, TITLES[kind]))

    return Outcome(
        slices=splits.slices,
        arms=list(arms.of.values()),
        teacher=teacher.folder,
        student=student,
        tuning=tuning,
        collection=_account(collected),
        seconds=arms.seconds,
    )


def _transfer_set(items: list[Item], collected: Collected, skip_empty: bool, keep_truncated: bool) -> Pairs:
    """Prompts with the teacher's answers. Truncated ones are left out: a student must not learn to stop midway."""
    if collected.why_pending and not skip_empty:
        raise InputError(f"{collected.why_pending}, or with --skip-empty to learn from those that are answered")
    missing = [(item.id, answer.kind) for item, answer in zip(items, collected.answers, strict=True) if not answer.text]
    if missing and not skip_empty:
        ids = ", ".join(f"{id} ({kind})" for id, kind in missing[:10])
        more = f" and {len(missing) - 10} more" if len(missing) > 10 else ""
        raise InputError(
            f"the teacher left {len(missing)} prompts without an answer: {ids}{more}; look at them, or run the same "
            f"command with --skip-empty to learn from the other {len(items) - len(missing)}: no answer is asked again"
        )
    learnt = {Kind.COMPLETE, Kind.TRUNCATED} if keep_truncated else {Kind.COMPLETE}
    pairs = [
        (item.prompt, answer.text)
        for item, answer in zip(items, collected.answers, strict=True)
        if answer.kind in learnt
    ]
    if not pairs:
        raise InputError(
            f"all {len(items)} answers of the teacher are empty or were cut off by the token limit; raise "
            "--max-new-tokens, or give the teacher more gold to learn the form of an answer from"
        )
    return pairs


def _choose_rate(arms: Arms, kind: ArmKind, start: Path, pairs: Pairs, dev: list[Item], config: TrainConfig) -> Tuning:
    """The learning rate with the best primary metric on the development items; half the steps for each."""
    task, stage = arms.task, "check learning rates"
    scores = {}
    for rate in LEARNING_RATES:
        short = replace(config, learning_rate=rate, steps=config.steps // 2)
        title = f"Try learning rate {rate:g} ({kind.replace('_', ' ')})"
        folder, curve = arms.work.train(title, start, task.instruction, pairs, short)
        arms.count(stage, str(folder), curve.seconds)
        answers = arms.ask(f"Score learning rate {rate:g}", arms.work.model(folder, title), dev, stage).answers
        marks = [task.metrics(a.text, item)[task.primary] for a, item in zip(answers, dev, strict=True)]
        scores[rate] = sum(marks) / len(marks)
    return Tuning(
        arm=kind,
        dev_score={f"{rate:g}": round(s, 4) for rate, s in scores.items()},
        chosen=max(scores, key=scores.get),
    )


def _account(collected: list[Collected]) -> Collection:
    answers = [answer for each in collected for answer in each.answers]
    kinds = Counter(answer.kind for answer in answers)
    return Collection(
        asked=len(answers),
        from_ledger=sum(each.from_ledger for each in collected),
        duplicates=sum(each.duplicates for each in collected),
        prompt_tokens=sum(answer.prompt_tokens for answer in answers),
        completion_tokens=sum(answer.completion_tokens for answer in answers),
        usd=sum(each.usd for each in collected),
        **{kind.value: kinds[kind] for kind in Kind if kind is not Kind.COMPLETE},
    )
