"""Collection: ask a teacher every request once, through the ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from ..errors import InputError
from .ledger import Ledger
from .teacher import Answer, Kind, Request, Teacher


@dataclass(frozen=True)
class Collected:
    """One answer per request, in the order of the requests, and how they came about."""

    answers: list[Answer]
    from_ledger: int
    usd: float = 0.0
    why_pending: str = ""  # why some have no answer yet, and what to do

    @property
    def kinds(self) -> Counter[Kind]:
        return Counter(answer.kind for answer in self.answers)

    @property
    def duplicates(self) -> int:
        """Answers that repeat another prompt's answer word for word."""
        return sum(count - 1 for text, count in Counter(a.text for a in self.answers).items() if text)


def collect(
    teacher: Teacher,
    ledger: Ledger,
    requests: list[Request],
    on_answer: Callable[[int], None] = lambda done: None,
) -> Collected:
    """Answer ``requests``: from the ledger where they were answered before, else by the teacher.

    Each group of answers is committed before it is counted or used, so a kill at any point loses at most the group
    in flight. ``on_answer`` is told how many are there. Equal requests are asked once.
    """
    answers = ledger.known(teacher.identity, requests)
    from_ledger = len(answers)
    on_answer(len(answers))
    first: dict[Request, int] = {}
    for i, request in enumerate(requests):
        if i not in answers:
            first.setdefault(request, i)
    pending = list(first)
    for group in teacher.answer(pending):
        ledger.add(teacher.identity, [(pending[i], answer) for i, answer in group])
        answers |= {first[pending[i]]: answer for i, answer in group}
        on_answer(len(answers))
    answers = ledger.known(teacher.identity, requests)
    if missing := [i for i in range(len(requests)) if i not in answers]:
        raise InputError(f"{teacher.name} left {len(missing)} of {len(requests)} requests unanswered; run again")
    return Collected([answers[i] for i in range(len(requests))], from_ledger)
