"""Which trainings several processes cannot share: known from the command line, before anything goes to a machine."""

from __future__ import annotations

from ..errors import InputError
from ..options import Options
from ..teachers import starts


def check_shared(options: Options, mend: str) -> None:
    """Raise InputError with ``mend`` where a classifier is trained: by one process, see ``Workspace.train``."""
    for option, spec in (("--student", options.student), *(("--teacher", spec) for spec in options.teachers)):
        if spec and starts.classifies(spec):
            raise InputError(f"{option} {spec}: a classifier is trained by one process; {mend}")
