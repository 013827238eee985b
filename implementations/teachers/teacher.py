"""What every teacher is: something that answers requests and declares which signals it gives."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from ..registry import Signal


@dataclass(frozen=True)
class Request:
    """One question. Equal requests to one teacher have one answer, whoever asks and whenever.

    ``schema`` is the JSON schema that the answer must follow, as JSON text. ``top_logprobs`` is how many of the
    likeliest tokens to return with each token of the answer, 0 for none.
    """

    instruction: str
    prompt: str
    max_new_tokens: int
    schema: str | None = None
    top_logprobs: int = 0

    def key(self, teacher: str) -> str:
        """The content address of this request to the teacher of that identity: 64 hexadecimal digits.

        SHA-256 of the JSON text of [teacher, instruction, prompt, max_new_tokens, schema, top_logprobs].
        """
        before, after = _around_the_prompt(
            teacher, self.instruction, self.max_new_tokens, self.schema, self.top_logprobs
        )
        digest = before.copy()
        digest.update(f"{json.dumps(self.prompt)}{after}".encode())
        return digest.hexdigest()


@lru_cache(maxsize=64)
def _around_the_prompt(teacher: str, instruction: str, *settings: int | str | None) -> tuple[Any, str]:
    """What the keys of requests that differ in their prompts share, so that a hundred thousand of them take no time:
    the digest of the text before the prompt, and the text after it."""
    before = json.dumps([teacher, instruction]).removesuffix("]") + ", "
    return hashlib.sha256(before.encode()), ", " + json.dumps(settings).removeprefix("[")


class Kind(StrEnum):
    """What an answer turned out to be."""

    COMPLETE = "complete"
    TRUNCATED = "truncated"  # it ran into the request's token limit
    EMPTY = "empty"
    REFUSED = "refused"  # the model, or a filter of its platform, declined
    MALFORMED = "malformed"  # not the JSON that the request's schema asks for
    FAILED = "failed"  # the platform will never answer this request; ``reason`` says why
    PENDING = "pending"  # none yet, and the next run asks again; never in the ledger


@dataclass(frozen=True)
class Answer:
    """What came back, with the tokens that the platform counted. ``prompt_tokens`` includes the cached ones.

    ``seconds`` is this answer's share of the time its group took, so that a sum of them is wall time whether the
    answers were given now or in an earlier run. ``top_logprobs`` holds, for each token of the answer, the pairs of
    [token, natural log-probability] of the likeliest tokens there, the chosen one first.
    """

    text: str
    kind: Kind
    prompt_tokens: int
    completion_tokens: int
    seconds: float = 0.0
    reason: str = ""
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    top_logprobs: tuple[tuple[tuple[str, float], ...], ...] | None = None


class Destination(NamedTuple):
    """Where a platform's requests go, as the environment says.

    ``endpoint`` is HOST:PORT/PATH, without credentials, where that is not the provider's own address; else it is empty.
    """

    endpoint: str = ""
    leaves_machine: bool = False

    def identity(self, name: str) -> str:
        """Of the teacher of that name: another endpoint may serve other weights by it."""
        return f"{name}@{self.endpoint}" if self.endpoint else name


class Teacher(Protocol):
    """A model that answers.

    ``identity`` names the exact weights (a content hash, or platform and model version): it is part of every ledger
    key. ``folder`` holds the weights where they are on this machine, so that they can be tuned; else it is None.
    """

    name: str
    identity: str
    folder: Path | None
    gives: frozenset[Signal]


class LocalModel(Teacher, Protocol):
    """A model on this machine, which answers groups at once."""

    def answer(self, requests: list[Request]) -> Iterator[list[tuple[int, Answer]]]:
        """(Index into ``requests``, answer) in groups, in any order, as they are ready."""
        ...


@runtime_checkable
class RemoteTeacher(Teacher, Protocol):
    """A model behind a platform's API, asked one request at a time by many tasks at once.

    ``platform`` and ``model`` find its price. A client is made on first use, with the SDK's own retries switched off:
    collection retries, so that every request is counted.
    """

    platform: str
    model: str

    async def ask(self, request: Request) -> Answer:
        """One request over the network. Raises Busy, Dropped, Rejected, and InputError for what no request mends."""
        ...

    async def count_tokens(self, request: Request) -> int:
        """Tokens of instruction and prompt, by the platform's own count where it offers one, else an estimate."""
        ...

    async def close(self) -> None: ...


@runtime_checkable
class BatchTeacher(RemoteTeacher, Protocol):
    """A platform that also takes many requests as one job, cheaper and later. Jobs outlive this process.

    ``why_no_jobs`` says why jobs cannot be had here, and what to do to have them; it is empty when they can.
    ``least_in_job`` is the fewest requests that a job may hold. ``untried`` is whether a single request, of which there
    was none yet, would teach what to leave out of a job.
    """

    why_no_jobs: str
    least_in_job: int
    untried: bool

    async def submit(self, requests: dict[str, Request]) -> str:
        """Start a job; the keys come back with the results. Returns the platform's id of the job."""
        ...

    async def find(self, since: datetime, keys: Collection[str]) -> list[str]:
        """Ids of jobs made after ``since`` that may be of the requests with ``keys``, the likeliest first: one may have
        been started just before a kill. A platform whose jobs have no names knows them by their number of requests."""
        ...

    async def progress(self, job: str) -> tuple[int, bool]:
        """How many requests of the job are done, and whether it has ended."""
        ...

    def results(self, job: str) -> AsyncIterator[tuple[str, Answer | Exception]]:
        """(Key, answer or why there is none) of an ended job, in any order; keys may be missing."""
        ...

    async def cancel(self, job: str) -> None: ...


class Busy(Exception):
    """The platform asks to be asked later: 429, 503, 529. ``retry_after`` is in seconds where it says how long."""

    def __init__(self, reason: str, retry_after: float | None = None):
        super().__init__(reason)
        self.retry_after = retry_after


class Dropped(Exception):
    """No usable answer came, and asking again can help: a 5xx, a reset, a timeout, a body that cannot be read.

    ``billed`` is whether the platform may have charged for it, as when the connection broke while it answered; an
    error that the platform itself returned is not charged.
    """

    def __init__(self, reason: str, billed: bool = True):
        super().__init__(reason)
        self.billed = billed


class Rejected(Exception):
    """The platform will never answer this request, as when its prompt is too long. Others may go through."""
