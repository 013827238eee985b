"""What every teacher is: something that answers requests and declares which signals it gives."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from ..registry import Signal


@dataclass(frozen=True)
class Request:
    """One question. Equal requests to one teacher have one answer, whoever asks and whenever."""

    instruction: str
    prompt: str
    max_new_tokens: int

    def key(self, teacher: str) -> str:
        """The content address of this request to the teacher of that identity."""
        content = json.dumps({"teacher": teacher, **asdict(self)}, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(content.encode()).hexdigest()


class Kind(StrEnum):
    """What an answer turned out to be."""

    COMPLETE = "complete"
    TRUNCATED = "truncated"  # it ran into the request's token limit
    EMPTY = "empty"


@dataclass(frozen=True)
class Answer:
    """What came back.

    ``seconds`` is this answer's share of the time its group took, so that a sum of them is wall time whether the
    answers were given now or in an earlier run.
    """

    text: str
    kind: Kind
    prompt_tokens: int
    completion_tokens: int
    seconds: float


class Teacher(Protocol):
    """A model behind one platform.

    ``identity`` names the exact weights (a content hash, or provider and model version): it is part of every
    ledger key. ``folder`` holds the weights where they are on this machine, so that they can be tuned; else it is
    None. ``answer`` yields (index into requests, answer) in groups, in any order, as they are ready.
    """

    name: str
    identity: str
    folder: Path | None
    gives: frozenset[Signal]

    def answer(self, requests: list[Request]) -> Iterator[list[tuple[int, Answer]]]: ...
