"""What every teacher is: something that answers requests and declares which signals it gives."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
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


@dataclass(frozen=True)
class Answer:
    """What came back. ``truncated`` when it ran into the request's token limit.

    ``seconds`` is this answer's share of the time its group took, so that a sum of them is wall time whether the
    answers were given now or in an earlier run.
    """

    text: str
    prompt_tokens: int
    completion_tokens: int
    truncated: bool
    seconds: float


class Teacher(Protocol):
    """A model behind one platform.

    ``identity`` names the exact weights (a content hash, or provider and model version): it is part of every
    ledger key. ``answer`` yields (index into requests, answer) in groups, in any order, as they are ready.
    """

    name: str
    identity: str
    gives: frozenset[Signal]

    def answer(self, requests: list[Request]) -> Iterator[list[tuple[int, Answer]]]: ...
