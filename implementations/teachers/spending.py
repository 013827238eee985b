"""What the user allows a collection to spend."""

from __future__ import annotations

from dataclasses import dataclass

from .prices import Price

BATCH_FROM = 1000  # requests from which a platform's batch jobs are used: hours later, and half the price


@dataclass(frozen=True)
class Spending:
    """Requests at once, US dollars with one teacher in all, its price, and whether to use batch jobs."""

    concurrency: int = 16
    budget_usd: float | None = None
    price: Price | None = None
    batch: bool | None = None  # None: from BATCH_FROM requests up
