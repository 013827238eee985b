"""What the user asked for: the command line of `distill run`, `plan` and `launch`, read and checked."""

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


@dataclass(frozen=True)
class Launch:
    """A distillation that a platform does as a whole. ``options.student`` is the platform's name of a model.

    ``role`` and ``output`` are in the platform's own notation; ``logs`` is where logged prompts and answers lie.
    """

    options: Options
    role: str | None
    output: str | None
    logs: str | None
    dry_run: bool
    cancel: bool
