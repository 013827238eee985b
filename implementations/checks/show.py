"""A report of `distill check` on the terminal: a table where there is room, else one block after the other."""

from __future__ import annotations

import re

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ..criteria import Dimension
from .model import Check, Decision, Fit, Measured, Report, Weighed
from .report import of_dimension

WIDE = 100  # columns
STYLES = {Decision.GO: "green", Decision.NO_GO: "bold red", Decision.UNSURE: "yellow"}
MOST_VALUES = 3  # that a dimension can have; with more it is not known
FITS = 3  # patterns that are told with their reasons

Row = tuple[Decision | None, str, RenderableType]  # what it comes to, the question, the answer


def show(report: Report, known: dict[str, Dimension], console: Console) -> None:
    """Print ``report``; ``known`` are the catalogue's dimensions."""
    console.print(Text(f"{report.title} with {report.teacher}, on {report.prompts}", "bold"), soft_wrap=False)
    weighed = {c.dimension for c in report.criteria}
    rows = [_dimension(m, report.criteria, known[m.dimension]) for m in report.measured if m.dimension in weighed]
    rows += [(check.decision, check.title, _check(check)) for check in report.checks]
    if console.width >= WIDE:
        table = Table("", "question", "measured", show_lines=True)
        for decision, title, body in rows:
            table.add_row(_word(decision), title, body)
        console.print(table, soft_wrap=False)
    else:
        for decision, title, body in rows:
            console.print(Text.assemble(_word(decision), "  ", (title, "bold")), soft_wrap=False)
            console.print(Padding(body, (0, 0, 1, 2)), soft_wrap=False)
    none = all(fit.speaks_against for fit in report.fits)
    title = "No pattern fits; those with the fewest reasons against them" if none else "Which pattern fits better"
    console.print(Text(title, "bold"), soft_wrap=False)
    for number, fit in enumerate(report.fits, 1):
        if number <= FITS or fit.pattern == report.pattern:
            console.print(_fit(fit, fit.pattern == report.pattern), soft_wrap=False)
    console.print(Text.assemble("in all   ", _word(report.decision)))


def _dimension(found: Measured, criteria: list[Weighed], dimension: Dimension) -> Row:
    """A dimension, what was measured of it, and each of the pattern's criteria on it."""
    here = [c for c in criteria if c.dimension == found.dimension]
    values = " or ".join(found.values) if len(found.values) <= MOST_VALUES else "not known"
    lines = [Text(f"{values}: {found.what}")]
    for c in here:
        lines.append(Text.assemble(_word(c.decision), f" {'use when' if c.use else 'not when'}: {_short(c)}"))
    return of_dimension(criteria, found), dimension.title, _with_source(lines, found.source, found.mend)


def _short(criterion: Weighed) -> str:
    """The reason: all of it where it counts against the pattern, for it says what to do; else its first sentence."""
    if criterion.decision is Decision.NO_GO:
        return criterion.text
    return re.split(r"(?<=[.?!]) ", criterion.text, maxsplit=1)[0]


def _check(check: Check) -> RenderableType:
    lines = [Text(check.what)]
    if check.examples:
        lines.append(Text(f"these first: {', '.join(check.examples)}"))
    return _with_source(lines, check.source, check.mend)


def _with_source(lines: list[Text], source: str, mend: str) -> Group:
    if source:
        lines.append(Text(f"source: {source}", "dim"))
    if mend:
        lines.append(Text(f"→ {mend}"))
    return Group(*lines)


def _fit(fit: Fit, own: bool) -> Text:
    reasons = [("for", fit.speaks_for), ("against", fit.speaks_against), ("open", fit.open)]
    said = "; ".join(f"{word} {', '.join(names)}" for word, names in reasons if names)
    return Text.assemble(f"{fit.place}. ", (fit.title, "bold"), " (this one)" if own else "", f": {said}")


def _word(decision: Decision | None) -> Text:
    return Text(decision.value, STYLES[decision]) if decision else Text("–", "dim")
