"""The ledger keeps what was answered, and collection asks nothing twice."""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress

import pytest

from implementations.errors import InputError
from implementations.registry import Signal
from implementations.teachers import ledger as module
from implementations.teachers.collect import Collected, Collector
from implementations.teachers.ledger import Ledger
from implementations.teachers.teacher import Answer, Kind, Request


class Echo:
    """A teacher that answers in groups of two, counts what it is asked, and dies after ``lives`` groups."""

    name, identity, gives = "echo", "echo:1", frozenset({Signal.TEXT})

    def __init__(self, lives: int = 100):
        self.asked: list[str] = []
        self.lives = lives

    def answer(self, requests):
        for at in range(0, len(requests), 2):
            group = requests[at : at + 2]
            self.asked += [request.prompt for request in group]
            self.lives -= 1
            if self.lives < 0:
                raise ConnectionError("gone")
            yield [
                (at + i, Answer(r.prompt.upper(), Kind.COMPLETE if r.prompt else Kind.EMPTY, 3, 1, 0.5))
                for i, r in enumerate(group)
            ]


def collect(teacher, ledger, asked) -> Collected:
    with Collector(ledger) as collector:
        return collector.collect(teacher, asked)


def requests(*prompts):
    return [Request("say", prompt, 8) for prompt in prompts]


def test_answers_come_in_order_and_equal_requests_are_asked_once(tmp_path):
    teacher = Echo()
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        got = collect(teacher, ledger, requests("b", "a", "b", ""))
    assert [answer.text for answer in got.answers] == ["B", "A", "B", ""]
    assert teacher.asked == ["b", "a", ""]
    assert (got.kinds, got.duplicates, got.from_ledger) == ({Kind.COMPLETE: 3, Kind.EMPTY: 1}, 1, 0)


def test_a_teacher_that_dies_is_asked_only_for_the_rest(tmp_path):
    path = tmp_path / "ledger.sqlite"
    with Ledger(path) as ledger, pytest.raises(ConnectionError):
        collect(Echo(lives=2), ledger, requests(*"abcdefg"))
    again = Echo()
    with Ledger(path) as ledger:
        got = collect(again, ledger, requests(*"abcdefg"))
    assert again.asked == ["e", "f", "g"]
    assert got.from_ledger == 4 and [a.text for a in got.answers] == list("ABCDEFG")


def test_another_teacher_instruction_or_limit_is_another_question(tmp_path):
    [request] = requests("a")
    answer = Answer("A", Kind.COMPLETE, 1, 1, 0.1)
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.add("one", [(request, answer)])
        assert ledger.known("one", [request]) == {0: answer}
        assert not ledger.known("two", [request])
        assert not ledger.known("one", [Request("say", "a", 9), Request("shout", "a", 8)])


def test_the_first_answer_stays(tmp_path):
    [request] = requests("a")
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.add("one", [(request, Answer("first", Kind.COMPLETE, 1, 1, 0.1))])
        ledger.add("one", [(request, Answer("second", Kind.COMPLETE, 1, 1, 0.1))])
        assert ledger.known("one", [request])[0].text == "first" and len(ledger) == 1


def test_a_file_that_is_no_ledger(tmp_path):
    path = tmp_path / "ledger.sqlite"
    path.write_text("not a database, and long enough to be looked at as one" * 40)
    with pytest.raises(InputError, match=r"ledger\.sqlite: file is not a database; move the file away"):
        Ledger(path)


def test_a_full_disk_keeps_what_was_answered(tmp_path):
    path = tmp_path / "ledger.sqlite"
    with Ledger(path) as ledger:
        ledger.add("one", [(r, Answer("x", Kind.COMPLETE, 1, 1, 0.1)) for r in requests("a", "b")])
        pages = ledger._db.execute("PRAGMA page_count").fetchone()[0]
        ledger._db.execute(f"PRAGMA max_page_count = {pages}")  # SQLite's own way to run out of room
        with pytest.raises(InputError, match=r"database or disk is full; .* every answer that was committed is kept"):
            ledger.add("one", [(Request("say", "c" * 100_000, 8), Answer("x", Kind.COMPLETE, 1, 1, 0.1))])
    assert sqlite3.connect(path).execute("SELECT count(*) FROM answers").fetchone() == (2,)


def test_a_ledger_that_was_cut_off_while_it_was_made_is_made_again(tmp_path, monkeypatch):
    pid = os.fork()
    if not pid:
        monkeypatch.setattr(module, "SCHEMA", f"{module.SCHEMA}; SELECT * FROM gone")
        with suppress(InputError):
            Ledger(tmp_path / "ledger.sqlite")
        os._exit(0)
    os.waitpid(pid, 0)
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        assert len(ledger) == 0
