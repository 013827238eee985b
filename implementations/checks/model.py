"""What `distill check` is told and what it finds. Its ``--json`` is a ``Report``."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from pydantic import Field

from ..figures import share
from ..record import Estimate, Strict
from ..tasks.task import Item
from ..teachers.prices import Price


@dataclass(frozen=True)
class Case:
    """What the user said. ``given`` are dimensions whose value is known, ``price`` is None where none was given.

    ``training_usd`` and ``serving_usd`` (a month) are what the student costs, None where nobody said.
    """

    pattern: str
    teacher: str
    prompts: Path
    items: list[Item]
    given: dict[str, str] = field(default_factory=dict)
    production: Path | None = None
    run: Path | None = None
    workdir: Path = Path("runs")
    assistant: Path | None = None
    instruction: str = ""
    max_new_tokens: int = 128
    allow_cloud: bool = False
    redact: bool = False
    measure: bool = False
    device: str = "auto"
    price: Price | None = None
    monthly_requests: int | None = None
    training_usd: float | None = None
    serving_usd: float | None = None
    payback_months: float = 12.0

    @property
    def gold(self) -> list[Item]:
        """The rows with a reference."""
        return [item for item in self.items if item.reference is not None]

    @property
    def transfer(self) -> list[Item]:
        """The rows without one, which the student would learn from."""
        return [item for item in self.items if item.reference is None]

    @property
    def platform(self) -> str:
        return self.teacher.partition(":")[0]

    @property
    def model(self) -> str:
        return self.teacher.partition(":")[2]


class Decision(StrEnum):
    GO = "go"
    NO_GO = "no-go"
    UNSURE = "unsure"


class Measured(Strict):
    """What is known of one dimension of the catalogue."""

    dimension: str
    values: list[str] = Field(min_length=1, description="what can be the case; a single value is known")
    what: str = Field(description="what was measured, with its number and 95% interval")
    estimate: Estimate | None = None
    source: str
    mend: str = Field(description="what would settle it; empty where it is settled")


class Weighed(Strict):
    """One criterion of the pattern, held against what was measured."""

    dimension: str
    use: bool = Field(description="a reason to use the pattern, not one to leave it")
    values: list[str] = Field(description="the values of the dimension for which the reason holds")
    text: str
    decision: Decision


class Check(Strict):
    """A check beside the pattern's criteria. ``examples`` are ids, never text: it may be about people."""

    name: str
    title: str
    decision: Decision
    what: str
    estimate: Estimate | None = None
    source: str
    mend: str = ""
    examples: list[str] = Field(default_factory=list)


class Fit(Strict):
    """How a pattern of the catalogue fits what was measured: dimensions, each with the values that it may have."""

    pattern: str
    title: str
    speaks_for: list[str]
    speaks_against: list[str]
    open: list[str] = Field(description="not measured, or nothing that the pattern's page weighs")
    place: int = Field(default=0, description="its place, from 1 on; patterns that nothing tells apart share one")


class Report(Strict):
    """All that `distill check` says. ``decision`` is the worst of the criteria and the checks."""

    pattern: str
    title: str
    teacher: str
    prompts: str
    prompts_sha256: str
    decision: Decision
    measured: list[Measured]
    criteria: list[Weighed]
    checks: list[Check]
    fits: list[Fit] = Field(description="every pattern of the catalogue, the best first")


def worst(decisions: list[Decision]) -> Decision:
    """No-go if one is, else unsure if one is, else go."""
    for decision in (Decision.NO_GO, Decision.UNSURE):
        if decision in decisions:
            return decision
    return Decision.GO


def below(low: float, high: float, most: float) -> Decision:
    """Go if the whole interval from ``low`` to ``high`` is at most ``most``, no-go if it is above, else unsure."""
    if high <= most:
        return Decision.GO
    return Decision.NO_GO if low > most else Decision.UNSURE


def proportion(hits: int, of: int) -> Estimate:
    """A share with its 95% interval (Wilson 1927, J. Am. Stat. Assoc. 22(158)), which holds at 0 and with few items."""
    z, p = 1.959964, hits / of
    middle = (p + z * z / (2 * of)) / (1 + z * z / of)
    half = z / (1 + z * z / of) * math.sqrt(p * (1 - p) / of + z * z / (4 * of * of))
    return Estimate(value=p, low=max(0.0, middle - half), high=min(1.0, middle + half), n=of)


def shares(estimate: Estimate) -> str:
    """A share and its interval, as text."""
    return f"{share(estimate.value)} ({share(estimate.low)} – {share(estimate.high)})"
