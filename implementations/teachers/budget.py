"""What may be spent, counted before each request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from .prices import Price
from .teacher import Answer, Request

OVERHEAD = 64  # tokens that a platform puts around a request: roles, template, the rules of a schema


class BudgetReached(Exception):
    """The next request could cost more than is left."""


@dataclass
class Reservation:
    """The most that an attempt can cost, until ``paid`` says what it did cost. US dollars."""

    most: float
    paid: float | None = None


class Budget:
    """US dollars that may be spent with one teacher: ``limit`` in all, None for no limit, ``spent`` before.

    Without a price nothing is counted; who gives a limit must have one.
    """

    def __init__(self, price: Price | None, limit: float | None, spent: float):
        self.price, self.limit, self.spent = price, limit, spent
        self.reserved = 0.0
        self.under_way = 0
        self._changed = asyncio.Condition()

    def most(self, request: Request, batch: bool = False) -> float:
        """The most that ``request`` can cost. No tokenizer makes more tokens of a text than it has bytes."""
        if self.price is None:
            return 0.0
        text = request.instruction + request.prompt + (request.schema or "")
        tokens = len(text.encode()) + OVERHEAD
        plain = self.price.cost(tokens, request.max_new_tokens, batch=batch)
        return max(plain, self.price.cost(tokens, request.max_new_tokens, 0, tokens, batch=batch))

    def cost(self, answer: Answer, batch: bool = False) -> float:
        """What ``answer`` cost, from the tokens that the platform counted."""
        if self.price is None:
            return 0.0
        return self.price.cost(
            answer.prompt_tokens,
            answer.completion_tokens,
            answer.cache_read_tokens,
            answer.cache_write_tokens,
            batch=batch,
        )

    @asynccontextmanager
    async def reserve(self, request: Request) -> AsyncIterator[Reservation]:
        """Set aside the most that one attempt can cost; what it did cost is ``paid``, all of it if nobody says.

        Waits while what is under way may leave enough. Raises BudgetReached when it cannot.
        """
        held = Reservation(self.most(request))
        async with self._changed:
            await self._changed.wait_for(lambda: self._fits(held.most) or not self.under_way)
            if not self._fits(held.most):
                raise BudgetReached
            self.reserved += held.most
            self.under_way += 1
        try:
            yield held
        finally:
            async with self._changed:
                self.reserved -= held.most
                self.under_way -= 1
                self.spent += held.most if held.paid is None else held.paid
                self._changed.notify_all()

    def _fits(self, most: float) -> bool:
        return self.limit is None or self.spent + self.reserved + most <= self.limit
