"""Collection: ask a teacher every request once, through the ledger."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from .budget import Budget, BudgetReached
from .gate import Gate, Stopped
from .jobs import Jobs
from .ledger import Ledger, Outcome
from .remote import Asking, Journal
from .spending import Spending
from .teacher import Answer, Kind, LocalModel, RemoteTeacher, Request, Teacher

OnAnswer = Callable[[int], None]  # told how many requests are done


@dataclass(frozen=True)
class Collected:
    """One answer per request, in the order of the requests, and how they came about.

    ``why_pending`` says why some have no answer yet and what to do; it is empty when all have. ``usd`` is what the
    answers cost, whenever they were bought; ``outcomes`` counts the attempts at them over a network.
    """

    answers: list[Answer]
    from_ledger: int
    usd: float = 0.0
    outcomes: dict[Outcome, int] = field(default_factory=dict)
    why_pending: str = ""

    @property
    def kinds(self) -> Counter[Kind]:
        return Counter(answer.kind for answer in self.answers)

    @property
    def duplicates(self) -> int:
        """Answers that repeat another prompt's answer word for word."""
        return sum(count - 1 for text, count in Counter(a.text for a in self.answers).items() if text)


class Collector:
    """Puts requests to models on this machine and to platforms, through one ledger. Use as a context manager."""

    def __init__(
        self, ledger: Ledger, spending: Spending | None = None, say: Callable[[str], None] = lambda text: None
    ):
        self.ledger, self.spending, self.say = ledger, spending or Spending(), say
        self._runner = asyncio.Runner()  # one loop for all collections: an SDK's client belongs to the loop it began in
        self._remote: dict[str, RemoteTeacher] = {}

    def __enter__(self) -> Collector:
        return self

    def __exit__(self, *_: object) -> None:
        for teacher in self._remote.values():
            with suppress(Exception):
                self._runner.run(teacher.close())
        self._runner.close()

    def collect(self, teacher: Teacher, requests: list[Request], on_answer: OnAnswer = lambda done: None) -> Collected:
        """An answer to each of ``requests``: from the ledger where it was answered before, else by the teacher.

        Every answer is committed before it is counted or used. ``on_answer`` is told how many are there. Equal
        requests are asked once. Raises InputError, with everything earned kept, and KeyboardInterrupt once what was
        under way has arrived.
        """
        known = self.ledger.answered(teacher.identity, requests)
        first: dict[Request, int] = {}
        for i, request in enumerate(requests):
            if i not in known:
                first.setdefault(request, i)
        on_answer(len(known))
        remote = isinstance(teacher, RemoteTeacher)
        why = None
        if remote:
            why = self._over_the_network(teacher, list(first), lambda done: on_answer(len(known) + done))
        elif first:  # a model that has answered all is not loaded
            self._here(teacher, list(first), lambda done: on_answer(len(known) + done))
        return self._collected(teacher, requests, len(known), remote, why)

    def _here(self, teacher: LocalModel, pending: list[Request], on_done: OnAnswer) -> None:
        """Each group of answers is committed as it comes: a kill loses at most the group under way."""
        done = 0
        for group in teacher.answer(pending):
            self.ledger.add(teacher.identity, [(pending[i], answer) for i, answer in group])
            on_done(done := done + len(group))

    def _over_the_network(
        self, teacher: RemoteTeacher, pending: list[Request], on_done: OnAnswer
    ) -> BudgetReached | None:
        """Ask a platform, in jobs or one by one; why it stopped before the end, if it did."""
        self.spending.check(teacher)
        self._remote[teacher.identity] = teacher
        self.ledger.interrupted(teacher.identity)
        stop = asyncio.Event()
        with self._interrupts(stop) as interrupted:
            why = self._runner.run(self._ask(teacher, pending, stop, interrupted, on_done))
        if interrupted:
            raise KeyboardInterrupt
        if why is not None and not isinstance(why, BudgetReached):
            raise why
        return why

    async def _ask(
        self, teacher: RemoteTeacher, pending: list[Request], stop: asyncio.Event, interrupted: list, on_done: OnAnswer
    ) -> Exception | None:
        identity, spending = teacher.identity, self.spending
        budget = Budget(spending.price(teacher), spending.budget_usd, self.ledger.spent(identity))
        wanted, earlier = spending.in_jobs(teacher, len(pending)), self.ledger.batches(identity)
        if spending.batch and pending and not wanted:
            few = f"{len(pending)} requests are asked one by one"
            self.say(f"{few}: {teacher.name} takes no job of fewer than {teacher.least_in_job}")
        if wanted and not earlier and teacher.untried:
            # What the model does not take is learnt from this one, and not from every row of a job.
            why = await self._one_by_one(teacher, pending[:1], budget, stop, on_done)
            if why or stop.is_set():
                return why
        if wanted or earlier:  # an earlier job is fetched in any case: it is paid
            jobs = Jobs(teacher, self.ledger, budget, stop, on_done)
            try:
                await jobs.run(pending if wanted else [])
            except Stopped:
                self.say("the jobs go on at the platform; the same command fetches their results")
                return None
            known = self.ledger.answered(identity, pending)
            pending = [request for i, request in enumerate(pending) if i not in known]
            if jobs.why or (wanted and len(pending) >= teacher.least_in_job):
                return jobs.why
        return await self._one_by_one(teacher, pending, budget, stop, on_done)

    async def _one_by_one(
        self,
        teacher: RemoteTeacher,
        pending: list[Request],
        budget: Budget,
        stop: asyncio.Event,
        on_done: OnAnswer,
    ) -> Exception | None:
        done = 0

        def one_more() -> None:
            nonlocal done
            on_done(done := done + 1)

        journal = Journal(self.ledger, teacher.identity)
        gate = Gate(self.spending.concurrency, stop, self.spending.requests_per_second)
        asking = Asking(teacher, journal, budget, gate, stop, one_more)
        todo = iter(pending)  # shared: no task and no memory for a request before its turn
        workers = min(len(pending), 2 * self.spending.concurrency)  # one half asks, the other writes its journal
        try:
            await asyncio.gather(*(asking.worker(todo) for _ in range(workers)))
        finally:
            await journal.close()
        return asking.why

    @contextmanager
    def _interrupts(self, stop: asyncio.Event) -> Iterator[list[bool]]:
        """The first interrupt lets what is under way arrive, for it is paid; the second does not."""
        loop, interrupted = self._runner.get_loop(), []

        def interrupt() -> None:
            if interrupted:
                for task in asyncio.all_tasks(loop):
                    task.cancel()
            interrupted.append(True)
            stop.set()
            self.say("waiting for the answers under way; interrupt again to leave them")

        before = signal.getsignal(signal.SIGINT)
        try:
            loop.add_signal_handler(signal.SIGINT, interrupt)
        except RuntimeError:  # asyncio's word for a thread other than the main one: no interrupt arrives there
            yield interrupted
            return
        try:
            with suppress(asyncio.CancelledError):
                yield interrupted
        finally:
            loop.remove_signal_handler(signal.SIGINT)
            signal.signal(signal.SIGINT, before)

    def _collected(
        self, teacher: Teacher, requests: list[Request], from_ledger: int, remote: bool, why: BudgetReached | None
    ) -> Collected:
        answers = self.ledger.known(teacher.identity, requests)
        outcomes, usd = self.ledger.outcomes(teacher.identity, requests) if remote else ({}, 0.0)
        missing = [request for i, request in enumerate(requests) if i not in answers]
        reason = ""
        if missing:
            reasons = self.ledger.reasons(teacher.identity, missing)
            pending = {r: reasons.get(i, "not asked") for i, r in enumerate(missing)}
            answers |= {
                i: Answer("", Kind.PENDING, 0, 0, reason=pending[r]) for i, r in enumerate(requests) if r in pending
            }
            reason = self._why_pending(teacher, len(missing), len(requests), why, Counter(pending.values()))
        return Collected([answers[i] for i in range(len(requests))], from_ledger, usd, outcomes, reason)

    def _why_pending(
        self, teacher: Teacher, missing: int, asked: int, why: BudgetReached | None, reasons: Counter[str]
    ) -> str:
        left = f"{missing} of {asked} prompts have no answer of {teacher.name} yet"
        again = "run the same command again: what is answered is kept and not asked again"
        if why is not None:
            spent = self.ledger.spent(teacher.identity)
            return (
                f"{left}: the next one could exceed the budget of ${self.spending.budget_usd:,.2f}, of which "
                f"${spent:,.4f} is spent; raise --budget-usd and {again}"
            )
        [(most, times)] = reasons.most_common(1)
        return f"{left} ({times} for: {most}); {again}"
