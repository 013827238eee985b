"""The contenders of a run, and the steps that every recipe takes with them: train, ask, evaluate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from ..evaluation.cascade import confidence
from ..evaluation.measure import ArmAnswers
from ..record import ArmKind, Collection, Curve, Logs, Member, Tuning
from ..tasks.task import Item, Sizes, Splits, Task
from ..teachers.collect import Collected
from ..teachers.teacher import Answer, Kind, Request, Teacher
from ..transfer.config import TEXT_ALONE, Loss, TrainConfig

if TYPE_CHECKING:  # it loads torch, and a plan reads a recipe's settings without
    from ..workspace import Pairs, Workspace

# The story of every recipe, unless it has sizes and settings of its own: few answers by experts, many prompts without.
SIZES = Sizes(gold=48, dev=0, transfer=240, heldout=48, unseen=24)
SMOKE_SIZES = Sizes(gold=4, dev=0, transfer=8, heldout=2, unseen=2)
STUDENT_LAYERS = "10"  # every third of the default teacher's 30
TEACHER_TRAINING = TrainConfig(steps=24, learning_rate=3e-4, batch=4)
STUDENT_TRAINING = TrainConfig(steps=116, learning_rate=1e-3, batch=4)
LEARNING_RATES = (5e-4, 1e-3)  # tried for every student arm when a record is made
TITLES = {
    ArmKind.TEACHER_SHIPPED: "Teacher as shipped",
    ArmKind.TEACHER_TUNED: "Teacher tuned on the gold",
    ArmKind.TEACHER_ASSISTANT: "Assistant tuned on the teacher's answers",
    ArmKind.TEACHER_BEST: "Best teacher alone",
    ArmKind.TEACHER_COMMITTEE: "Committee of teachers",
    ArmKind.STUDENT_BEFORE: "Student before training",
    ArmKind.STUDENT_GOLD: "Student on the gold alone",
    ArmKind.STUDENT_UNIFORM: "Student on the equal vote",
    ArmKind.STUDENT_DISTILLED: "Student distilled",
    ArmKind.CASCADE: "Student first, teacher where it is unsure",
}
STAGES = {
    ArmKind.TEACHER_TUNED: "tune the teacher",
    ArmKind.TEACHER_ASSISTANT: "tune the assistant",
    ArmKind.TEACHER_COMMITTEE: "tune the committee",
    ArmKind.STUDENT_GOLD: "train the student on the gold",
    ArmKind.STUDENT_SIMPLER: "train the student by the simpler pattern",
    ArmKind.STUDENT_UNIFORM: "train the student on the equal vote",
    ArmKind.STUDENT_DISTILLED: "distil the student",
}


@dataclass(frozen=True)
class Setup:
    """What a recipe works with. ``start`` is the untrained student's folder; ``base`` the open model to make an
    assistant of, None where the recipe needs none.

    A ``teacher`` whose weights are not on this machine answers as it is: it cannot be tuned here. ``others`` sit in a
    committee with it. Of the learning ``rates`` each student arm takes the one that suits it best; where there are
    none, that of ``student_training``.
    """

    work: Workspace
    task: Task
    teacher: Teacher
    base: Path | None
    start: Path
    sizes: Sizes
    seeds: list[int]
    teacher_training: TrainConfig
    student_training: TrainConfig
    rates: tuple[float, ...]
    skip_empty: bool
    keep_truncated: bool
    others: tuple[Teacher, ...] = ()


@dataclass(frozen=True)
class Lesson:
    """What one student arm learns from: texts, and a teacher's distribution where the loss leaves it a share.

    ``start`` is the folder that it begins from, None for the untrained student.
    """

    pairs: Pairs
    loss: Loss = TEXT_ALONE
    teacher: Path | None = None
    start: Path | None = None


@dataclass(frozen=True)
class Simpler:
    """The pattern that a recipe adds to, and what the student trained by that one is called: the second control."""

    pattern: str
    title: str


@dataclass(frozen=True)
class Outcome:
    """Everything the run learnt: arms with their answers, and what collecting the transfer set took.

    ``teacher`` is the folder of the model that the student learnt from, None when it is not on this machine;
    ``reference`` the arm whose answers it learnt; ``simpler`` the pattern of the second control, if there is one;
    ``members`` those of the committee, where several teachers answered; ``logs`` what became of a log, for each seed,
    where the transfer set came from one. ``scores`` and ``deferred`` are of a cascade: the student's confidence in each
    answer, and whether it was passed on, as ``scores[slice][seed][item]``.
    """

    slices: dict[str, list[Item]]
    arms: list[ArmAnswers]
    reference: ArmKind
    simpler: str | None
    teacher: Path | None
    student: Path
    tuning: list[Tuning]
    collection: Collection
    seconds: dict[str, float]
    members: list[Member]
    logs: list[Logs] = field(default_factory=list)
    scores: dict[str, list[list[float]]] = field(default_factory=dict)
    deferred: dict[str, list[list[bool]]] = field(default_factory=dict)


class Arms:
    """The contenders, step by step: each step shows its bar, and its seconds are counted once, whoever repeats it."""

    def __init__(self, setup: Setup, simpler: Simpler | None = None):
        self.setup, self.work, self.task, self.simpler = setup, setup.work, setup.task, simpler
        self.titles = TITLES | ({ArmKind.STUDENT_SIMPLER: simpler.title} if simpler else {})
        self.of: dict[ArmKind, ArmAnswers] = {}
        self.seconds: dict[str, float] = {}
        self.tuning: dict[ArmKind, Tuning] = {}
        self.scores: dict[str, list[list[float]]] = {}
        self.deferred: dict[str, list[list[bool]]] = {}
        self._begun: dict[Path, tuple[int, Curve]] = {}  # starts that were trained here: for how many steps, and how
        self._collected: list[Collected] = []
        self._counted: set[tuple[str, str]] = set()

    def seeds(self) -> Iterator[Splits]:
        """The items of every seed in turn. Raises InputError when one has nothing to learn from."""
        for number, seed in enumerate(self.setup.seeds):
            self.seed, self.splits = seed, self.task.splits(self.setup.sizes, seed)
            self.suffix = f" ({number + 1} of {len(self.setup.seeds)})" if len(self.setup.seeds) > 1 else ""
            for name, items in {
                "gold": self.splits.gold,
                "transfer": self.splits.transfer,
                **self.splits.slices,
            }.items():
                if not items:
                    raise InputError(f"{self.task.title}: no items left for {name}; give more, and different, prompts")
            self.gold = [(item.prompt, item.reference or "") for item in self.splits.gold]
            yield self.splits

    def tuned_teacher(self) -> Teacher:
        """The teacher, measured as shipped; tuned on the gold and measured again where its weights are here."""
        shipped = self.setup.teacher
        self.evaluate(ArmKind.TEACHER_SHIPPED, shipped)
        if shipped.folder is None:
            return shipped
        title = f"Tune the teacher on {len(self.gold)} gold answers"
        tuned = self.tune(ArmKind.TEACHER_TUNED, title, shipped.folder, self.gold, self.setup.teacher_training)
        self.evaluate(ArmKind.TEACHER_TUNED, tuned)
        return tuned

    def assistant(self, pairs: Pairs) -> Teacher:
        """An open model tuned on the teacher's answers, for one epoch at least: the bridge to what it does not give.

        Mirzadeh et al., 1902.03393.
        """
        config = self.setup.teacher_training
        config = replace(config, steps=max(config.steps, -(-len(pairs) // config.batch)))
        title = f"Tune an assistant on {len(pairs)} answers"
        assistant = self.tune(ArmKind.TEACHER_ASSISTANT, title, self.setup.base, pairs, config)
        self.evaluate(ArmKind.TEACHER_ASSISTANT, assistant)
        return assistant

    def tune(
        self, kind: ArmKind, title: str, start: Path, pairs: Pairs, config: TrainConfig, name: str | None = None
    ) -> Teacher:
        """The model in ``start`` tuned on ``pairs``, as something that answers."""
        folder = self._train(kind, title, start, Lesson(pairs), replace(config, seed=self.seed))
        return self.work.model(folder, name or self.titles[kind])

    def transfer_set(self, teacher: Teacher) -> Pairs:
        """Prompts with the teacher's answers; see `lesson` for what is left out, and raised."""
        title = f"Ask the {'teacher' if teacher is self.setup.teacher else 'tuned teacher'}"
        return self.lesson(self.collect(title, teacher, self.splits.transfer))

    def collect(self, title: str, teacher: Teacher, items: list[Item]) -> list[Answer]:
        """The teacher's answers, whose cost is accounted for.

        Raises InputError, with everything earned kept, when some are still to come and ``skip_empty`` is off.
        """
        collected = self.ask(title, teacher, items)
        self._collected.append(collected)
        if collected.why_pending and not self.setup.skip_empty:
            raise InputError(f"{collected.why_pending}, or with --skip-empty to learn from those that are answered")
        return collected.answers

    def lesson(self, answers: list[Answer], whose: str = "teacher") -> Pairs:
        """The transfer prompts with ``answers``, without those that `learnable` leaves out.

        Raises InputError when some are empty and ``skip_empty`` is off, and when nothing is left.
        """
        items = self.splits.transfer
        missing = [(i.id, a.kind) for i, a in zip(items, answers, strict=True) if not a.text]
        if missing and not self.setup.skip_empty:
            ids = ", ".join(f"{id} ({kind})" for id, kind in missing[:10])
            more = f" and {len(missing) - 10} more" if len(missing) > 10 else ""
            raise InputError(
                f"the {whose} left {len(missing)} prompts without an answer: {ids}{more}; look at them, or run the "
                f"same command with --skip-empty to learn from the other {len(items) - len(missing)}: no answer is "
                "asked again"
            )
        if not (pairs := self.pairs(answers)):
            raise InputError(
                f"all {len(items)} answers of the {whose} are empty or were cut off by the token limit; raise "
                "--max-new-tokens, or give the teacher more gold to learn the form of an answer from"
            )
        return pairs

    def pairs(self, answers: list[Answer]) -> Pairs:
        """The transfer prompts with those of ``answers`` that are whole."""
        return [(i.prompt, a.text) for i, a in zip(self.splits.transfer, answers, strict=True) if self.learnable(a)]

    def learnable(self, answer: Answer) -> bool:
        """Whether it is whole: a student must not learn to stop midway."""
        return answer.kind is Kind.COMPLETE or (answer.kind is Kind.TRUNCATED and self.setup.keep_truncated)

    def begun(self, lesson: Lesson) -> Path:
        """The student after half of its steps, by ``lesson``; a lesson that starts from it goes on for the other half.

        At the learning rate of the settings, for all that go on from it.
        """
        config = replace(self.setup.student_training, seed=self.seed, loss=lesson.loss)
        config = replace(config, steps=config.steps // 2)
        folder, curve = self.work.train(
            "Start the student" + self.suffix,
            self.setup.start,
            self.task.instruction,
            lesson.pairs,
            config,
            lesson.teacher,
        )
        self.count("start the student", str(folder), curve.seconds)
        self._begun[folder] = config.steps, curve
        return folder

    def students(self, lessons: dict[ArmKind, Lesson]) -> Path:
        """Every student arm, from the same start and for the same steps; the folder of the last one.

        Where a record is made, each arm's learning rate is chosen first, once, in the same way.
        """
        if self.setup.rates:
            for kind, lesson in lessons.items():
                if kind not in self.tuning:
                    self.tuning[kind] = self._choose_rate(kind, lesson)
        self.evaluate(ArmKind.STUDENT_BEFORE, self.work.model(self.setup.start, "the student before training"))
        for kind, lesson in lessons.items():
            config = replace(self._remaining(lesson), seed=self.seed)
            if kind in self.tuning:
                config = replace(config, learning_rate=self.tuning[kind].chosen)
            folder = self._train(kind, self.titles[kind], lesson.start or self.setup.start, lesson, config)
            self.evaluate(kind, self.work.model(folder, self.titles[kind]))
        return folder

    def _choose_rate(self, kind: ArmKind, lesson: Lesson) -> Tuning:
        """The learning rate with the best primary metric on the development items; half the steps for each."""
        task, stage, config = self.task, "check learning rates", self._remaining(lesson)
        scores = {}
        for rate in self.setup.rates:
            short = replace(config, learning_rate=rate, steps=config.steps // 2, loss=lesson.loss)
            title = f"Try learning rate {rate:g} ({kind.replace('_', ' ')})"
            folder, curve = self.work.train(
                title, lesson.start or self.setup.start, task.instruction, lesson.pairs, short, lesson.teacher
            )
            self.count(stage, str(folder), curve.seconds)
            dev = self.splits.dev
            answers = self.ask(f"Score learning rate {rate:g}", self.work.model(folder, title), dev, stage).answers
            marks = [task.metrics(a.text, item)[task.primary] for a, item in zip(answers, dev, strict=True)]
            scores[rate] = sum(marks) / len(marks)
        return Tuning(
            arm=kind,
            dev_score={f"{rate:g}": round(s, 4) for rate, s in scores.items()},
            chosen=max(scores, key=scores.get),
        )

    def _remaining(self, lesson: Lesson) -> TrainConfig:
        """The student's training, less the steps that its start has had."""
        config = self.setup.student_training
        had, _ = self._begun.get(lesson.start, (0, None))
        return replace(config, steps=config.steps - had)

    def outcome(self, teacher: Teacher | None, student: Path, members: Iterable[Member] = ()) -> Outcome:
        """What came of the run; ``teacher`` is None for a committee, which is no one model."""
        return Outcome(
            slices=self.splits.slices,
            arms=list(self.of.values()),
            reference=self.reference,
            simpler=self.simpler.pattern if self.simpler else None,
            teacher=teacher.folder if teacher else None,
            student=student,
            tuning=list(self.tuning.values()),
            collection=_account(self._collected),
            seconds=self.seconds,
            members=list(members),
            scores=self.scores,
            deferred=self.deferred,
        )

    @property
    def reference(self) -> ArmKind:
        """The arm whose answers the student learns: the committee, or the teacher, tuned where it could be."""
        taught = (ArmKind.TEACHER_COMMITTEE, ArmKind.TEACHER_TUNED, ArmKind.TEACHER_SHIPPED)
        return next(kind for kind in taught if kind in self.of)

    def confidence(self, student: Path) -> dict[str, np.ndarray]:
        """How sure the model in ``student`` is of its answers to the held-out items of this seed, by slice: (N,)."""
        model = self.work.model(student, self.titles[ArmKind.STUDENT_DISTILLED])
        return {
            name: np.array([confidence(a) for a in self.ask("Ask how sure it is", model, items, "evaluate", 1).answers])
            for name, items in self.splits.slices.items()
        }

    def cascade(self, scores: dict[str, np.ndarray], deferred: dict[str, np.ndarray]) -> None:
        """The arm of the student's answers of this seed, and the teacher's where they were ``deferred``; by slice."""
        texts = []
        for name, marks in deferred.items():
            self.scores.setdefault(name, []).append(scores[name].tolist())
            self.deferred.setdefault(name, []).append(marks.tolist())
            ours, theirs = (self.of[kind].answers[name][-1] for kind in (ArmKind.STUDENT_DISTILLED, self.reference))
            texts += [t if passed else s for s, t, passed in zip(ours, theirs, marks, strict=True)]
        self.enter(ArmKind.CASCADE, texts)

    def evaluate(self, kind: ArmKind, model: Teacher) -> None:
        """Ask the arm about every held-out item. Raises InputError when the arm has not answered all of them."""
        self.enter(kind, self.heldout(self.titles[kind].lower(), model))

    def heldout(self, title: str, model: Teacher) -> list[str]:
        """The answers of ``model`` to the items of all slices. Raises InputError when some are still to come."""
        items = [item for slice_items in self.splits.slices.values() for item in slice_items]
        collected = self.ask(f"Evaluate: {title}", model, items, "evaluate")
        if collected.why_pending:
            raise InputError(collected.why_pending)
        return [answer.text for answer in collected.answers]

    def enter(self, kind: ArmKind, heldout: list[str]) -> None:
        """Let the arm answer like this, in the order of the slices."""
        texts = iter(heldout)
        for name, slice_items in self.splits.slices.items():
            self._arm(kind).answers.setdefault(name, []).append([next(texts) for _ in slice_items])

    def ask(
        self,
        title: str,
        model: Teacher,
        items: list[Item],
        stage: str = "ask the teacher",
        top_logprobs: int = 0,
    ) -> Collected:
        limit = self.task.max_new_tokens
        requests = [Request(self.task.instruction, i.prompt, limit, top_logprobs=top_logprobs) for i in items]
        collected = self.work.ask(title + self.suffix, model, requests)
        for request, answer in zip(requests, collected.answers, strict=True):
            self.count(stage, request.key(model.identity), answer.seconds)
        return collected

    def count(self, stage: str, what: str, seconds: float) -> None:
        """Add ``seconds`` to ``stage`` unless ``what`` was counted there before."""
        if (stage, what) not in self._counted:
            self._counted.add((stage, what))
            self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds

    def _train(self, kind: ArmKind, title: str, start: Path, lesson: Lesson, config: TrainConfig) -> Path:
        """Train the arm of ``kind`` from ``start``; the trained model's folder."""
        config = replace(config, loss=lesson.loss)
        folder, curve = self.work.train(
            title + self.suffix, start, self.task.instruction, lesson.pairs, config, lesson.teacher
        )
        writing = sum(curve.terms.get("seconds_writing", {}).values())
        self.count(STAGES[kind], str(folder), curve.seconds - writing)
        if writing:
            self.count("let the student write", str(folder), writing)
        if lesson.start in self._begun:
            curve = _joined(*self._begun[lesson.start], curve)
        self._arm(kind).training.append(curve)
        return folder

    def _arm(self, kind: ArmKind) -> ArmAnswers:
        return self.of.setdefault(kind, ArmAnswers(kind, self.titles[kind], kind.value.partition("_")[0]))


def _joined(steps: int, first: Curve, then: Curve) -> Curve:
    """Both trainings of one student as one curve, the first of which took ``steps``. The rate is the second's."""
    terms = first.terms or {"cross_entropy": dict(zip(first.steps, first.loss, strict=True))}
    later = {name: {steps + step: value for step, value in of.items()} for name, of in then.terms.items()}
    return then.model_copy(
        update={
            "steps": [*first.steps, *(steps + step for step in then.steps)],
            "loss": [*first.loss, *then.loss],
            "terms": {name: terms.get(name, {}) | later.get(name, {}) for name in (*terms, *later)},
            "epochs": first.epochs + then.epochs,
            "seconds": first.seconds + then.seconds,
        }
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
