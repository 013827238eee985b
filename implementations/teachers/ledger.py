"""The ledger: every request and its answer, committed before anything else sees it.

SQLite in WAL mode, so a reader never blocks the writer and a killed process leaves whole answers only.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path

from ..errors import InputError
from .teacher import Answer, Kind, Request

SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY,          -- Request.key: teacher and request by content
    teacher TEXT NOT NULL,         -- Teacher.identity
    instruction TEXT NOT NULL,
    prompt TEXT NOT NULL,
    max_new_tokens INTEGER NOT NULL,
    answer TEXT NOT NULL,
    kind TEXT NOT NULL,            -- Kind: complete, truncated, empty, …
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    seconds REAL NOT NULL,
    answered_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
) STRICT
"""
MOST_VARIABLES = 500  # in one SELECT; SQLite's own limit is higher, and nothing is gained past this


class Ledger:
    """Answers by request. Use as a context manager.

    Raises InputError when the file is no ledger or the disk is full.
    """

    def __init__(self, path: Path):
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._db = sqlite3.connect(path, timeout=30)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")  # an answer survives a power cut, not only a kill
            self._db.execute(SCHEMA)
        except sqlite3.DatabaseError as error:
            raise InputError(f"{path}: {error}; move the file away, or give --workdir another folder") from error

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def known(self, teacher: str, requests: list[Request]) -> dict[int, Answer]:
        """The answers that are already there, by index into ``requests``."""
        keys = [request.key(teacher) for request in requests]
        found: dict[str, Answer] = {}
        for at in range(0, len(keys), MOST_VARIABLES):
            part = keys[at : at + MOST_VARIABLES]
            rows = self._db.execute(
                "SELECT key, answer, kind, prompt_tokens, completion_tokens, seconds FROM answers "
                f"WHERE key IN ({','.join('?' * len(part))})",
                part,
            )
            found |= {key: Answer(text, Kind(kind), p, c, s) for key, text, kind, p, c, s in rows}
        return {i: found[key] for i, key in enumerate(keys) if key in found}

    def add(self, teacher: str, answers: Iterable[tuple[Request, Answer]]) -> None:
        """Commit ``answers``: when this returns they are on disk. A request answered before keeps its answer."""
        rows = [
            (
                request.key(teacher), teacher, request.instruction, request.prompt, request.max_new_tokens,
                answer.text, answer.kind, answer.prompt_tokens, answer.completion_tokens, answer.seconds,
            )
            for request, answer in answers
        ]  # fmt: skip
        try:
            with self._db:
                self._db.executemany(
                    "INSERT OR IGNORE INTO answers (key, teacher, instruction, prompt, max_new_tokens, answer, "
                    "kind, prompt_tokens, completion_tokens, seconds) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    rows,
                )
        except sqlite3.OperationalError as error:
            raise InputError(
                f"{self.path}: {error}; mend that and run the same command again: the {len(self)} answers in the "
                "ledger are kept and are not asked again"
            ) from error

    def __len__(self) -> int:
        return self._db.execute("SELECT count(*) FROM answers").fetchone()[0]
