"""How an export comes to lie on the disk: whole and checked, or not at all."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from ..errors import disk_errors
from ..record import write_atomic
from ..teachers.local import content_hash
from . import Precision, Target
from .student import Student
from .verify import Agreement


@dataclass(frozen=True)
class Exported:
    """``place`` is the folder, the file or the name of the model; ``report`` is the file of what was measured."""

    place: str
    report: Path
    agreements: list[Agreement]


@contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """Where to write what is to be at ``path``: it is moved there when the block ends well, and removed when not."""
    part = path.with_name(path.name + ".part")
    with disk_errors(path, "--out"):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove(part)
        try:
            yield part
            _remove(path)
            part.replace(path)
        finally:
            _remove(part)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_report(
    path: Path, student: Student, target: Target, precision: Precision, files: list[Path], agreements: list[Agreement]
) -> None:
    """Write down what was exported, by hash, and how far each reader's model is from the student."""
    with disk_errors(path, "--out"):
        described = {
            "run": student.name,
            "student": content_hash(student.folder),
            "target": target,
            "precision": precision,
            "sha256": {file.name: _sha256(file) for file in files},
            "agreements": [asdict(agreement) for agreement in agreements],
        }
        write_atomic(path, json.dumps(described, indent=1) + "\n")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
