"""What the teachers behind an API share."""

from __future__ import annotations

import json

import pytest

from implementations.teachers.teacher import Busy, Dropped, Kind, Rejected, Request
from implementations.teachers.wire import LONGEST_REASON, failure, follows, kind_of, lost, pause, said

REQUEST = Request("summarize the note", "the patient of 1953 has pneumonia", 8)
SCHEMA = {
    "type": "object",
    "properties": {
        "label": {"enum": ["yes", "no"]},
        "why": {"type": "array", "items": {"type": "string"}},
        "sure": {"type": "number"},
        "inner": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]},
    },
    "required": ["label"],
}


@pytest.mark.parametrize(
    ("value", "good"),
    [
        ({"label": "yes"}, True),
        ({"label": "no", "why": ["a", "b"], "sure": 0.5, "inner": {"n": 3}, "more": None}, True),
        ({"label": "maybe"}, False),
        ({"why": []}, False),
        ({"label": "yes", "why": ["a", 1]}, False),
        ({"label": "yes", "sure": True}, False),
        ({"label": "yes", "inner": {}}, False),
        ({"label": "yes", "inner": {"n": 1.5}}, False),
        (["yes"], False),
    ],
)
def test_a_value_follows_a_schema(value, good):
    assert follows(value, SCHEMA) is good


def test_kinds_in_the_order_in_which_they_count():
    asked = Request("label", "x", 8, schema=json.dumps(SCHEMA))
    assert kind_of("I cannot", asked, truncated=True, refused=True) is Kind.REFUSED
    assert kind_of("", asked, truncated=True) is Kind.EMPTY
    assert kind_of('{"la', asked, truncated=True) is Kind.TRUNCATED
    assert kind_of('{"la', asked) is Kind.MALFORMED
    assert kind_of('{"label": "yes"}', asked) is Kind.COMPLETE
    assert kind_of("anything", REQUEST) is Kind.COMPLETE


@pytest.mark.parametrize(
    ("header", "seconds"),
    [(None, None), ("", None), ("7", 7), ("0.5", 0.5), ("-3", 0), ("soon", None), ("Sun, 06 Nov 1994 08:49:37 GMT", 0)],
)
def test_a_pause(header, seconds):
    assert pause(header) == seconds


def test_failures():
    kinds = {Busy: (429, 503, 529), Dropped: (408, 409, 499, 500), Rejected: (400, 413, 422)}
    for kind, statuses in kinds.items():
        for status in statuses:
            error = failure(status, "no", "3")
            assert type(error) is kind and str(error) == f"HTTP {status}: no"
            assert getattr(error, "retry_after", 3) == 3 and not getattr(error, "billed", False)


def test_what_was_never_sent_was_not_billed():
    class ConnectError(Exception):
        """As httpx names it."""

    try:
        try:
            raise ConnectError
        except ConnectError as inner:
            raise RuntimeError("wrapped by an SDK") from inner
    except RuntimeError as error:
        assert lost(error).billed is False
    assert lost(TimeoutError()).billed is True


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("too\n  long", "too long"),
        (None, ""),
        ("bad value 'patient of 1953 has pneu'", ""),
        ("bad key sk-ant-abc and Bearer abcdefghij0123456789xyz", "bad key … and Bearer …"),
        ("x " * 200, "x " * 79 + "x…"),
    ],
)
def test_reasons_give_nothing_away(message, reason):
    assert said(message, REQUEST) == reason and len(reason) <= LONGEST_REASON


def test_a_short_prompt_is_not_repeated():
    assert said("cannot read 'ab c'", Request("say", "ab c", 8)) == ""
