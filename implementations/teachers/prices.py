"""What a teacher costs: a dated, cited table (prices.yml), and what one request costs by it.

A model that is not in the table has no price, never a guessed one: the plan then asks for --price-input and
--price-output. What runs on one's own machine costs nothing with a provider.
"""

from __future__ import annotations

import datetime
import os
import re
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from ..errors import InputError
from ..yaml_file import read

TABLE = Path(__file__).with_name("prices.yml")
MOST_DAYS = 90  # a price that was read longer ago is used with a warning

Dollars = Annotated[float, Field(gt=0, allow_inf_nan=False)]  # US dollars for a million tokens
Url = Annotated[str, StringConstraints(pattern=r"^https://[^\s<>\"]+$")]
Model = Annotated[str, StringConstraints(pattern=r"^\S+$")]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Rates(_Entry):
    """US dollars for a million tokens. Cached tokens without a price of their own cost as much as others."""

    input: Dollars
    output: Dollars
    cache_read: Dollars | None = None
    cache_write: Dollars | None = None

    def cost(self, prompt: int, completion: int, read: int, written: int) -> float:
        """US dollars. ``prompt`` includes the tokens read from a cache and those written to it."""
        fresh = max(0, prompt - read - written) * self.input
        cached = read * (self.cache_read or self.input) + written * (self.cache_write or self.input)
        return (fresh + cached + completion * self.output) / 1e6


class LongPrompt(Rates):
    """The rates of a whole request whose prompt has more than ``above`` tokens."""

    above: Annotated[int, Field(gt=0)]


class ModelRates(Rates):
    """The rates of one model, with what a reader must know of them."""

    long: LongPrompt | None = None
    until: datetime.date | None = None
    note: str = ""


class OnlyAt(_Entry):
    """The location whose prices a list has; a request to any other costs ``elsewhere`` times as much.

    ``variable`` of the environment names the user's own; where it is not set, it is this one.
    """

    location: Annotated[str, StringConstraints(pattern=r"^\S+$")]
    elsewhere: Annotated[float, Field(gt=1, allow_inf_nan=False)]
    variable: Annotated[str, StringConstraints(pattern=r"^[A-Z_]+$")]

    def __str__(self) -> str:
        return f"At the {self.location} endpoint; other locations cost {self.elsewhere - 1:.0%} more."


class PriceList(_Entry):
    """Some models' rates from one page, as it was on ``date``.

    ``batch`` is what a job costs of the full price, ``batch_cached`` what the tokens read from a cache do, if not that.
    ``only_at`` is set where they cost more elsewhere.
    """

    provider: Literal["claude", "openai", "vertex", "bedrock"]
    source: Url
    date: datetime.date
    currency: Literal["USD"]
    batch: Annotated[float, Field(gt=0, le=1)] | None = None
    batch_cached: Annotated[float, Field(gt=0, le=1)] | None = None
    only_at: OnlyAt | None = None
    note: str = ""
    models: Annotated[dict[Model, ModelRates], Field(min_length=1)]


@dataclass(frozen=True)
class Price:
    """The price of ``model`` (the table's name of it). ``source`` and ``date`` say where it stood, and when last.

    A request costs ``times`` what the rates say: more than once at a location other than the table's.
    """

    rates: ModelRates
    batch: float = 1.0
    model: str = ""
    source: str = ""
    date: datetime.date | None = None
    note: str = ""
    batch_cached: float | None = None
    only_at: OnlyAt | None = None
    times: float = 1.0

    def here(self) -> Price:
        """The price of the user's own requests: of the location that the environment names."""
        location = self.only_at and os.environ.get(self.only_at.variable)
        if not location or location == self.only_at.location:
            return self
        return replace(self, times=self.only_at.elsewhere, note=f"{self.note} The price of {location} is counted.")

    def cost(
        self,
        prompt_tokens: int,
        completion_tokens: int,
        cache_read_tokens: int = 0,
        cache_write_tokens: int = 0,
        batch: bool = False,
    ) -> float:
        """US dollars for one request; ``prompt_tokens`` includes the cached ones.

        Not for a sum of requests: a long prompt can have rates of its own.
        """
        long = self.rates.long
        rates = long if long and prompt_tokens > long.above else self.rates
        full = self.times * rates.cost(prompt_tokens, completion_tokens, cache_read_tokens, cache_write_tokens)
        if not batch:
            return full
        cached = self.times * rates.cost(cache_read_tokens, 0, cache_read_tokens, 0)
        return (full - cached) * self.batch + cached * (self.batch_cached or self.batch)

    def age_days(self, today: datetime.date) -> int:
        """Days since the price was last known to stand at its source; 0 for one that the user gave."""
        return (today - self.date).days if self.date else 0

    def warning(self, today: datetime.date) -> str | None:
        """Why the price may be wrong today, in one sentence."""
        mend = f"look at {self.source}, or give --price-input and --price-output"
        if self.rates.until and today > self.rates.until:
            return f"the price of {self.model} was promised until {self.rates.until} only; {mend}"
        if self.age_days(today) > MOST_DAYS:
            return f"the price of {self.model} was read on {self.date}, {self.age_days(today)} days ago; {mend}"
        return None


def given(price_input: float, price_output: float) -> Price:
    """A price that the user gave, in US dollars for a million tokens; 0 is a price too."""
    return Price(ModelRates.model_construct(input=price_input, output=price_output))


FREE = given(0, 0)

# What may follow a model's name in an id without making it another model: a date, a release, a context size.
RELEASE = re.compile(r"(?:[-@]\d{8}|-\d{4}-\d{2}-\d{2}|-\d{3}|@default)?(?:-v\d+)?(?::\d+k?)*")


def find(platform: str, model: str, endpoint: str = "") -> Price | None:
    """What ``model`` on ``platform`` costs the user, or None where no price is known.

    An id has the price of a name of the table when it is that name, or that name and a release (a date, -v1:0,
    @20251001); of several such names the longest counts. So claude-haiku-4-5-20251001 has a price, and a
    claude-haiku-4-5-turbo would have none until somebody looks it up.

    ``endpoint`` is where requests go instead of the provider's own address. A server of one's own may cost nothing
    and a reseller's anything, so then nothing is assumed, nor is that it is free.
    """
    provider, model = provider_of(platform, model)
    if provider == "local":
        return FREE
    prices = {} if endpoint else _table().get(provider, {})
    names = [n for n in prices if model.startswith(n) and RELEASE.fullmatch(model, len(n))]
    return prices[max(names, key=len)].here() if names else None


def provider_of(platform: str, model: str) -> tuple[str, str]:
    """Whose prices count for ``model``, and its id there: "local" on one's own machine, "" where nobody is known."""
    if platform == "langchain":
        provider, _, model = model.partition(":")
        platform = {"anthropic": "claude", "openai": "openai", "ollama": "ollama"}.get(provider, "")
    if platform == "bedrock" and model.startswith("arn:"):
        model = model.rpartition("/")[2]  # a model's or a system profile's own id ends its address
    if platform == "ollama" and model.endswith(("-cloud", ":cloud")):
        return "ollama-cloud", model  # runs on Ollama's servers
    return ("local" if platform == "ollama" else platform), model


@cache
def _table() -> dict[str, dict[str, Price]]:
    return load(TABLE)


def load(path: Path) -> dict[str, dict[str, Price]]:
    """Prices by provider and model. Raises InputError naming the file and every key that is wrong."""
    table: dict[str, dict[str, Price]] = {}
    for number, page in enumerate(read(path, list[PriceList])):
        prices = table.setdefault(page.provider, {})
        for model, rates in page.models.items():
            if model in prices:
                raise InputError(f"{path}: [{number}].models.{model}: {page.provider} has it already; keep one of them")
            note = " ".join(filter(None, (page.only_at and str(page.only_at), page.note, rates.note)))
            prices[model] = Price(
                rates, page.batch or 1.0, model, page.source, page.date, note, page.batch_cached, page.only_at
            )
    return table
