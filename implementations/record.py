"""The record: what one run measured, where, with what, and at what cost.

A record is the only source of measured numbers that a page may show. This module imports neither torch nor a
provider's SDK; the catalogue's builder reads it.

Units are in the field names or their descriptions: seconds, bytes, MiB, tokens per second, US dollars.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tokenize
from datetime import datetime
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .errors import InputError
from .registry import RECIPES, TASKS

ROOT = Path(__file__).resolve().parent.parent
RECORDS = Path(__file__).resolve().parent / "records"

Count = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(ge=0)]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Estimate(Strict):
    """A value with its 95% interval. ``n`` counts items times seeds; an untrained arm answers alike for every seed."""

    value: float
    low: float
    high: float
    n: Count
    per_seed: list[float] = Field(default_factory=list, description="the value of each seed alone, in seed order")


class Machine(Strict):
    processor: str
    cores: Count
    memory_gib: float
    gpu: str | None
    system: str
    python: str


class Task(Strict):
    name: str
    title: str
    instruction: str = Field(default="", description="the system instruction that goes with every prompt")
    source: str | None = Field(default=None, description="where data comes from that is not made here, and its terms")
    data_sha256: str = Field(description="of every prompt and known fact the run used, in order")
    sizes: dict[str, int] = Field(description="notes per split of one seed: gold, dev, transfer, heldout, unseen")


class Model(Strict):
    """``None`` where a platform does not tell."""

    name: str
    parameters: Count | None
    bytes: Count | None = Field(description="of the safetensors files")
    layers: Count | None
    dtype: str | None = Field(description="that it answered in; the files are float32")


class Serving(Strict):
    """How fast a model answers on this machine. Latency is of one whole answer at batch 1."""

    latency_p50_s: Seconds
    latency_p95_s: Seconds
    latency_n: Count
    tokens_per_s: float = Field(description="generated tokens per second at the batch size below")
    batch: Count
    peak_memory_mib: float = Field(description="of a fresh process that loads this model and answers one batch")


class Curve(Strict):
    """One training: its loss after each logged step (mean over the completion tokens), and what it took."""

    steps: list[int]
    loss: list[float]
    terms: dict[str, dict[int, float]] = Field(
        default_factory=dict,
        description="by step, where a loss has several: cross_entropy and distillation, each in nats per token, and "
        "features, the distance of hidden states, each before it is weighed; the norms of their gradients at the "
        "output head (norm_…); and where the student writes, the shares of empty and truncated answers, and "
        "seconds_writing",
    )
    learning_rate: float
    epochs: float
    batch: Count
    seconds: Seconds
    seed: int


class ArmKind(StrEnum):
    TEACHER_SHIPPED = "teacher_shipped"
    TEACHER_TUNED = "teacher_tuned"
    TEACHER_ASSISTANT = "teacher_assistant"  # an open model tuned on the teacher's answers: the bridge
    TEACHER_BEST = "teacher_best"  # of a committee, by competence
    TEACHER_COMMITTEE = "teacher_committee"
    STUDENT_BEFORE = "student_before"
    STUDENT_GOLD = "student_gold"  # the control: the same student, trained without the teacher
    STUDENT_SIMPLER = "student_simpler"  # the second control, where a recipe adds to a simpler one: the same by that
    STUDENT_UNIFORM = "student_uniform"  # a control of committees: the same student where each teacher has one vote
    STUDENT_DISTILLED = "student_distilled"
    CASCADE = "cascade"  # the distilled student, and the teacher where it is unsure


class Arm(Strict):
    """One contender. ``metrics`` maps slice (heldout, unseen) to metric (fact_f1, …) to its estimate."""

    kind: ArmKind
    title: str
    model: Literal["teacher", "student", "cascade"]
    metrics: dict[str, dict[str, Estimate]]
    training: list[Curve] = Field(default_factory=list, description="one per seed; empty for untrained arms")


class Comparison(Strict):
    """``a`` − ``b`` on the same items, with a paired bootstrap interval."""

    a: ArmKind
    b: ArmKind
    slice: str
    metric: str
    difference: Estimate


class Stage(Strict):
    """What one kind of work took, over all seeds. What several seeds share counts once; what an earlier run left
    counts with the time it took then."""

    name: str
    seconds: Seconds


class Collection(Strict):
    """What asking the teacher took, over all seeds."""

    asked: Count
    from_ledger: Count = Field(description="answers that were there already and were not asked again")
    empty: Count
    truncated: Count
    refused: Count = Field(default=0, description="by the model or a filter of its platform")
    malformed: Count = Field(default=0, description="not the JSON that was asked for")
    failed: Count = Field(default=0, description="requests that the platform will never answer")
    pending: Count = Field(default=0, description="not answered when the run went on without them")
    duplicates: Count = Field(description="answers equal to another prompt's answer")
    prompt_tokens: Count
    completion_tokens: Count
    usd: float = Field(description="spent with providers; 0 for a local teacher, whose cost is its wall time")


class Deferral(Strict):
    """One point of a cascade's curve: the quality of the whole when this share of the answers is the teacher's."""

    share: float
    quality: Estimate = Field(description="the least confident answers passed on")
    at_random: Estimate = Field(description="any answers passed on, as often: what a score that knows nothing would do")


class Cascade(Strict):
    """The student answers first; what it is least sure of is passed on to the teacher. Primary metric."""

    score: str = Field(description="what stands for confidence in an answer")
    deferred: dict[str, Estimate] = Field(description="by slice, the share that was passed on at the threshold")
    added: Estimate = Field(description="the cascade minus passing on as many at random, held-out slice")
    curve: list[Deferral] = Field(description="of the held-out slice, every share from none to all")


class Drift(Strict):
    """Jensen–Shannon distance (0 to 1) between the words of two sets of prompts; see logs/drift.py."""

    distance: float
    chance_low: float = Field(description="of the distance's 95% interval where nothing drifts")
    chance_high: float

    @property
    def found(self) -> bool:
        """Whether the distance is more than chance."""
        return self.distance > self.chance_high


class Logs(Strict):
    """What became of the records of a log, of one seed; calls after the cut-off are held out from learning."""

    format: str
    records: Count
    left_out: dict[str, Count] = Field(description="by reason")
    learnt_from: Count
    later: Count = Field(description="usable calls from the cut-off on; some of their prompts are the held-out ones")
    identifiers: dict[str, Count] = Field(description="found in what is learnt from, by kind; none of them is a name")
    redacted: bool
    drift: Drift | None = Field(description="of later prompts, against those learnt from")


class Decision(StrEnum):
    DISTIL = "distil"
    DO_NOT_DISTIL = "do not distil"
    SIMPLER = "take the simpler pattern"
    UNSURE = "unsure"


class Verdict(Strict):
    decision: Decision
    reason: str


class Member(Strict):
    """One teacher of a committee; what is not an estimate is a mean over the seeds."""

    name: str
    competence: Estimate | None = Field(
        description="primary metric on the gold that it was not tuned on, n answers; None: it answered none of it"
    )
    weight: float = Field(ge=0, le=1, description="of its vote; those of a committee add up to 1")
    won: float = Field(ge=0, le=1, description="share of the transfer set that learnt its answer")
    heldout: Estimate = Field(description="primary metric of its own answers to the held-out slice")


class Tuning(Strict):
    """The learning-rate check of one arm: its primary metric on the development notes for each rate tried."""

    arm: ArmKind
    dev_score: dict[str, float]
    chosen: float


class Record(Strict):
    schema_version: Literal[1] = 1
    pattern: str
    platform: str
    command: str
    settings: dict[str, str] = Field(
        default_factory=dict, description="options that change what is measured, as gold=400; empty: the recipe's own"
    )
    date: datetime
    smoke: bool = Field(description="a shrunk run that proves the code works; its figures mean nothing")
    seeds: list[int]
    commit: str | None
    code_sha256: str
    machine: Machine
    packages: dict[str, str]
    task: Task
    teacher: Model
    student: Model
    arms: list[Arm]
    comparisons: list[Comparison]
    primary_metric: str
    simpler: str | None = Field(default=None, description="the pattern that this one adds to: what the verdict weighs")
    retention: Estimate = Field(
        description="distilled student over the teacher it learnt from (tuned, where it could be), held-out slice"
    )
    cascade: Cascade | None = None
    serving: dict[Literal["teacher", "student"], Serving] = Field(description="of the models on this machine")
    members: list[Member] = Field(default_factory=list, description="of the committee, where several teachers answered")
    tuning: list[Tuning]
    collection: Collection
    logs: list[Logs] = Field(default_factory=list, description="one a seed, where the transfer set came from a log")
    stages: list[Stage]
    verdict: Verdict

    def arm(self, kind: ArmKind) -> Arm:
        """The arm of this kind. Raises KeyError if the record has none."""
        for arm in self.arms:
            if arm.kind == kind:
                return arm
        raise KeyError(kind)

    @property
    def own_task(self) -> bool:
        """Whether it ran on its pattern's own task, which is the one that the pattern's page tells of."""
        return self.pattern not in RECIPES or self.task.name == RECIPES[self.pattern].task

    @property
    def labels(self) -> bool:
        """Whether an answer is one of a few labels. A classifier's counts as one token and a writer's is a few, so
        tokens per second compare nothing; what counts is the latency."""
        return self.primary_metric == "accuracy"

    @property
    def speedup(self) -> float | None:
        """Student over teacher, generated tokens per second at the same batch size.

        None for a teacher elsewhere, and where answers are labels.
        """
        teacher = self.serving.get("teacher")
        return self.serving["student"].tokens_per_s / teacher.tokens_per_s if teacher and not self.labels else None

    @property
    def latency_ratio(self) -> float | None:
        """Teacher over student, median latency of one answer: how many times as fast the student is, answering one
        prompt at a time. None for a teacher elsewhere."""
        teacher = self.serving.get("teacher")
        return teacher.latency_p50_s / self.serving["student"].latency_p50_s if teacher else None

    @property
    def size_ratio(self) -> float | None:
        """Student over teacher, bytes; None where the platform does not tell."""
        return self.student.bytes / self.teacher.bytes if self.teacher.bytes else None

    @property
    def stale(self) -> bool:
        """Whether the code that this record ran has changed since."""
        return self.code_sha256 != code_sha256(self.pattern, task=self.task.name)


class RecordError(InputError, ValueError):
    """A record file that cannot be read as a Record. The message names the file and the field."""


def load(path: Path) -> Record:
    """Read one record. Raises RecordError."""
    try:
        return Record.model_validate_json(path.read_text("utf-8"))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise RecordError(f"{path}: {where}: {first['msg']}; write it again with `distill run --record`") from error


def load_all(folder: Path = RECORDS) -> dict[str, Record]:
    """Every committed record by file stem, in name order. Raises RecordError."""
    return {path.stem: load(path) for path in sorted(folder.glob("*.json"))}


def save(record: Record, path: Path) -> None:
    """Write ``record`` so that a reader never sees half a file."""
    write_atomic(path, record.model_dump_json(indent=1) + "\n")


def write_atomic(path: Path, text: str) -> None:
    """Write ``text`` beside ``path``, flush it to disk, then rename. Raises OSError when the disk is full."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    try:
        with part.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    part.replace(path)


def link(path: Path, target: Path) -> None:
    """``path`` points to ``target`` by a relative path, so the work folder can be moved as a whole."""
    path.unlink(missing_ok=True)
    path.symlink_to(os.path.relpath(target, path.parent), target_is_directory=True)


def code_sha256(pattern: str, root: Path = ROOT, task: str | None = None) -> str:
    """A hash of the code that runs ``pattern`` on ``task``.

    It is blind to comments, docstrings and spacing (inside strings too).
    A record is stale when this differs from the hash it carries, so rewording a comment must not change it.
    """
    task = task or RECIPES[pattern].task
    own = TASKS[task].code if task in TASKS else ()  # of the user's own prompts the code is every recipe's
    return files_sha256((*RECIPES[pattern].code, *own), root)


def files_sha256(globs: tuple[str, ...], root: Path = ROOT) -> str:
    """The same hash of any files of the project."""
    digest = hashlib.sha256()
    for glob in sorted(globs):
        for path in sorted(root.glob(glob)):
            digest.update(path.relative_to(root).as_posix().encode())
            digest.update(json.dumps(_significant(path.read_text("utf-8"))).encode())
    return digest.hexdigest()


@cache
def _significant(source: str) -> str:
    """``source`` without comments, docstrings and white space; block structure is kept as { and }.

    Kept, as records of all patterns rest on much the same files.
    """
    skip = {tokenize.COMMENT, tokenize.NL, tokenize.ENCODING, tokenize.ENDMARKER}
    middle = getattr(tokenize, "FSTRING_MIDDLE", None)  # from Python 3.12 on, which tells `{{` there as `{`
    mark = {tokenize.INDENT: "{", tokenize.DEDENT: "}", tokenize.NEWLINE: ";"}
    tokens = [t for t in tokenize.generate_tokens(io.StringIO(source).readline) if t.type not in skip]
    kept: list[str] = []
    for i, token in enumerate(tokens):
        starts = i == 0 or tokens[i - 1].type in mark
        ends = i + 1 == len(tokens) or tokens[i + 1].type == tokenize.NEWLINE
        if token.type == tokenize.STRING and starts and ends:
            continue
        text = token.string.replace("{", "{{").replace("}", "}}") if token.type == middle else token.string
        kept.append(mark.get(token.type, "".join(text.split())))
    return "".join(kept)
