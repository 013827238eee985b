"""What the user asked for: the command line of `distill run`, `plan` and `launch`, read and checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .teachers.spending import Spending
from .transfer.config import Processes


@dataclass(frozen=True)
class Options:
    """The defaults are the command line's, see cli.py.

    ``task`` is a built-in task other than the pattern's own. ``others`` are the teachers of a committee beside
    ``teacher``. ``assistant`` is the open model that bridges what a platform does not give, None for the embedded one.
    ``processes`` share every training, where several do.
    ``answered`` are the identities of the remote teachers, in order, where their answers are in the ledger already:
    nothing is asked, and no package and no key of their platforms is needed. ``logs`` are files and folders of the
    teacher's logged answers, or where they lie on a platform; ``logs_format`` is one of LOG_FORMATS, or auto.
    """

    pattern: str
    teacher: str
    student: str | None
    assistant: Path | None
    gold: int | None
    task: str | None
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
    answered: tuple[str, ...] = ()
    logs: tuple[str, ...] = ()
    logs_format: str = "auto"
    processes: Processes | None = None
    others: tuple[str, ...] = ()

    @property
    def teachers(self) -> tuple[str, ...]:
        """What every --teacher said, in order."""
        return (self.teacher, *self.others)


@dataclass(frozen=True)
class Machine:
    """What a job of Vertex AI runs on, in Google's own words. ``accelerator`` is None for a machine without one.

    ``count`` is also how many processes --on accelerate starts here, and ``config`` how those share the work.
    """

    type: str
    accelerator: str | None
    count: int
    spot: bool
    image: str
    service_account: str | None
    config: Path | None = None


@dataclass(frozen=True)
class Launch:
    """A distillation that is done elsewhere; `registry.LAUNCHERS` says which option is whose.

    On Bedrock ``options.student`` is the platform's name of a model. ``role`` and ``output`` are in the platform's own
    notation.
    """

    options: Options
    output: str | None
    dry_run: bool
    cancel: bool
    role: str | None
    machine: Machine

    @property
    def logs(self) -> str | None:
        """Where logged prompts and answers lie, in the platform's notation."""
        return " ".join(self.options.logs) or None
