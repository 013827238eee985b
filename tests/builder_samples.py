"""What the tests of the catalogue share: a small good catalogue, and a record with made-up figures."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from builder.check import check
from builder.load import Catalogue, Measured, Problem, parse, read
from builder.render import render
from implementations.record import (
    Arm,
    Collection,
    Comparison,
    Estimate,
    Machine,
    Model,
    Record,
    Serving,
    Stage,
    Task,
    Tuning,
    Verdict,
    code_sha256,
)

ROOT = Path(__file__).resolve().parent.parent
GOOD = Path(__file__).parent / "fixtures" / "good"
BAD = Path(__file__).parent / "fixtures" / "bad"


def copy_good(folder: Path) -> Path:
    return Path(shutil.copytree(GOOD, folder, dirs_exist_ok=True))


def load(root: Path, own: Path | None = None) -> tuple[Catalogue, list[Problem]]:
    catalogue, problems = read(root, own)
    return catalogue, sorted(problems + check(catalogue))


@cache
def real_catalogue() -> Catalogue:
    """What this repository holds."""
    return load(ROOT)[0]


@cache
def real_pages() -> dict[str, str]:
    return render(real_catalogue())


BOMB = "<script>alert(1)</script><img src=x onerror=alert(1)>{: onclick=alert(1) }[x](javascript:alert(1))"


def poison(value: Any, bomb: str = BOMB) -> Any:
    """The same data with the bomb in every text that has a space, which no slug, key, date or address has."""
    if isinstance(value, dict):
        return {key: value[key] if key in ("diagram", "verdict") else poison(value[key], bomb) for key in value}
    if isinstance(value, list):
        return [poison(item, bomb) for item in value]
    return f"{value.strip()} {bomb}" if isinstance(value, str) and " " in value else value


def load_hostile(folder: Path, bomb: str = BOMB) -> tuple[Catalogue, list[Problem]]:
    """The good catalogue with markup and script in every text, and its problems."""
    root = copy_good(folder)
    for path in root.rglob("*.yml"):
        data = poison(parse(path.read_text("utf-8"), path.name).data, bomb)
        path.write_text(json.dumps(data, ensure_ascii=False), "utf-8")
    return load(root)


def estimate(value: float) -> Estimate:
    return Estimate(value=value, low=value - 0.02, high=value + 0.02, n=77, per_seed=[value - 0.01, value + 0.01])


def make_record(**changes: Any) -> Record:
    """A record whose figures nobody measured: each is odd enough to be found again on a page."""
    arms = (
        ("teacher_shipped", "Teacher as shipped", "teacher", 0.111),
        ("teacher_tuned", "Teacher tuned", "teacher", 0.888),
        ("student_before", "Student before", "student", 0.033),
        ("student_gold", "Student on gold alone", "student", 0.333),
        ("student_distilled", "Student distilled", "student", 0.777),
    )
    fields: dict[str, Any] = {
        "pattern": "sequence-level",
        "platform": "local",
        "command": "distill run sequence-level --record",
        "date": datetime(2031, 1, 2, tzinfo=UTC),
        "smoke": False,
        "seeds": [0, 1],
        "commit": None,
        "code_sha256": code_sha256("sequence-level"),
        "machine": Machine(
            processor="Abacus <script>", cores=13, memory_gib=3.5, gpu=None, system="Linux", python="3.11.7"
        ),
        "packages": {"torch": "2.13.0"},
        "task": Task(name="clinical-summary", title="A made-up task", data_sha256="0" * 64, sizes={"gold": 4321}),
        "teacher": Model(name="Big", parameters=999_000_000, bytes=2_000_000_000, layers=30, dtype="bfloat16"),
        "student": Model(name="Small", parameters=123_000_000, bytes=500_000_000, layers=10, dtype="bfloat16"),
        "arms": [
            Arm(
                kind=kind,
                title=title,
                model=model,
                metrics={"heldout": {"fact_f1": estimate(value)}, "unseen": {"fact_f1": estimate(value - 0.005)}},
            )
            for kind, title, model, value in arms
        ],
        "comparisons": [
            Comparison(
                a="student_distilled",
                b="student_gold",
                slice="heldout",
                metric="fact_f1",
                difference=Estimate(value=0.444, low=0.4, high=0.5, n=77),
            )
        ],
        "primary_metric": "fact_f1",
        "retention": Estimate(value=0.8767, low=0.8432, high=0.9021, n=77),
        "serving": {
            "teacher": Serving(
                latency_p50_s=5.67, latency_p95_s=9.87, latency_n=9, tokens_per_s=100, batch=8, peak_memory_mib=900
            ),
            "student": Serving(
                latency_p50_s=0.543, latency_p95_s=1.98, latency_n=9, tokens_per_s=730, batch=8, peak_memory_mib=345
            ),
        },
        "tuning": [Tuning(arm="student_gold", dev_score={"0.001": 0.5}, chosen=0.001)],
        "collection": Collection(
            asked=50,
            from_ledger=6,
            empty=0,
            truncated=1,
            duplicates=2,
            prompt_tokens=10,
            completion_tokens=20,
            usd=1.25,
        ),
        "stages": [Stage(name="collect", seconds=61), Stage(name="distil", seconds=122)],
        "verdict": Verdict(decision="distil", reason="Because it was made up."),
    }
    return Record.model_validate({**fields, **changes})


def measured(*, own: bool = False, stale: bool = False, name: str = "made-up", **changes: Any) -> Measured:
    return Measured(name, make_record(**changes), own, stale)
