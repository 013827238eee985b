"""The folder that runs share, before there is a `Workspace` in it, which takes torch."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import IO

from .errors import InputError, disk_errors


def prepare(root: Path) -> None:
    """Make the folder if it is not there, and see that nothing in it is ever committed: runs hold prompts."""
    with disk_errors(root):
        root.mkdir(parents=True, exist_ok=True)
        if not (ignore := root / ".gitignore").exists():  # one that is there is its owner's
            ignore.write_text("*\n")


def lock(root: Path) -> IO[str]:
    """Hold ``root`` until the file is closed, or this process ends, however it ends: two runs would write the same
    files. Raises InputError when another run holds it."""
    prepare(root)
    with disk_errors(root):
        file = (root / "lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise InputError(f"{root}: another run is at work here; wait for it, or give another --workdir") from None
    return file
