"""The user's own prompts: what of them `run`, `plan` and `check` refuse alike, beside tasks/user_prompts.py."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from .errors import InputError
from .figures import count, percent
from .tasks.task import Item
from .tasks.user_prompts import SHOWN, read

LEAST_LATIN = 0.5  # of the letters of the references: with fewer that ROUGE-L reads, no score says anything


class Rows(NamedTuple):
    """As much of a task as is known where there may be too few rows to be one."""

    title: str
    items: list[Item]


def read_rows(path: Path) -> list[Item]:
    """Every row of ``path``. Raises InputError, also where a row is more than JSON can be read from."""
    with readable(path):
        return read(path)


@contextmanager
def readable(path: Path | None, logs: Sequence[str] = ()) -> Iterator[None]:
    """Turn what Python's JSON reader gives up on, thousands of digits or brackets, into an InputError."""
    try:
        yield
    except (RecursionError, ValueError) as error:
        if isinstance(error, ValueError) and not _endless(error):
            raise
        where = path and _first_endless(path)
        place = f"{path}:{where}" if where else f"--logs {' '.join(logs)}" if logs else f"{path}"
        raise InputError(
            f"{place}: a number of thousands of digits, or thousands of brackets in each other, which cannot be read "
            "as JSON; shorten that row, or leave it out"
        ) from error


def _endless(error: ValueError) -> bool:
    """Whether ``error`` is Python's limit on the digits of a number."""
    return "integer string conversion" in str(error)


def _first_endless(path: Path) -> int | None:
    """The number of the first line of ``path`` that JSON cannot be read from."""
    for number, line in enumerate(path.read_text("utf-8-sig").split("\n"), 1):
        try:
            json.loads(line)
        except RecursionError:
            return number
        except ValueError as error:
            if _endless(error):
                return number
    return None


def check_script(path: Path, items: Iterable[Item]) -> None:
    """Raise InputError where the references of ``items`` are in a script that ROUGE-L, as it is here, does not read.

    It compares words of the letters a to z and digits (tasks/task.py): of other words nothing is left.
    """
    letters = [c for item in items for c in (item.reference or "").casefold() if c.isalpha()]
    latin = sum("a" <= letter <= "z" for letter in letters)
    if letters and latin < LEAST_LATIN * len(letters):
        raise InputError(
            f"{path}: {percent(latin / len(letters))} of the letters in its references are a to z, and answers are "
            "scored by ROUGE-L on these and on digits: every score would be near zero, of every model; give "
            "references in Latin script, whole texts or labels"
        )


def too_long(path: Path, items: Sequence[Item], tokens: Callable[[Item], int], most: int) -> list[str]:
    """The rows of ``path`` whose ``tokens``, with those of the answer, are more than the ``most`` that a model takes.

    ``items`` are all of its rows, in order.
    """
    text = path.read_text("utf-8-sig")
    numbers = [number for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    found = [(number, item.id, n) for number, item in zip(numbers, items, strict=True) if (n := tokens(item)) > most]
    lines = [
        f"{path}:{number}: {name!r} has {count(n)} tokens with its answer, and the model takes {count(most)}; shorten "
        "it, or give a smaller --max-new-tokens"
        for number, name, n in found[:SHOWN]
    ]
    return lines + [f"… and {len(found) - SHOWN} more"] * (len(found) > SHOWN)
