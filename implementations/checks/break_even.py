"""The formula of the check, and of the site's tables."""

from __future__ import annotations

import math


def break_even(collection: float, training: float, requests: float, each: float, serving: float) -> float:
    """Months until a student has paid for itself; infinite where serving it costs as much as the teacher's answers.

    In US dollars: ``collection`` and ``training`` once, ``each`` answer of the teacher, ``serving`` a month;
    ``requests`` are those of a month.
    """
    saved = requests * each - serving
    return (collection + training) / saved if saved > 0 else math.inf
