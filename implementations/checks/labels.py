"""How much gold there is, and whether the teacher is ahead of a student trained on it alone."""

from __future__ import annotations

import hashlib
import shlex
from contextlib import suppress
from pathlib import Path

from .. import record as records
from ..errors import InputError
from ..evaluation.measure import MARGIN
from ..figures import count, metric_title, points
from ..record import ArmKind, Comparison, Record, RecordError
from ..registry import RECIPES
from ..tasks.user_prompts import UserPrompts
from ..teachers import embedded, starts
from .model import Case, Check, Decision, Measured

# The built-in task's own two cases, `--gold 48` and `--gold 400`. Between them only the control of a run tells.
SCARCE, PLENTIFUL = 48, 400
TEACHERS = (ArmKind.TEACHER_TUNED, ArmKind.TEACHER_SHIPPED, ArmKind.TEACHER_ASSISTANT)


def gold(case: Case, lead: Comparison | None) -> Measured:
    """Rows with a reference against those without; a run's control knows better whether they are enough."""
    n, unlabelled = len(case.gold), len(case.transfer)
    source, mend = f"{case.prompts}", ""
    if n == 0:
        values, mend = ["none"], "write an expert's answer for some: without it nothing can be compared"
    elif lead and lead.difference.low > MARGIN:
        values, source = ["scarce"], f"a finished run: trained on them alone, the student stays {_of(lead)} behind"
    elif n <= SCARCE:
        values = ["scarce"]
    elif n >= PLENTIFUL:
        values = ["plentiful"]
    else:
        values = ["scarce", "plentiful"]
        mend = f"run it, and the control shows whether they are enough: {command(case)}"
    return Measured(
        dimension="gold_labels",
        values=values,
        what=f"{count(n)} rows with a reference, {count(unlabelled)} without (up to {SCARCE} counts as scarce, from "
        f"{PLENTIFUL} as plentiful)",
        source=source,
        mend=mend,
    )


def rows(case: Case) -> list[Check]:
    """Whether a run would refuse these rows, in the run's own words; nothing where it takes them."""
    if case.pattern not in RECIPES or case.pattern == "production-logs":  # which learns from a log instead
        return []
    try:
        UserPrompts(case.prompts, case.instruction, case.max_new_tokens)
    except InputError as error:
        what, _, mend = str(error).rpartition("; ")
        refused = {"name": "rows", "title": "Rows enough for a run", "decision": Decision.NO_GO}
        return [Check(**refused, what=what, source=f"what `distill run {case.pattern}` asks for", mend=mend)]
    return []


def advantage(case: Case, found: tuple[Path, Comparison] | None) -> Measured:
    """Teacher minus the student trained on the gold alone, on held-out items of a finished run."""
    if found is None:
        return Measured(
            dimension="teacher_advantage",
            values=["clear", "small", "none"],
            what="not measured: no finished run with these prompts and this teacher",
            source=f"{case.workdir}/*/record.json",
            mend=f"a run measures it, and asks the teacher: {command(case)}",
        )
    folder, lead = found
    low, high = lead.difference.low, lead.difference.high
    who = "committee" if lead.a is ArmKind.TEACHER_COMMITTEE else "teacher"
    values = [
        value
        for value, possible in (("clear", high > MARGIN), ("small", low <= MARGIN and high > 0), ("none", low <= 0))
        if possible
    ]
    return Measured(
        dimension="teacher_advantage",
        values=values,
        what=f"{metric_title(lead.metric)}, {who} minus gold alone: {_of(lead)}; {points(MARGIN)} count as noticed",
        estimate=lead.difference,
        source=f"{folder}/record.json, on held-out items",
        mend="" if len(values) == 1 else f"more held-out items or seeds narrow it: {command(case)} --seeds 3",
    )


def lead_of(case: Case) -> tuple[Path, Comparison] | None:
    """The folder and the teacher's lead of --run, else of the newest finished run with these prompts and this teacher.

    Raises InputError when --run is not such a run.
    """
    if case.run:
        return case.run, _lead(case, _load(case))
    found: list[tuple[Path, Record]] = []
    for path in case.workdir.glob("*/record.json"):
        with suppress(RecordError, OSError):
            record = records.load(path)
            if not path.parent.is_symlink() and not _why_not(case, record):
                found.append((path.parent, record))
    if not found:
        return None
    # The lead is the same question in every pattern; this pattern's own run comes first all the same.
    folder, record = max(found, key=lambda run: (run[1].pattern == case.pattern, run[1].date))
    return folder, _lead(case, record)


def command(case: Case) -> str:
    """The run that measures the teacher's lead: the pattern's own, or the plainest where it has no recipe."""
    pattern = case.pattern if case.pattern in RECIPES else "sequence-level"
    words = ["distill", "run", pattern, "--teacher", case.teacher, "--prompts", str(case.prompts)]
    return shlex.join([*words, *(["--instruction", case.instruction] if case.instruction else [])])


def _load(case: Case) -> Record:
    path = case.run / "record.json"
    if not path.is_file():
        raise InputError(
            f"--run {case.run}: no record.json; give the folder of a finished run, as `distill run` printed"
        )
    record = records.load(path)
    if why := _why_not(case, record):
        raise InputError(f"--run {case.run}: {why}; give a finished run with these, or leave --run out")
    return record


def _why_not(case: Case, record: Record) -> str:
    """Why ``record`` says nothing about this case; empty if it does."""
    if record.smoke:
        return "it was a smoke run, whose figures mean nothing"
    if record.task.name != f"prompts-{hashlib.sha256(case.prompts.read_bytes()).hexdigest()[:8]}":
        return f"it was not made with {case.prompts} as it is now"
    if (record.platform, record.teacher.name) != (case.platform, _teacher_name(case)):
        return f"its teacher was {record.teacher.name}"
    if _lead(case, record) is None:
        return "it holds no single teacher against the gold alone"
    return ""


def _teacher_name(case: Case) -> str:
    """What a record calls the teacher."""
    if case.platform != "local":
        return case.teacher
    if case.model in starts.STARTS:
        return starts.STARTS[case.model].NAME
    return Path(case.model).resolve().name if case.model else embedded.NAME


def _lead(case: Case, record: Record) -> Comparison | None:
    """Teacher minus gold alone, held out. A committee stands for its teachers where the pattern seats one."""
    recipe = RECIPES.get(case.pattern)
    kinds = (*TEACHERS, *([ArmKind.TEACHER_COMMITTEE] if recipe and recipe.committee else []))
    pairs = {c.a: c for c in record.comparisons if c.b == ArmKind.STUDENT_GOLD and c.slice == "heldout"}
    return next((pairs[kind] for kind in kinds if kind in pairs), None)


def _of(lead: Comparison) -> str:
    low, high = (points(end).removesuffix(" points") for end in (lead.difference.low, lead.difference.high))
    return f"{points(lead.difference.value)} ({low} to {high})"
