"""What a user can mend. The command line prints the message alone and exits with status 2."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path


class InputError(Exception):
    """Something the user gave or the machine lacks. The message names the place and the mend."""


class ModelMissing(InputError):
    """A model that is not there and can be had: ``fetch`` downloads it and tells the bytes it has and those in all."""

    def __init__(self, message: str, fetch: Callable[[Callable[[int, int], None]], None]):
        super().__init__(message)
        self.fetch = fetch


def nearest(given: str, known: Collection[str]) -> str:
    """The mend of ``given``, a name that is none of ``known``, where one of them is near; else nothing."""
    near = difflib.get_close_matches(given, known, n=1)
    return f"did you mean `{near[0]}`?" if near else ""


def choose(given: str, known: Collection[str]) -> str:
    """The mend of ``given``, a name that is none of ``known``: the nearest of these, or else all of them."""
    return nearest(given, known) or f"choose one of: {', '.join(known)}"


@contextmanager
def disk_errors(where: Path, option: str | None = "--workdir") -> Iterator[None]:
    """Turn a full or read-only disk under ``where`` into an InputError that says what to do.

    ``option`` is what the user may give for another place, None where that is nothing.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # torch and safetensors wrap the system's error in their own types
        if is_full(error):
            raise full_disk(where, option) from error
        if (
            isinstance(error, PermissionError | NotADirectoryError | FileExistsError)
            or getattr(error, "errno", None) == errno.EROFS
            or _cannot_be_made(where, error)
        ):
            mend = f"give {option} a folder you own" if option else "make it writable, or copy it elsewhere"
            raise InputError(f"{where}: cannot be written ({error.strerror}); {mend}") from error
        raise


def full_disk(where: Path, option: str | None = "--workdir") -> InputError:
    """What to say where the disk under ``where`` is full."""
    kept = ": every answer in the ledger and the last whole checkpoint are kept" * (option == "--workdir")
    other = f" (or give {option} on another disk)" if option else ""
    return InputError(f"{where}: the disk is full; free some space{other} and run the same command again{kept}")


def _cannot_be_made(where: Path, error: Exception) -> bool:
    """Whether ``where`` or a folder above it is what is missing, as in /proc, where no folder can be made."""
    missing = error.filename if isinstance(error, FileNotFoundError) else None
    return missing is not None and where.is_relative_to(missing)


def is_full(error: BaseException) -> bool:
    """Whether ``error`` says, in whatever words, that the disk is full."""
    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
        return True
    text = str(error).lower()
    return (
        "no space left" in text
        or "disk is full" in text
        or "unexpected pos" in text
        or "enforce fail at inline_container" in text
    )
