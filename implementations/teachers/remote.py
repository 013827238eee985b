"""Collection over a network: many requests at once, each attempt journalled, nothing paid for lost.

Each request is journalled as an attempt before it goes and committed as an answer before anyone sees it. A kill loses
what was under way and no more; an interrupt lets what is under way arrive. What fails and may go through later is
asked again a few times, and again by the next run.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace

from tenacity import AsyncRetrying, RetryError, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from ..errors import InputError
from .budget import Budget, Reservation
from .gate import Gate, Stopped, sleep
from .ledger import End, Ledger, Outcome
from .teacher import Answer, Busy, Dropped, Kind, Rejected, RemoteTeacher, Request

ATTEMPTS = 5  # at a request whose answers get lost or cannot be used
MOST_REFUSALS = 12  # in a row, before the platform is left alone: with doubling pauses about half an hour
UNUSABLE = {Kind.EMPTY, Kind.MALFORMED}  # asked again once: another try may well be usable, a third hardly


class Journal:
    """Commits what tasks hand it in groups: one transaction for all that came while the last was on its way to disk."""

    def __init__(self, ledger: Ledger, teacher: str):
        self.ledger, self.teacher = ledger, teacher
        self._begins: list[tuple[str, float, asyncio.Future[int]]] = []
        self._ends: list[tuple[End, asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def begin(self, key: str, usd: float) -> int:
        """The id of a new attempt, once it is on disk."""
        future = asyncio.get_running_loop().create_future()
        self._begins.append((key, usd, future))
        self._write()
        return await future

    def end(self, end: End) -> asyncio.Future[None]:
        """How an attempt ended; the future is done when that is on disk."""
        future = asyncio.get_running_loop().create_future()
        self._ends.append((end, future))
        self._write()
        return future

    def _write(self) -> None:
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._groups())

    async def _groups(self) -> None:
        while self._begins or self._ends:
            begins, self._begins = self._begins, []
            ends, self._ends = self._ends, []
            futures = [future for *_, future in (*begins, *ends)]
            try:
                ids = await asyncio.to_thread(
                    self.ledger.write,
                    self.teacher,
                    [(key, usd) for key, usd, _ in begins],
                    [end for end, _ in ends],
                )
            except BaseException as error:
                for future in futures:
                    if not future.done():
                        future.set_exception(error)
                        future.exception()  # whoever still waits sees it; the others are gone
                if isinstance(error, Exception):
                    continue
                raise
            for future, result in zip(futures, [*ids, *[None] * len(ends)], strict=True):
                if not future.done():
                    future.set_result(result)

    async def close(self) -> None:
        """Wait for what is on its way to disk."""
        if self._writing is not None:
            await self._writing


class Asking:
    """One collection under way. ``stop`` ends it once what is under way has arrived; ``why`` then says the reason."""

    def __init__(
        self,
        teacher: RemoteTeacher,
        journal: Journal,
        budget: Budget,
        gate: Gate,
        stop: asyncio.Event,
        on_done: Callable[[], None],
    ):
        self.teacher, self.journal, self.budget, self.gate = teacher, journal, budget, gate
        self.stop, self.on_done = stop, on_done
        self.why: Exception | None = None
        self._arrived = time.monotonic()

    async def worker(self, requests: Iterator[Request]) -> None:
        """Ask one request after the other, until there is none left or a reason to stop."""
        for request in requests:
            try:
                await self._persist(request)
            except Stopped:
                return
            except Exception as why:  # whatever it is, what others have under way is paid and shall arrive
                self.why = self.why or why
                self.stop.set()
                return
            self.on_done()

    async def _persist(self, request: Request) -> None:
        """Attempts at ``request`` until it is answered or given up."""
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(Dropped),
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait_random_exponential(multiplier=0.5, max=20),
            sleep=lambda seconds: sleep(seconds, self.stop),
        )
        again = True
        with suppress(RetryError):  # given up: the journal has every reason, and the next run asks again
            async for attempt in retrying:
                with attempt:
                    kind = await self._through_the_gate(request, again)
                    if again and kind in UNUSABLE:
                        again = False
                        raise Dropped(f"the answer is {kind}")

    async def _through_the_gate(self, request: Request, again: bool) -> Kind:
        """One attempt that the platform took on, after as many refusals as it takes."""
        while True:
            try:
                async with self.budget.reserve(request) as cost:
                    return await self._attempt(request, cost, again)
            except Busy as busy:
                if self.gate.refusals >= MOST_REFUSALS:
                    raise InputError(
                        f"{self.teacher.name} goes on refusing requests ({busy}); give a smaller --concurrency, or a "
                        "--requests-per-second, or run the same command later: every answer so far is kept"
                    ) from busy

    async def _attempt(self, request: Request, cost: Reservation, again: bool) -> Kind:
        """Journal, ask, journal. An unusable answer is not kept as the request's answer while it is asked ``again``.

        The gate is held while the platform is asked and no longer: others write their journal meanwhile.
        """
        number = await self.journal.begin(request.key(self.teacher.identity), cost.most)
        try:
            async with self.gate.passage():
                answer, outcome = await self._asked(request)
        except Stopped:
            cost.paid = 0.0
            self.journal.end(End(number, None, cost.paid))
            raise
        except (Busy, Dropped, InputError) as error:
            cost.paid = cost.most if isinstance(error, Dropped) and error.billed else 0.0
            outcome = {Busy: Outcome.BUSY, Dropped: Outcome.DROPPED}.get(type(error), Outcome.REJECTED)
            self.journal.end(End(number, outcome, cost.paid, str(error)))
            raise
        cost.paid = self.budget.cost(answer)
        if again and answer.kind in UNUSABLE:
            self.journal.end(End(number, outcome, cost.paid, f"the answer is {answer.kind}"))
        else:
            now = time.monotonic()
            answer, self._arrived = replace(answer, seconds=now - self._arrived), now
            kept = (self.teacher.identity, request, answer)
            await self.journal.end(End(number, outcome, cost.paid, answer.reason, kept))
        return answer.kind

    async def _asked(self, request: Request) -> tuple[Answer, Outcome]:
        """The platform's answer; of a request that it will never answer, the reason."""
        try:
            return await self.teacher.ask(request), Outcome.ANSWERED
        except Rejected as rejected:
            return Answer("", Kind.FAILED, 0, 0, reason=str(rejected)), Outcome.REJECTED
