"""Will it pay back? The teacher's price and your traffic against collecting, training and serving.

    months = (collection + training) / (requests a month · teacher's price of one − serving a month)

Tokens are estimated from characters, for the platform is not asked: 0.25 to 0.3 a character of English
(https://ai.google.dev/gemini-api/docs/tokens; https://api-docs.deepseek.com/quick_start/token_usage). What the
student's training and serving cost is yours to say; what nobody said counts as nothing, so months are then the fewest.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime

from ..figures import count, dollars, number
from ..record import Estimate
from ..settings import OWN_HELDOUT
from ..tasks.user_prompts import HELDOUT_SHARE
from ..teachers import prices
from ..teachers.open import destination_of
from ..teachers.prices import Price
from .break_even import break_even
from .model import Case, Check, Decision, Measured, below

TOKENS = (0.25, 0.3)  # a character of English
Range = tuple[float, float]


def payback(case: Case) -> Check:
    """Months until the student has paid for itself, within --payback-months or not."""
    check = {"name": "payback", "title": "Payback"}
    price = case.price or prices.find(case.platform, case.model, destination_of(case.teacher).endpoint)
    asked = "give --price-input and --price-output, in US dollars per million tokens"
    if price is None:
        return Check(**check, decision=Decision.UNSURE, what="no price of this teacher is known", source="", mend=asked)
    source = _source(price)
    if not (price.rates.input or price.rates.output):
        what = "this teacher costs its machine's time, which has no price here"
        return Check(**check, decision=Decision.UNSURE, what=what, source=source, mend=f"{asked}, of that machine")
    each = _each(case, price)
    collection = tuple(_requests(case) * usd for usd in each)
    what = f"one answer {_usd(each)}, collecting {count(_requests(case))} of them {_usd(collection)}"
    if case.monthly_requests is None:
        mend = "give --monthly-requests, and what the student costs: --gpu-hour-usd, --gpu-hours, --serving-usd"
        return Check(**check, decision=Decision.UNSURE, what=what, source=source, mend=mend)
    months = _months(case, each, collection)
    missing = [
        option
        for option, usd in (("--gpu-hour-usd with --gpu-hours", case.training_usd), ("--serving-usd", case.serving_usd))
        if usd is None
    ]
    decision = below(*months, case.payback_months)
    if missing and decision is Decision.GO:  # what costs nothing pays back: that is no finding
        decision = Decision.UNSURE
    mends = {
        Decision.GO: "",
        Decision.NO_GO: "stay with the teacher, unless it is too slow or too big",
        Decision.UNSURE: "count the tokens with `distill plan`",
    }
    return Check(
        **check,
        decision=decision,
        what=f"{what}; {_formula(case, each, collection)}{_span(months)}"
        + (" at least" if missing and math.isfinite(months[0]) else "")
        + f"; {case.payback_months:g} months are accepted",
        estimate=Estimate(value=sum(months) / 2, low=months[0], high=months[1], n=len(case.items))
        if math.isfinite(months[1])
        else None,
        source=source,
        mend=f"give {' and '.join(missing)}" if missing else mends[decision],
    )


def need(check: Check) -> Measured:
    """serving_need as far as money tells; whether the teacher is too slow or too big is yours to say."""
    values = {
        Decision.GO: ["cost_at_volume"],
        Decision.NO_GO: ["latency", "small_hardware", "low_volume", "teacher_fits"],
        Decision.UNSURE: ["latency", "cost_at_volume", "small_hardware", "low_volume", "teacher_fits"],
    }[check.decision]
    return Measured(
        dimension="serving_need",
        values=values,
        what={
            Decision.GO: "a student pays back (below), so cost is what is wrong with the teacher",
            Decision.NO_GO: "a student does not pay back (below), so it is not cost",
            Decision.UNSURE: "whether a student pays back is not known (below)",
        }[check.decision],
        source="payback",
        mend=""
        if check.decision is Decision.GO
        else "say --given serving_need=latency, cost_at_volume, small_hardware, low_volume or teacher_fits",
    )


def _each(case: Case, price: Price) -> Range:
    """US dollars of one request. Without references an answer has from 0 to --max-new-tokens."""
    read = sum(len(case.instruction) + len(item.prompt) for item in case.items) / len(case.items)
    written = [len(item.reference or "") for item in case.gold]
    length = sum(written) / len(written) if written else 0.0
    tokens = [
        (read * t, length * t if written else most) for t, most in zip(TOKENS, (0, case.max_new_tokens), strict=True)
    ]
    return tuple(price.cost(round(prompt), round(answer)) for prompt, answer in tokens)


def _requests(case: Case) -> int:
    """What a run asks: the transfer prompts and the held-out ones."""
    return len(case.transfer) + min(OWN_HELDOUT, max(2, round(len(case.gold) * HELDOUT_SHARE)))


def _months(case: Case, each: Range, collection: Range) -> Range:
    """The fewest and the most: dear answers pay a student back sooner."""
    found = [
        break_even(collected, case.training_usd or 0, case.monthly_requests, usd, case.serving_usd or 0)
        for usd, collected in zip(each, collection, strict=True)
    ]
    return min(found), max(found)


def _formula(case: Case, each: Range, collection: Range) -> str:
    spent = f"({_usd(collection)} + {dollars(case.training_usd or 0)} training)"
    return f"{spent} / ({count(case.monthly_requests)} · {_usd(each)} − {dollars(case.serving_usd or 0)} serving)"


def _span(months: Range) -> str:
    """How the formula goes on: what serving a student costs may be more than it saves, and then it has no value."""
    if math.isinf(months[0]):
        return ": serving costs more than it saves, so never"
    if math.isinf(months[1]):
        return f" = {number(months[0])} months, or never"
    return f" = {' to '.join(dict.fromkeys(number(m) for m in months))} months"


def _usd(span: Range) -> str:
    return " to ".join(dict.fromkeys(f"${usd:.6f}" if usd < 0.01 else dollars(usd) for usd in sorted(span)))


def _source(price: Price) -> str:
    if not price.source:
        return "--price-input and --price-output" if price.rates.output or price.rates.input else "a machine of yours"
    warning = price.warning(datetime.now(UTC).date())
    said = f"{price.source}, {price.date}" + (f" ({warning})" if warning else "")
    return f"{said}: {price.note}" if price.note else said
