"""This project's code as one archive, and the packages that it needs: what a machine elsewhere runs.

No build: the archive is unpacked and run where it lies, so what runs is what was packed. Records are left out, for they
change no run, and a run that adds one would else be another run.
"""

from __future__ import annotations

import io
import tarfile
import tomllib
from pathlib import Path

from ..errors import InputError
from ..record import ROOT

SUFFIXES = {".py", ".yml", ".txt", ".j2"}  # of code; not of records
REQUIREMENTS = "requirements.txt"


def pack(also: list[str], root: Path = ROOT) -> bytes:
    """A tar of the code under ``root``, with a requirements.txt for a run and for ``also``.

    The same code gives the same bytes anywhere. Raises InputError where there is no pyproject.toml.
    """
    try:
        project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    except OSError as error:
        raise InputError(f"{root}: {error.strerror}; launch from the project's folder, installed with -e") from error
    needed = [*project["dependencies"], *project["optional-dependencies"]["train"], *also]
    files = {REQUIREMENTS: "".join(f"{line}\n" for line in needed).encode()}
    for path in sorted((root / "implementations").rglob("*")):
        if path.suffix in SUFFIXES and path.is_file():
            files[path.relative_to(root).as_posix()] = path.read_bytes()
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)  # whose owner, time and mode are always the same
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return archive.getvalue()
