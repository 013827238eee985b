"""Will a student pay back? The teachers of the dated price table, and cases worked out at build.

    months = (collection + training) / (requests a month · teacher's price of one − serving a month)

The formula is `distill check`'s, in implementations/checks/break_even.py. It is repeated in
site_overrides/docs/assets/payback.js for a reader's own figures; a test holds both against each other. The check
estimates tokens from the characters of real prompts; here they are given.
"""

from __future__ import annotations

import math
import shlex
from dataclasses import asdict, dataclass, replace
from typing import Any

from implementations.checks.break_even import break_even
from implementations.figures import dollars, number
from implementations.registry import PLATFORMS
from implementations.teachers import prices
from implementations.teachers.prices import Price

PRICES = prices.load(prices.TABLE)  # provider → model → price, as listed: where a reader's requests go is unknown
SPECS = {"openai": "langchain:openai"}  # who is asked by another name than its provider's
OPTIONS = ("monthly_requests", "gpu_hour_usd", "gpu_hours", "serving_usd", "payback_months")  # of `distill check`


@dataclass(frozen=True)
class Case:
    """What the formula needs beside a price. Dollars are US dollars; ``payback_months`` are those that are accepted."""

    prompt_tokens: int
    completion_tokens: int
    collection: int
    monthly_requests: int
    gpu_hour_usd: float
    gpu_hours: float
    serving_usd: float
    payback_months: float

    @property
    def training_usd(self) -> float:
        return self.gpu_hour_usd * self.gpu_hours


EXAMPLE = Case(
    prompt_tokens=400,
    completion_tokens=150,
    collection=5_000,
    monthly_requests=200_000,
    gpu_hour_usd=3,
    gpu_hours=100,
    serving_usd=300,
    payback_months=12,
)
"""Made up, and called so on the page: figures to start from."""
EXAMPLE_TEACHER = "claude:claude-sonnet-4-6"
OFF = {"price_off": 10, "volume_off": 20, "serving_off": 20}
"""By how many percent the figures to start from may be wrong."""
VOLUMES = (20_000, 200_000, 2_000_000)


def each(case: Case, price: Price) -> float:
    """US dollars of one answer of the teacher."""
    return price.cost(case.prompt_tokens, case.completion_tokens)


def months(case: Case, price: Price) -> float:
    usd = each(case, price)
    return break_even(case.collection * usd, case.training_usd, case.monthly_requests, usd, case.serving_usd)


def command(case: Case, teacher: str) -> str:
    """The command that puts the same question to one's own prompts."""
    options = {f"--{name.replace('_', '-')}": f"{getattr(case, name):.15g}" for name in OPTIONS}
    told = " ".join(f"{option} {value}" for option, value in options.items())
    return f"distill check sequence-level --prompts notes.jsonl --teacher {shlex.quote(teacher)} {told}"


def teachers() -> dict[str, tuple[str, Price]]:
    """Every teacher of the table, as `--teacher` names it: its platform's title and its price."""
    found = {}
    for provider, models in PRICES.items():
        spec = SPECS.get(provider, provider)
        title = PLATFORMS[spec.partition(":")[0]].title
        for model, price in models.items():
            found[f"{spec}:{model}"] = (title, price)
    return found


def worked(price: Price) -> list[str]:
    """One answer, and the months of EXAMPLE at each of VOLUMES."""
    found = [months(replace(EXAMPLE, monthly_requests=volume), price) for volume in VOLUMES]
    return [usd(each(EXAMPLE, price)), *("never" if math.isinf(m) else number(m) for m in found)]


def usd(value: float) -> str:
    """Dollars and cents, or what there is of cents to three digits."""
    return f"${number(value)}" if 0 < value < 1 else dollars(value)


def rate(value: float) -> str:
    """A price of the table, with all its decimals."""
    return dollars(value) if round(value, 2) == value else f"${value:,.15g}"


def data() -> list[dict[str, Any]]:
    """The table as plain data: US dollars for a million tokens."""
    out = []
    for teacher, (title, price) in teachers().items():
        long = price.rates.long
        out.append(
            {
                "teacher": teacher,
                "platform": title,
                "input": price.rates.input,
                "output": price.rates.output,
                "long": long and {"above": long.above, "input": long.input, "output": long.output},
                "batch": price.batch,
                "read": str(price.date),
                "until": price.rates.until and str(price.rates.until),
                "source": price.source,
                "note": price.note,
            }
        )
    return out


def start() -> dict[str, Any]:
    """What the calculator starts from: its fields by name."""
    rates = teachers()[EXAMPLE_TEACHER][1].rates
    own = {"price_input": f"{rates.input:.15g}", "price_output": f"{rates.output:.15g}"}
    return {"teacher": EXAMPLE_TEACHER, **own, **asdict(EXAMPLE), **OFF}
