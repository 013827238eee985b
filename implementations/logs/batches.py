"""Requests and answers of batches, which are lines of different files, joined by their ids.

An id is unique within one batch alone, and batches made by one script have the same ids. So lines that follow each
other, whichever kind comes first, are taken for one batch until one clashes: an id with another request, or with
another answer, begins the next. What may as well be of the next is joined only where its id leaves no choice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise, takewhile
from typing import Any

from ..errors import InputError


@dataclass(frozen=True)
class Line:
    """A request or an answer, where it stands, and the module that reads it."""

    place: str
    reader: Any
    row: dict[str, Any]


@dataclass
class Run:
    """Lines of one kind that follow each other in one file, by id. ``asks`` is whether they are requests."""

    file: str
    asks: bool
    lines: dict[str, Line] = field(default_factory=dict)


@dataclass
class Batch:
    """Runs without a clash. ``requests`` and ``answers`` are the lines of all, by id; of those with an id of ``unsure``
    one may be the next batch's."""

    runs: list[Run] = field(default_factory=list)
    requests: dict[str, Line] = field(default_factory=dict)
    answers: dict[str, Line] = field(default_factory=dict)
    unsure: set[str] = field(default_factory=set)

    def lines(self, asks: bool) -> dict[str, Line]:
        return self.requests if asks else self.answers

    @property
    def whole(self) -> bool:
        return bool(self.requests and self.answers)

    def add(self, run: Run) -> None:
        self.runs.append(run)
        self.lines(run.asks).update({id: line for id, line in run.lines.items() if id not in self.lines(run.asks)})

    def clash(self, run: Run) -> tuple[Line, Line] | None:
        """The line here and the one of ``run`` that cannot be of one batch."""
        pairs = ((self.lines(run.asks).get(id, line), line) for id, line in run.lines.items())
        return next(((mine, other) for mine, other in pairs if mine.row != other.row), None)

    def spare(self, after: Batch) -> list[Run]:
        """The last runs, without which this batch is whole, and which may as well be of ``after``."""
        kinds = [run.asks for run in self.runs]
        least = max(kinds.index(True), kinds.index(False)) + 1
        return list(takewhile(lambda run: not after.clash(run), reversed(self.runs[least:])))


class Batches:
    """The lines of batches in the order of reading. ``repeated`` are the places of answers that were there already."""

    def __init__(self) -> None:
        self.runs: list[Run] = []
        self.repeated: list[str] = []

    def add(self, line: Line) -> None:
        id, file, asks = str(line.row["custom_id"]), line.place.rpartition(":")[0], line.reader.asked(line.row)
        if not self.runs or (self.runs[-1].file, self.runs[-1].asks) != (file, asks):
            self.runs.append(Run(file, asks))
        there = self.runs[-1].lines.get(id)
        if there and there.row != line.row:
            self.runs.append(Run(file, asks, {id: line}))
        elif there and not asks:
            self.repeated.append(line.place)
        else:
            self.runs[-1].lines[id] = line

    def joined(self) -> Iterator[tuple[Line | None, Line | None]]:
        """Every answer with its request, and what has no other. Raises InputError where that cannot be told."""
        for batch in self._split():
            for id, answer in batch.answers.items():
                yield answer, batch.requests.get(id) if id not in batch.unsure else None
            for id, request in batch.requests.items():
                if id not in batch.answers or id in batch.unsure:
                    yield None, request

    def _split(self) -> list[Batch]:
        batches, clashes = [Batch()], []
        for run in self.runs:
            if clash := batches[-1].clash(run):
                clashes.append(clash)
                batches.append(Batch())
            else:
                known = batches[-1].answers if not run.asks else {}
                self.repeated += [line.place for id, line in run.lines.items() if id in known]
            batches[-1].add(run)
        for (before, after), clash in zip(pairwise(batches), clashes, strict=True):
            spare = before.spare(after) if before.whole else []
            if not before.whole or not (after.whole or spare):
                raise InputError(_ambiguous(*clash))
            before.unsure.update(id for run in spare for id in run.lines if id in after.lines(not run.asks))
        return batches


def _ambiguous(first: Line, second: Line) -> str:
    return (
        f"--logs {second.place}: its custom_id {second.row['custom_id']} is also that of {first.place}, and whose "
        "answer is whose cannot be told, as an id is unique within one batch alone; give each batch's requests and "
        "answers in turn: --logs IN1 --logs OUT1 --logs IN2 --logs OUT2, and none without the other"
    )
