"""Sequence-level distillation: https://distillation-patterns.github.io/patterns/sequence-level.html

A teacher writes answers to unlabelled prompts; a student learns to write them (Kim & Rush 2016, 1606.07947, sec. 3.2).

    distill run sequence-level                                # embedded teacher, 48 gold summaries, about 12 minutes
    distill run sequence-level --gold 400                     # plenty of gold: is the teacher still worth it?
    distill run sequence-level --prompts notes.jsonl --instruction "Summarize."   # your own prompts
    distill run sequence-level --smoke                        # the same code, shrunk to a minute

The story is scarce gold: few answers by experts, many prompts without one. The teacher is tuned on the gold and
answers the rest; the student learns from its answers alone. The control is the same student, from the same start,
for the same steps, trained on the gold alone. If it does as well, the verdict is: do not distil.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import InputError
from ..evaluation.measure import ArmAnswers
from ..record import ArmKind, Collection, Tuning
from ..tasks.task import Item, Sizes, Splits, Task
from ..teachers.collect import Collected
from ..teachers.teacher import Request
from ..transfer.trainer import TrainConfig
from ..workspace import Pairs, Workspace

SIZES = Sizes(gold=48, dev=0, transfer=256, heldout=48, unseen=24)
SMOKE_SIZES = Sizes(gold=4, dev=0, transfer=8, heldout=2, unseen=2)
STUDENT_LAYERS = "10"  # every third of the default teacher's 30
TEACHER_TRAINING = TrainConfig(steps=20, learning_rate=3e-4)
STUDENT_TRAINING = TrainConfig(steps=90, learning_rate=1e-3)
LEARNING_RATES = (5e-4, 1e-3)  # tried for both student arms when a record is made


@dataclass(frozen=True)
class Outcome:
    """Everything the run learnt: arms with their answers, and what collecting the transfer set took."""

    slices: dict[str, list[Item]]
    arms: list[ArmAnswers]
    teacher: Path
    student: Path
    tuning: list[Tuning]
    collection: Collection
    seconds: dict[str, float]


def run(
    work: Workspace,
    task: Task,
    shipped: Path,
    start: Path,
    sizes: Sizes,
    seeds: list[int],
    teacher_training: TrainConfig,
    student_training: TrainConfig,
    choose_rates: bool,
    skip_empty: bool,
    keep_truncated: bool,
) -> Outcome:
    """Run every arm for every seed. ``shipped`` is the teacher's folder, ``start`` the untrained student's.

    Raises InputError, with everything earned kept, when the teacher leaves answers empty and ``skip_empty`` is off.
    """
    arms = {
        kind: ArmAnswers(kind, title, model)
        for kind, title, model in (
            (ArmKind.TEACHER_SHIPPED, "Teacher as shipped", "teacher"),
            (ArmKind.TEACHER_TUNED, "Teacher tuned on the gold", "teacher"),
            (ArmKind.STUDENT_BEFORE, "Student before training", "student"),
            (ArmKind.STUDENT_GOLD, "Student on the gold alone", "student"),
            (ArmKind.STUDENT_DISTILLED, "Student distilled", "student"),
        )
    }
    rates = {ArmKind.STUDENT_GOLD: student_training, ArmKind.STUDENT_DISTILLED: student_training}
    tuning: list[Tuning] = []
    collected: list[Collected] = []
    seconds: dict[str, float] = {}
    for number, seed in enumerate(seeds):
        splits = task.splits(sizes, seed)
        of = f" ({number + 1} of {len(seeds)})" if len(seeds) > 1 else ""
        gold = [(item.prompt, item.reference or "") for item in splits.gold]

        # 1. Teach the teacher the task from the few answers that experts wrote.
        tuned, curve = work.train(
            f"Tune the teacher on {len(gold)} gold answers{of}", shipped, task.instruction, gold,
            replace(teacher_training, seed=seed),
        )  # fmt: skip
        arms[ArmKind.TEACHER_TUNED].training.append(curve)

        # 2. Let it answer the prompts that nobody answered.
        answers = _ask(work, f"Ask the tuned teacher{of}", tuned, task, splits.transfer)
        collected.append(answers)
        transfer = _transfer_set(splits.transfer, answers, skip_empty, keep_truncated)

        # 3. Train the student on those answers, and its control on the gold: same start, same steps.
        material: dict[ArmKind, Pairs] = {ArmKind.STUDENT_GOLD: gold, ArmKind.STUDENT_DISTILLED: transfer}
        if choose_rates and not tuning:
            for kind, pairs in material.items():
                tuning.append(_choose_rate(work, task, kind, start, pairs, splits, rates[kind]))
                rates[kind] = replace(rates[kind], learning_rate=tuning[-1].chosen)
        trained = {}
        for kind, pairs in material.items():
            trained[kind], curve = work.train(
                f"{arms[kind].title}{of}", start, task.instruction, pairs, replace(rates[kind], seed=seed)
            )
            arms[kind].training.append(curve)

        # 4. Ask every arm about the same held-out items.
        folders = {
            ArmKind.TEACHER_SHIPPED: shipped,
            ArmKind.TEACHER_TUNED: tuned,
            ArmKind.STUDENT_BEFORE: start,
            **trained,
        }
        items = [item for slice_items in splits.slices.values() for item in slice_items]
        for kind, folder in folders.items():
            answered = _ask(work, f"Evaluate: {arms[kind].title.lower()}{of}", folder, task, items).answers
            _add(seconds, "evaluate", sum(answer.seconds for answer in answered))
            texts = iter(answered)
            for name, slice_items in splits.slices.items():
                arms[kind].answers.setdefault(name, []).append([next(texts).text for _ in slice_items])

    for kind, stage in (
        (ArmKind.TEACHER_TUNED, "tune the teacher"),
        (ArmKind.STUDENT_GOLD, "train the student on the gold"),
        (ArmKind.STUDENT_DISTILLED, "distil the student"),
    ):
        _add(seconds, stage, sum(curve.seconds for curve in arms[kind].training))
    _add(seconds, "ask the teacher", sum(a.seconds for answers in collected for a in answers.answers))
    return Outcome(
        slices=splits.slices,
        arms=list(arms.values()),
        teacher=tuned,
        student=trained[ArmKind.STUDENT_DISTILLED],
        tuning=tuning,
        collection=_account(collected),
        seconds=seconds,
    )


def _ask(work: Workspace, title: str, folder: Path, task: Task, items: list[Item]) -> Collected:
    requests = [Request(task.instruction, item.prompt, task.max_new_tokens) for item in items]
    return work.ask(title, work.model(folder, title), requests)


def _transfer_set(items: list[Item], collected: Collected, skip_empty: bool, keep_truncated: bool) -> Pairs:
    """Prompts with the teacher's answers. Truncated ones are left out: a student must not learn to stop midway."""
    if collected.empty and not skip_empty:
        ids = ", ".join(items[i].id for i in collected.empty[:10])
        more = f" and {len(collected.empty) - 10} more" if len(collected.empty) > 10 else ""
        raise InputError(
            f"the teacher's answer to {ids}{more} is empty; look at those prompts, or run the same command with "
            f"--skip-empty to learn from the other {len(items) - len(collected.empty)}: no answer is asked again"
        )
    pairs = [
        (item.prompt, answer.text)
        for item, answer in zip(items, collected.answers, strict=True)
        if answer.text and (keep_truncated or not answer.truncated)
    ]
    if not pairs:
        raise InputError(
            f"all {len(items)} answers of the teacher are empty or were cut off by the token limit; raise "
            "--max-new-tokens, or give the teacher more gold to learn the form of an answer from"
        )
    return pairs


def _choose_rate(
    work: Workspace, task: Task, kind: ArmKind, start: Path, pairs: Pairs, splits: Splits, config: TrainConfig
) -> Tuning:
    """The learning rate with the best primary metric on the development items; half the steps for each."""
    scores = {}
    for rate in LEARNING_RATES:
        short = replace(config, learning_rate=rate, steps=config.steps // 2)
        title = f"Try learning rate {rate:g} ({kind.replace('_', ' ')})"
        folder, _ = work.train(title, start, task.instruction, pairs, short)
        answers = _ask(work, f"Score learning rate {rate:g}", folder, task, splits.dev).answers
        marks = [task.metrics(a.text, item)[task.primary] for a, item in zip(answers, splits.dev, strict=True)]
        scores[rate] = sum(marks) / len(marks)
    return Tuning(
        arm=kind,
        dev_score={f"{rate:g}": round(s, 4) for rate, s in scores.items()},
        chosen=max(scores, key=scores.get),
    )


def _account(collected: list[Collected]) -> Collection:
    answers = [answer for each in collected for answer in each.answers]
    return Collection(
        asked=len(answers),
        from_ledger=sum(each.from_ledger for each in collected),
        empty=sum(len(each.empty) for each in collected),
        truncated=sum(each.truncated for each in collected),
        duplicates=sum(each.duplicates for each in collected),
        prompt_tokens=sum(answer.prompt_tokens for answer in answers),
        completion_tokens=sum(answer.completion_tokens for answer in answers),
        usd=0.0,
    )


def _add(seconds: dict[str, float], stage: str, more: float) -> None:
    seconds[stage] = seconds.get(stage, 0.0) + more
