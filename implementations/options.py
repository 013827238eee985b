"""What the user asked for: the command line of `distill run` and `distill plan`, read and checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .teachers.spending import Spending


@dataclass(frozen=True)
class Options:
    """The defaults are the command line's, see cli.py."""

    pattern: str
    teacher: str
    student: str | None
    gold: int | None
    prompts: Path | None
    instruction: str
    max_new_tokens: int
    smoke: bool
    record: bool
    seed: int
    seeds: int | None
    device: str
    workdir: Path
    skip_empty: bool
    allow_cloud: bool
    redact: bool
    spending: Spending
    command: str
