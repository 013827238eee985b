"""The ledger: every request, every attempt and every answer, committed before anything else sees it.

SQLite in WAL mode, so a reader never blocks the writer and a killed process leaves whole answers only. Answers are
what is learnt from; attempts are what was asked and paid: one row for each request that went over a network, written
before it goes, so that what was under way at a kill is known afterwards.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from ..errors import InputError, full_disk, is_full
from .teacher import Answer, Kind, Request

VERSION = 2  # of the tables, in SQLite's user_version
SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY,          -- Request.key: teacher and request by content
    teacher TEXT NOT NULL,         -- Teacher.identity
    instruction TEXT NOT NULL,
    prompt TEXT NOT NULL,
    max_new_tokens INTEGER NOT NULL,
    answer TEXT NOT NULL,
    kind TEXT NOT NULL,            -- Kind: complete, truncated, empty, …
    reason TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    cache_read_tokens INTEGER NOT NULL,
    cache_write_tokens INTEGER NOT NULL,
    seconds REAL NOT NULL,
    top_logprobs TEXT,             -- JSON
    answered_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
) STRICT;
CREATE TABLE IF NOT EXISTS attempts (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL,
    teacher TEXT NOT NULL,
    batch INTEGER,                 -- the row in batches, for a request that went in a job
    outcome TEXT NOT NULL,         -- Outcome
    reason TEXT NOT NULL DEFAULT '',
    usd REAL NOT NULL,             -- paid; while no answer tells, the most that it can cost
    at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
) STRICT;
CREATE INDEX IF NOT EXISTS attempts_by_key ON attempts (key);
CREATE INDEX IF NOT EXISTS attempts_by_teacher ON attempts (teacher, outcome, usd);
CREATE INDEX IF NOT EXISTS attempts_by_batch ON attempts (batch) WHERE batch IS NOT NULL;
CREATE TABLE IF NOT EXISTS batches (
    id INTEGER PRIMARY KEY,
    teacher TEXT NOT NULL,
    job TEXT,                      -- the platform's id; null until it has told it
    ended INTEGER NOT NULL DEFAULT 0,
    submitted_at TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS batch_requests (
    attempt INTEGER PRIMARY KEY,
    request TEXT NOT NULL          -- JSON: whoever fetches the job's results may not have asked for them
) STRICT;
"""
KINDS = {kind.value: kind for kind in Kind}
MOST_VARIABLES = 5000  # in one SELECT; SQLite's own limit is higher, and nothing is gained past this
SCAN = 3  # rows of an index are read in the time that looking up one key takes


class Outcome(StrEnum):
    """How an attempt ended."""

    UNDER_WAY = "under way"
    ANSWERED = "answered"
    BUSY = "busy"  # the platform asked to be asked later
    DROPPED = "dropped"  # no usable answer came
    REJECTED = "rejected"  # the platform will never answer this
    INTERRUPTED = "interrupted"  # under way when a process ended


PAID = (Outcome.UNDER_WAY, Outcome.ANSWERED, Outcome.DROPPED, Outcome.INTERRUPTED)


@dataclass(frozen=True)
class End:
    """How the attempt of this id ended; with ``answer`` when that is the request's answer for good.

    Without an outcome it never went over the network, and is forgotten.
    """

    attempt: int
    outcome: Outcome | None
    usd: float
    reason: str = ""
    answer: tuple[str, Request, Answer] | None = None  # with the teacher's identity


@dataclass(frozen=True)
class Batch:
    """A job at a platform that is not known to have ended. ``job`` is None when a kill came before its id."""

    id: int
    job: str | None
    submitted_at: datetime
    attempts: dict[str, tuple[int, Request]]  # by key: the attempt's id, and what was asked


class Ledger:
    """Answers and attempts. Use as a context manager; one thread at a time.

    Raises InputError when the file is no ledger or the disk is full.
    """

    def __init__(self, path: Path):
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._errors("move the file away, or give --workdir another folder"):
            self._db = sqlite3.connect(path, timeout=30, check_same_thread=False)
            [version] = self._db.execute("PRAGMA user_version").fetchone()
            tables = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone() != (0,)
            if tables and version != VERSION:
                raise sqlite3.DatabaseError(f"made by another version of this project (tables {version})")
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")  # an answer survives a power cut, not only a kill
            # All or nothing: a kill between tables and version would leave what looks like another version's.
            self._db.executescript(f"BEGIN IMMEDIATE; {SCHEMA}; PRAGMA user_version={VERSION}; COMMIT")

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    @contextmanager
    def _errors(self, mend: str | None = None) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if is_full(error):
                raise full_disk(self.path) from error
            mend = mend or "mend that and run the same command again: every answer that was committed is kept"
            raise InputError(f"{self.path}: {error}; {mend}") from error

    # -- answers

    def known(self, teacher: str, requests: list[Request]) -> dict[int, Answer]:
        """The answers that are already there, by index into ``requests``."""
        keys = [request.key(teacher) for request in requests]
        found = self._found(keys)
        return {i: found[key] for i, key in enumerate(keys) if key in found}

    def answered(self, teacher: str, requests: list[Request]) -> set[int]:
        """Which of ``requests`` are answered, by index: quicker than ``known`` where nobody reads the answers yet."""
        keys = [request.key(teacher) for request in requests]
        with self._errors():
            [most] = self._db.execute("SELECT coalesce(max(rowid), 0) FROM answers").fetchone()
            if most <= SCAN * len(keys):
                found = {key for [key] in self._db.execute("SELECT key FROM answers")}
            else:
                select = "SELECT key FROM answers WHERE key IN"
                found = {key for part in _parts(keys) for [key] in self._db.execute(f"{select} ({_marks(part)})", part)}
        return {i for i, key in enumerate(keys) if key in found}

    def _found(self, keys: list[str]) -> dict[str, Answer]:
        found: dict[str, Answer] = {}
        with self._errors():
            for part in _parts(keys):
                rows = self._db.execute(
                    "SELECT key, answer, kind, prompt_tokens, completion_tokens, seconds, reason, cache_read_tokens, "
                    f"cache_write_tokens, top_logprobs FROM answers WHERE key IN ({_marks(part)})",
                    part,
                )
                for key, text, kind, *numbers, logprobs in rows:
                    found[key] = Answer(text, KINDS[kind], *numbers, _logprobs(logprobs))
        return found

    def add(self, teacher: str, answers: Iterable[tuple[Request, Answer]]) -> None:
        """Commit ``answers``: when this returns they are on disk. A request answered before keeps its answer."""
        rows = [_row(teacher, request, answer) for request, answer in answers]
        with self._errors(), self._db:
            self._db.executemany(INSERT, rows)

    def extract(self, path: Path, teacher: str, requests: list[Request]) -> None:
        """Write a ledger to ``path`` that has what became of ``requests``, and nothing else."""
        keys = list({request.key(teacher) for request in requests})
        with Ledger(path):
            pass  # its tables
        with self._errors():
            self._db.execute("ATTACH ? AS other", (str(path),))
            with self._db:
                for part in _parts(keys):
                    wanted = f"WHERE key IN ({_marks(part)})"
                    self._db.execute(f"INSERT INTO other.answers SELECT * FROM answers {wanted}", part)
                    columns = "id, key, teacher, outcome, reason, usd, at"
                    rows = f"SELECT {columns} FROM attempts {wanted}"
                    self._db.execute(f"INSERT INTO other.attempts ({columns}) {rows}", part)
            self._db.execute("DETACH other")

    def __len__(self) -> int:
        return self._db.execute("SELECT count(*) FROM answers").fetchone()[0]

    # -- attempts

    def write(self, teacher: str, begins: list[tuple[str, float]], ends: list[End]) -> list[int]:
        """Commit, at once, attempts that begin (key, most US dollars) and attempts that end.

        Returns the ids of those that begin, in order: when it returns they may go over the network.
        """
        with self._errors(), self._db:
            self._db.executemany(
                "UPDATE attempts SET outcome = ?, usd = ?, reason = ? WHERE id = ?",
                [(end.outcome, end.usd, end.reason, end.attempt) for end in ends if end.outcome],
            )
            unsent = [(end.attempt,) for end in ends if not end.outcome]
            self._db.executemany("DELETE FROM attempts WHERE id = ?", unsent)
            self._db.executemany(INSERT, [_row(*end.answer) for end in ends if end.answer])
            return [self._begin(teacher, key, usd, None) for key, usd in begins]

    def _begin(self, teacher: str, key: str, usd: float, batch: int | None) -> int:
        row = (key, teacher, batch, Outcome.UNDER_WAY, usd)
        [[number]] = self._db.execute(
            "INSERT INTO attempts (key, teacher, batch, outcome, usd) VALUES (?, ?, ?, ?, ?) RETURNING id", row
        )
        return number

    def interrupted(self, teacher: str) -> int:
        """Mark what an ended process left under way, jobs apart; how many that were."""
        with self._errors(), self._db:
            return self._db.execute(
                "UPDATE attempts SET outcome = ? WHERE teacher = ? AND outcome = ? AND batch IS NULL",
                (Outcome.INTERRUPTED, teacher, Outcome.UNDER_WAY),
            ).rowcount

    def spent(self, teacher: str) -> float:
        """US dollars paid to ``teacher``, and the most that attempts without an answer can have cost."""
        with self._errors():
            marks = ",".join("?" * len(PAID))
            query = f"SELECT coalesce(sum(usd), 0) FROM attempts WHERE teacher = ? AND outcome IN ({marks})"
            return self._db.execute(query, (teacher, *PAID)).fetchone()[0]

    def outcomes(self, teacher: str, requests: list[Request]) -> tuple[dict[Outcome, int], float]:
        """How the attempts at ``requests`` ended, and the US dollars that their answers cost."""
        counts: dict[Outcome, int] = {}
        usd = 0.0
        keys = list({request.key(teacher) for request in requests})
        with self._errors():
            for part in _parts(keys):
                query = f"SELECT outcome, count(*), sum(usd) FROM attempts WHERE key IN ({_marks(part)}) GROUP BY 1"
                for outcome, number, paid in self._db.execute(query, part):
                    counts[Outcome(outcome)] = counts.get(Outcome(outcome), 0) + number
                    usd += paid if outcome == Outcome.ANSWERED else 0.0
        return counts, usd

    def reasons(self, teacher: str, requests: list[Request]) -> dict[int, str]:
        """Why the last attempt at each request failed, by index, for those that have no answer."""
        keys = [request.key(teacher) for request in requests]
        last: dict[str, str] = {}
        with self._errors():
            for part in _parts(keys):
                query = f"SELECT key, reason FROM attempts WHERE key IN ({_marks(part)}) ORDER BY id"
                last |= dict(self._db.execute(query, part).fetchall())
        return {i: last[key] for i, key in enumerate(keys) if key in last}

    # -- jobs

    def open_batch(self, teacher: str, requests: list[Request], usd: list[float]) -> Batch:
        """Commit a job and its requests, with the most that each can cost, before it is submitted."""
        now = datetime.now(UTC)
        with self._errors(), self._db:
            row = (teacher, now.isoformat())
            [[number]] = self._db.execute("INSERT INTO batches (teacher, submitted_at) VALUES (?, ?) RETURNING id", row)
            keys = [request.key(teacher) for request in requests]
            ids = [self._begin(teacher, key, cost, number) for key, cost in zip(keys, usd, strict=True)]
            rows = [(id, json.dumps(asdict(request))) for id, request in zip(ids, requests, strict=True)]
            self._db.executemany("INSERT INTO batch_requests VALUES (?, ?)", rows)
        attempts = dict(zip(keys, zip(ids, requests, strict=True), strict=True))
        return Batch(number, None, now, attempts)

    def name_batch(self, batch: Batch, job: str) -> None:
        """Commit the platform's id of the job."""
        with self._errors(), self._db:
            self._db.execute("UPDATE batches SET job = ? WHERE id = ?", (job, batch.id))

    def end_batch(self, batch: Batch) -> None:
        """No more results are to come: what is still under way of it has failed.

        Of a job that was there nobody knows whether it is paid, so that the most that it can cost stays.
        """
        with self._errors(), self._db:
            self._db.execute("UPDATE batches SET ended = 1 WHERE id = ?", (batch.id,))
            self._db.execute(
                "UPDATE attempts SET outcome = ?, usd = usd * ?, reason = ? WHERE batch = ? AND outcome = ?",
                (
                    Outcome.DROPPED,
                    batch.job is not None,
                    "the job ended without a result for it",
                    batch.id,
                    Outcome.UNDER_WAY,
                ),
            )

    def batches(self, teacher: str) -> list[Batch]:
        """Jobs that are not known to have ended, oldest first."""
        with self._errors():
            query = "SELECT id, job, submitted_at FROM batches WHERE teacher = ? AND NOT ended ORDER BY id"
            rows = self._db.execute(query, (teacher,)).fetchall()
            return [Batch(id, job, datetime.fromisoformat(at), self._under_way(id)) for id, job, at in rows]

    def _under_way(self, batch: int) -> dict[str, tuple[int, Request]]:
        rows = self._db.execute(
            "SELECT key, id, request FROM attempts JOIN batch_requests ON attempt = id WHERE batch = ? AND outcome = ?",
            (batch, Outcome.UNDER_WAY),
        )
        return {key: (id, Request(**json.loads(request))) for key, id, request in rows}

    def jobs(self, teacher: str) -> set[str]:
        """The platform's ids of all jobs that were ever named."""
        with self._errors():
            rows = self._db.execute("SELECT job FROM batches WHERE teacher = ? AND job IS NOT NULL", (teacher,))
            return {job for [job] in rows}


INSERT = (
    "INSERT OR IGNORE INTO answers (key, teacher, instruction, prompt, max_new_tokens, answer, kind, reason, "
    "prompt_tokens, completion_tokens, cache_read_tokens, cache_write_tokens, seconds, top_logprobs) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


def _row(teacher: str, request: Request, answer: Answer) -> tuple:
    return (
        request.key(teacher), teacher, request.instruction, request.prompt, request.max_new_tokens,
        answer.text, answer.kind, answer.reason, answer.prompt_tokens, answer.completion_tokens,
        answer.cache_read_tokens, answer.cache_write_tokens, answer.seconds,
        None if answer.top_logprobs is None else json.dumps(answer.top_logprobs),
    )  # fmt: skip


def _logprobs(text: str | None) -> tuple[tuple[tuple[str, float], ...], ...] | None:
    if text is None:
        return None
    return tuple(tuple((token, value) for token, value in likeliest) for likeliest in json.loads(text))


def _parts(keys: list[str]) -> Iterator[list[str]]:
    """``keys`` in the order of the index, where neighbours lie on one page, as many at once as a SELECT takes."""
    keys = sorted(keys)
    return (keys[at : at + MOST_VARIABLES] for at in range(0, len(keys), MOST_VARIABLES))


def _marks(part: list[str]) -> str:
    return ",".join("?" * len(part))
