"""From log files to the calls in them, one after another: a file of any size takes the memory of its longest line, but
for those of batches, whose requests and answers must be joined first.

What cannot be used is counted by reason, with the place of the first of its kind: a log is never clean, and one broken
line in a million is no reason to stop. Only a file in which nothing is recognized is an error.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from ..errors import InputError
from . import anthropic, bedrock, langsmith, openai, vertex
from .batches import Batches, Line
from .logged import Left, Logged, Skipped

# By what --logs-format says; see LOG_FORMATS of the registry.
FORMATS = {"bedrock": bedrock, "openai": openai, "anthropic": anthropic, "langsmith": langsmith, "vertex": vertex}
# Whose log is written how, by the platform or by a gateway before it. Ollama and local servers speak OpenAI's API.
OF_PLATFORM = {
    "local": "openai",
    "ollama": "openai",
    "claude": "anthropic",
    "langchain": "langsmith",
    "vertex": "vertex",
    "bedrock": "bedrock",
}
LONGEST = 16 * 2**20  # bytes of a line
SUFFIXES = (".jsonl", ".json", ".ndjson", ".log", ".gz", ".parquet")
GZIP = b"\x1f\x8b"
MALFORMED = (KeyError, IndexError, TypeError, ValueError, AttributeError)  # what a record of another shape raises


class Tally:
    """How many records were read, and why which were left out."""

    def __init__(self) -> None:
        self.formats: set[str] = set()
        self.records = 0
        self.left: Counter[Left] = Counter()
        self.first: dict[Left, str] = {}

    def leave(self, why: Left, place: str = "", number: int = 1) -> None:
        if number:
            self.left[why] += number
            self.first.setdefault(why, place)

    def __str__(self) -> str:
        reasons = ", ".join(f"{number} {why}" for why, number in self.left.most_common())
        return f"{self.records} records" + (f", of which left out: {reasons}" if reasons else "")


def read(paths: Iterable[Path], form: str = "auto", tally: Tally | None = None) -> Iterator[Logged]:
    """The calls in ``paths``, files and folders of them, in their order, those of batches last.

    ``tally`` counts what is left out meanwhile.
    Raises InputError: no such file, a file that breaks off, one without a single record of ``form``, or batches of
    which nobody can tell whose answer is whose.
    """
    tally = Tally() if tally is None else tally
    batches = Batches()
    for path in _files(paths):
        reader = None
        for place, row in _rows(path, tally):
            reader = reader or _reader(row, form)
            if reader is None:
                tally.leave(Left.UNKNOWN, place)
                continue
            tally.formats.add(reader.__name__.rpartition(".")[2])
            if "custom_id" in row:
                batches.add(Line(place, reader, row))
                tally.records -= reader.asked(row)  # it counts with its answer
            else:
                yield from _parsed(Line(place, reader, row), None, tally)
        if reader is None:
            raise InputError(_unknown(path, form, tally))
    for answer, request in batches.joined():
        if answer:
            yield from _parsed(answer, request, tally)
        else:
            tally.records += 1
            tally.leave(Left.NO_ANSWER, request.place)
    tally.leave(Left.NO_REQUEST, next(iter(batches.repeated), ""), number=len(batches.repeated))


def _parsed(answer: Line, request: Line | None, tally: Tally) -> Iterator[Logged]:
    """The call of ``answer``, if there is one."""
    try:
        yield answer.reader.parse(answer.row, request and request.row)
    except Skipped as skipped:
        tally.leave(skipped.why, answer.place)
    except MALFORMED:
        tally.leave(Left.UNKNOWN, answer.place)


def _reader(row: dict[str, Any], form: str) -> Any:
    """The module that reads ``row``: that of ``form``, or whichever recognizes it."""
    candidates = FORMATS.values() if form == "auto" else [FORMATS[form]]
    return next((module for module in candidates if module.recognises(row)), None)


def _unknown(path: Path, form: str, tally: Tally) -> str:
    expected = f"no record of the format {form}" if form != "auto" else "no record of a known format"
    places = "; ".join(f"{place}: {why}" for why, place in tally.first.items() if place.startswith(f"{path}:"))
    return (
        f"--logs {path}: {expected}{f' ({places})' if places else ''}; give JSON lines, one record a line (jq -c '.[]' "
        f"makes them of an array), and --logs-format, one of {', '.join(FORMATS)}, if they are of these"
    )


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    """Every log file of ``paths``, those of a folder in the order of their names."""
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.is_file() and p.suffix in SUFFIXES)
            if not inside:
                raise InputError(f"--logs {path}: no log file in it; give a folder with {', '.join(SUFFIXES)}")
            yield from inside
        elif path.is_file():
            yield path
        else:
            copy = "; copy it here first (aws s3 sync, gcloud storage cp)" if ":/" in str(path) else "; give a log"
            raise InputError(f"--logs {path}: no such file{copy}")


def _rows(path: Path, tally: Tally) -> Iterator[tuple[str, dict[str, Any]]]:
    """(Place, record) of every line, or row, that holds a JSON object."""
    if path.suffix == ".parquet":
        yield from _parquet(path, tally)
        return
    try:
        with path.open("rb") as raw:
            magic = raw.read(2)
            raw.seek(0)
            with gzip.open(raw) if magic == GZIP else raw as file:
                for number, line in _lines(file):
                    if not line.strip():
                        continue
                    tally.records += 1
                    place = f"{path}:{number}"
                    if len(line) > LONGEST:
                        tally.leave(Left.TOO_LONG, place)
                        continue
                    try:
                        row = json.loads(line)
                    except ValueError:  # JSON and Unicode errors alike
                        tally.leave(Left.BROKEN, place)
                        continue
                    if isinstance(row, dict):
                        yield place, row
                    else:
                        tally.leave(Left.UNKNOWN, place)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"--logs {path}: {error}; copy it again, or leave it out") from error


def _lines(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Numbered lines; of one that is longer than ``LONGEST`` no more than shows that it is."""
    number = 0
    while line := file.readline(LONGEST + 1):
        number += 1
        rest = line
        while len(rest) > LONGEST and not rest.endswith(b"\n"):
            rest = file.readline(LONGEST + 1)
        yield number, line


def _parquet(path: Path, tally: Tally) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise InputError(f"--logs {path}: Parquet needs pyarrow; run: pip install -e '.[parquet]'") from error
    try:
        with ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches(batch_size=256):
                for row in batch.to_pylist():
                    tally.records += 1
                    yield f"{path}:{(number := number + 1)}", row
    except (OSError, ArrowException) as error:
        raise InputError(f"--logs {path}: {str(error).splitlines()[0]}; export it again, or leave it out") from error
