"""How many requests may be under way at once, and how many may go a second.

At once: fewer when the platform asks for less, more again when it answers. A second: as many as the user says.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from .teacher import Busy

LONGEST_PAUSE = 120.0  # seconds; a platform that names a longer one is asked again anyway, once
FIRST_PAUSE = 1.0  # seconds, where the platform does not say how long; doubled while it goes on refusing


class Stopped(Exception):
    """Nothing more is to be sent."""


class Gate:
    """At most ``limit`` at once, by additive increase and multiplicative decrease (Chiu & Jain 1989).

    A refusal halves the limit and pauses everyone for as long as the platform asks; each answer raises it by one
    over itself, up to where it began. Refusals of requests that were sent before the last halving count as that one.
    ``per_second`` spaces the requests out, whoever they come from and however they end; None for no such limit.
    """

    def __init__(self, most: int, stop: asyncio.Event, per_second: float | None = None):
        self.most, self.stop = most, stop
        self.spacing = 1 / per_second if per_second else 0.0  # seconds
        self.limit = float(most)
        self.inside = 0
        self.refusals = 0  # since the last answer
        self._open_at = 0.0  # time.monotonic
        self._next_at = 0.0
        self._halved_at = 0.0
        self._free = asyncio.Condition()

    @asynccontextmanager
    async def passage(self) -> AsyncIterator[None]:
        """Wait for a place, hold it, and learn from how it went: Busy means slower, an answer means faster.

        Raises Stopped when ``stop`` is set before anything was sent.
        """
        async with self._free:
            await self._free.wait_for(lambda: self.inside < int(self.limit))
            self.inside += 1
        try:
            while (pause := max(self._open_at, self._next_at) - time.monotonic()) > 0:
                await sleep(pause, self.stop)
            if self.stop.is_set():
                raise Stopped
            sent = time.monotonic()
            self._next_at = max(self._next_at + self.spacing, sent)  # one may make up for another's delay
            try:
                yield
            except Busy as busy:
                self._slower(sent, busy.retry_after)
                raise
            self._faster()
        finally:
            async with self._free:
                self.inside -= 1
                self._free.notify(max(0, int(self.limit) - self.inside))

    def _slower(self, sent: float, retry_after: float | None) -> None:
        now = time.monotonic()
        if sent >= self._halved_at:
            self.limit = max(1.0, self.limit / 2)
            self._halved_at = now
            self.refusals += 1
        pause = FIRST_PAUSE * 2 ** min(self.refusals - 1, 10) if retry_after is None else retry_after
        self._open_at = max(self._open_at, now + min(max(pause, 0.0), LONGEST_PAUSE))

    def _faster(self) -> None:
        self.refusals = 0
        self.limit = min(float(self.most), self.limit + 1 / self.limit)


async def sleep(seconds: float, stop: asyncio.Event) -> None:
    """Sleep, but not past ``stop``. Raises Stopped."""
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
        raise Stopped
