"""`distill check`: the criteria of a pattern's page, and a few checks beside them, held against the user's own data.

Nothing is asked of a platform, nothing is sent, and nothing is trained. Torch is loaded for --measure alone.
"""

from __future__ import annotations

import hashlib

from ..criteria import Criterion, Dimension, Pattern, dimensions, patterns
from ..errors import InputError, choose
from ..progress import Stages
from ..registry import RECIPES, Signal, steps
from ..teachers import starts
from ..teachers.open import check_spec
from . import coverage, labels, payback, shape, teacher
from .model import Case, Check, Decision, Fit, Measured, Report, Weighed, worst

UNKNOWN = "unknown"
"""The answer of a dimension that nobody knows yet. Where a page does not name it, it may turn out to be any other: it
speaks neither for the pattern nor against it, and is to be found out."""


def report(case: Case, stages: Stages) -> Report:
    """Measure, weigh, and rank. Raises InputError."""
    catalogue, known = patterns(), dimensions()
    if case.pattern not in catalogue:
        raise InputError(f"no pattern {case.pattern!r}; {choose(case.pattern, catalogue)}")
    if not case.items:
        raise InputError(f"--prompts {case.prompts}: no rows in it; give one prompt a line")
    check_spec(case.teacher)
    _check_given(case.given, known)
    pattern = catalogue[case.pattern]
    pays = payback.payback(case)
    measured = _measure(case, pays, known)
    criteria = weigh(pattern, measured)
    checks = [
        *labels.rows(case),
        coverage.coverage(case),
        coverage.leaks(case),
        teacher.sensitivity(case, measured["data_residency"]),
        pays,
        *_temperature(case, stages),
    ]
    by_dimension = [of_dimension(criteria, found) for found in measured.values()]
    return Report(
        pattern=case.pattern,
        title=pattern.title,
        teacher=case.teacher,
        prompts=str(case.prompts),
        prompts_sha256=hashlib.sha256(case.prompts.read_bytes()).hexdigest(),
        decision=worst([*filter(None, by_dimension), *(check.decision for check in checks)]),
        measured=list(measured.values()),
        criteria=criteria,
        checks=checks,
        fits=rank(catalogue, measured, known),
    )


def weigh(pattern: Pattern, measured: dict[str, Measured]) -> list[Weighed]:
    """Every criterion of ``pattern``, in the order of its page."""
    return [
        Weighed(
            dimension=reason.criterion.dimension,
            use=use,
            values=reason.criterion.values,
            text=reason.plain,
            decision=_decide(reason.criterion, use, measured[reason.criterion.dimension].values),
        )
        for use, reasons in ((True, pattern.when_to_use), (False, pattern.when_not_to_use))
        for reason in reasons
    ]


def _decide(criterion: Criterion, use: bool, possible: list[str]) -> Decision:
    """Whether the criterion holds for all that is possible, for none of it, or for a part.

    A reason to leave the pattern is a no-go where it holds and a go where it does not. A reason to use it is a go where
    it holds; where it does not there is one reason less, which alone is no reason against. What is UNKNOWN may be
    either.
    """
    holds = [value in criterion.values for value in possible]
    if use:
        return Decision.GO if all(holds) else Decision.UNSURE
    if all(holds):
        return Decision.NO_GO
    return Decision.UNSURE if any(holds) or UNKNOWN in possible else Decision.GO


def of_dimension(criteria: list[Weighed], found: Measured) -> Decision | None:
    """What the criteria of one dimension come to; None where the page has none of it.

    No-go where each value that is possible is a reason to leave the pattern, be it for one reason or another. Else go
    where none is, and each is a reason to use it, if the page names any; where it names none, if none is UNKNOWN.
    """
    here = [c for c in criteria if c.dimension == found.dimension]
    if not here:
        return None
    against = {value for c in here if not c.use for value in c.values}
    speaks_for = {value for c in here if c.use for value in c.values}
    if against.issuperset(found.values):
        return Decision.NO_GO
    suits = speaks_for.issuperset(found.values) if speaks_for else UNKNOWN not in found.values
    fine = suits and against.isdisjoint(found.values)
    return Decision.GO if fine else Decision.UNSURE


def rank(catalogue: dict[str, Pattern], measured: dict[str, Measured], known: dict[str, Dimension]) -> list[Fit]:
    """Patterns by how few dimensions speak against them, then by the share that speaks for them of those that their
    pages weigh, then the simpler first."""
    fits = []
    for slug, pattern in catalogue.items():
        criteria = weigh(pattern, measured)
        said: dict[Decision | None, list[str]] = {decision: [] for decision in (*Decision, None)}
        for name, found in measured.items():
            values = f" ({' or '.join(found.values)})" if len(found.values) < len(known[name].values) else ""
            said[of_dimension(criteria, found)].append(known[name].title.lower() + values)
        fits.append(
            Fit(
                pattern=slug,
                title=pattern.title,
                speaks_for=said[Decision.GO],
                speaks_against=said[Decision.NO_GO],
                open=said[Decision.UNSURE],
            )
        )
    fits.sort(key=lambda fit: (*_order(fit), fit.pattern))
    orders = [_order(fit) for fit in fits]
    return [fit.model_copy(update={"place": orders.index(order) + 1}) for fit, order in zip(fits, orders, strict=True)]


def _order(fit: Fit) -> tuple[float, ...]:
    """What decides a pattern's place; a page that weighs more has no advantage by it."""
    weighed = len(fit.speaks_for) + len(fit.speaks_against) + len(fit.open)
    return len(fit.speaks_against), -len(fit.speaks_for) / max(weighed, 1), steps(fit.pattern)


def _measure(case: Case, pays: Check, known: dict[str, Dimension]) -> dict[str, Measured]:
    """What is known of every dimension, in the catalogue's order. What the user said counts before what is measured."""
    lead = labels.lead_of(case)
    found = {
        measured.dimension: measured
        for measured in (
            teacher.access(case),
            labels.gold(case, lead[1] if lead else None),
            labels.advantage(case, lead),
            shape.shape(case),
            payback.need(pays),
            teacher.residency(case),
            teacher.licence(case),
        )
    }
    for name, value in case.given.items():
        what = known[name].values[value]
        mend = f"find it out, then say --given {name}=…" if value == UNKNOWN else ""
        found[name] = Measured(dimension=name, values=[value], what=what, source="--given", mend=mend)
    return {name: found.get(name) or _unknown(name, known[name]) for name in known}


def _unknown(name: str, dimension: Dimension) -> Measured:
    """A dimension that the catalogue has and no measure here knows."""
    values = ", ".join(dimension.values)
    return Measured(
        dimension=name,
        values=list(dimension.values),
        what="not measured",
        source="",
        mend=f"say --given {name}=… ({values})",
    )


def _check_given(given: dict[str, str], known: dict[str, Dimension]) -> None:
    wrong = [
        f"--given {name}={value}: "
        + (choose(value, known[name].values) if name in known else f"no such dimension; {choose(name, known)}")
        for name, value in given.items()
        if name not in known or value not in known[name].values
    ]
    if wrong:
        raise InputError("\n".join(wrong))


def _temperature(case: Case, stages: Stages) -> list[Check]:
    """For a pattern that learns from probabilities, where there are weights to get them from."""
    recipe = RECIPES.get(case.pattern)
    if recipe is None or recipe.needs is not Signal.LOGITS or not (case.platform == "local" or case.assistant):
        return []
    what, mend = "not measured", "the same command with --measure loads the weights and reads the references with them"
    if not case.assistant and case.model and starts.classifies(case.model):
        what = "not measured: the teacher is a classifier, and only a temperature of text is measured here"
        mend = "a run holds its student against one that learnt the labels alone, without probabilities"
    elif case.measure:
        from .temperature import temperature

        return [temperature(case, stages)]
    return [
        Check(name="temperature", title="Temperature", decision=Decision.UNSURE, what=what, source="", mend=mend),
    ]
