"""The ledger keeps what was answered, and collection asks nothing twice."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from implementations.errors import InputError
from implementations.privacy import Redactor
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


TEXT = st.text(st.characters())  # lone surrogates too


@given(TEXT, st.builds(Request, TEXT, TEXT, st.integers(), st.none() | TEXT, st.integers()))
def test_a_key_is_the_digest_of_teacher_and_request(teacher, request):
    """Were it another, the answers in every ledger there is would be bought again."""
    text = json.dumps([teacher, *vars(request).values()])
    assert request.key(teacher) == hashlib.sha256(text.encode()).hexdigest()


def test_a_key_stays_what_it_was():
    was = "e072b72984cb17776e7df8085bb877a5662f6fcc3ec974400b6a4fd70a42876a"
    assert Request("say it", "prompt number 1", 8).key("bare:echo") == was


def test_which_are_answered_is_found_by_reading_all_keys_and_by_looking_up_a_few(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST_VARIABLES", 2)
    asked = requests(*(f"number {i}" for i in range(40)))
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        assert ledger.answered("one", asked) == set() == ledger.answered("one", [])
        ledger.add("one", [(request, Answer("A", Kind.COMPLETE, 1, 1)) for request in asked[::2]])
        ledger.add("two", [(request, Answer("B", Kind.COMPLETE, 1, 1)) for request in asked])
        for some in (asked, asked[3:10], asked[5:6], [*asked[:3], asked[0]]):
            there = {i for i, request in enumerate(some) if request in asked[::2]}
            assert ledger.answered("one", some) == there == set(ledger.known("one", some))


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
        with pytest.raises(InputError, match=r"the disk is full; free some space .*: every answer .* are kept"):
            ledger.add("one", [(Request("say", "c" * 100_000, 8), Answer("x", Kind.COMPLETE, 1, 1, 0.1))])
    assert sqlite3.connect(path).execute("SELECT count(*) FROM answers").fetchone() == (2,)


def test_a_full_disk_is_no_broken_file(tmp_path, monkeypatch):
    """Whoever moved the ledger away would lose what it keeps."""

    def full(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(sqlite3, "connect", full)
    for opened in (Ledger, Redactor):
        with pytest.raises(InputError, match=r"kept\.sqlite: the disk is full; free some space"):
            opened(tmp_path / "kept.sqlite")


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
