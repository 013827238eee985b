"""Do the transfer prompts cover production, and do held-out rows stand among those that are trained on?"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
from rapidfuzz import fuzz

from ..errors import InputError
from ..figures import count
from ..own_prompts import read_rows
from ..tasks.task import Item
from .model import Case, Check, Decision, below, proportion, shares
from .similarity import Space, distinct, plain, sample

FEWEST = 20  # transfer prompts below which their own similarity says nothing
OUTLYING = 0.05  # of the transfer prompts themselves, the share that lies further off than "covered"
MOST_UNCOVERED = 0.2  # of production: one request in five
NEAR = 95  # of 100, by rapidfuzz's ratio: a near-duplicate
SHOWN = 5


def coverage(case: Case) -> Check:
    """The share of production prompts that are further from the transfer set than its own members are from each other.

    What "far" means comes from the data: each transfer prompt's nearest other one, and of those distances the worst
    ``OUTLYING``. Production of the same kind leaves about that share uncovered, whatever the task.
    """
    check = {"name": "coverage", "title": "Coverage of production", "source": "nearest transfer prompt, by characters"}
    learnt = sample(distinct(case.transfer, lambda item: item.prompt))
    if case.production is None:
        what, mend = "no production prompts were given", "give some with --production FILE, labelled or not"
        return Check(**check, decision=Decision.UNSURE, what=what, mend=mend)
    asked = sample(read_production(case.production))
    if len(learnt) < FEWEST:
        what = f"{len(learnt)} different transfer prompts are too few to say what is far from them"
        return Check(**check, decision=Decision.UNSURE, what=what, mend=f"give at least {FEWEST} without a reference")
    space = Space([item.prompt for item in learnt])
    least = float(np.quantile(space.within(), OUTLYING))
    _, near = space.nearest([item.prompt for item in asked])
    uncovered = proportion(int((near < least).sum()), len(asked))
    decision = below(uncovered.low, uncovered.high, MOST_UNCOVERED)
    mends = {
        Decision.GO: "",
        Decision.UNSURE: "give more production prompts",
        Decision.NO_GO: f"add prompts like these to {case.prompts}, without a reference",
    }
    return Check(
        **check,
        decision=decision,
        what=f"{shares(uncovered)} of {count(len(asked))} production prompts are far from all {count(len(learnt))} "
        f"transfer prompts: less similar than {least:.2f}, which {1 - OUTLYING:.0%} of those reach among themselves",
        estimate=uncovered,
        mend=mends[decision],
        examples=[f"{asked[i].id} ({near[i]:.2f})" for i in np.argsort(near)[:SHOWN] if near[i] < least],
    )


def leaks(case: Case) -> Check:
    """Rows with a reference, any of which may be held out, that stand among the other rows as well.

    Prompts that are equal to the letter are not counted: a run leaves those out of training by itself.
    """
    check = {"name": "leaks", "title": "Held-out rows are held out", "source": f"{case.prompts}"}
    gold = case.gold
    if not gold or len(case.items) < 2:
        return Check(**check, decision=Decision.UNSURE, what="nothing to compare", mend="give rows with a reference")
    twice = _same(case.items)
    same = [item for item in gold if item.id in twice]
    near = _nearly(sample(distinct(case.items, lambda item: item.prompt)))
    found = proportion(len({item.id for item in same} | near.keys()), len(gold))
    decision = Decision.NO_GO if same else Decision.UNSURE if near else Decision.GO
    return Check(
        **check,
        decision=decision,
        what=f"of {count(len(gold))} rows with a reference, {len(same)} stand there twice but for case and spaces, and "
        f"{len(near)} almost (at least {NEAR}% of their letters); together {shares(found)}",
        estimate=found,
        mend="" if decision is Decision.GO else "keep one of each: what was trained on says nothing when held out",
        examples=[f"{item.id} = {twice[item.id]}" for item in same[:SHOWN]]
        + [f"{a} ≈ {b}" for a, b in list(near.items())[:SHOWN]],
    )


def read_production(path: Path) -> list[Item]:
    """The prompts of ``path``: JSON lines as in --prompts, or one prompt a line. Raises InputError."""
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--production {path}: {error}; give a UTF-8 file, one prompt a line") from error
    if text.lstrip().startswith("{"):
        return read_rows(path)
    lines = [Item(f"line {n}", line.strip()) for n, line in enumerate(text.split("\n"), 1) if line.strip()]
    if not lines:
        raise InputError(f"--production {path}: no prompts in it; give one a line")
    return lines


def _same(items: list[Item]) -> dict[str, str]:
    """By id, the id of another row whose prompt is the same but for case and spaces, and not to the letter."""
    groups: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        groups[plain(item.prompt)].append(item)
    return {
        item.id: other.id
        for group in groups.values()
        for item in group
        for other in group
        if other.prompt != item.prompt
    }


def _nearly(rows: list[Item]) -> dict[str, str]:
    """By id of a row with a reference, the id of the row that is most like it, where that is almost the same."""
    if len(rows) < 2:
        return {}
    pairs = zip(rows, Space([row.prompt for row in rows]).neighbours(), strict=True)
    return {
        row.id: rows[other].id
        for row, other in pairs
        if row.reference is not None and fuzz.ratio(plain(row.prompt), plain(rows[other].prompt)) >= NEAR
    }
