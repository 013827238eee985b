"""Collection by a platform's batch jobs: cheaper, later, and alive when this process is not.

A job and its requests are journalled before it is submitted. Whoever runs next finds it, waits for it, and fetches
its results; a job whose id never came back, because a kill came first, is looked for among the platform's own.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta

from ..errors import InputError
from .budget import Budget, BudgetReached
from .gate import sleep
from .ledger import Batch, End, Ledger, Outcome
from .teacher import Answer, BatchTeacher, Busy, Dropped, Kind, Rejected, Request
from .wire import kind_of

MOST_IN_JOB = 10_000  # requests; no platform takes fewer, and what one broken job delays stays bounded
CLOCKS_DIFFER = timedelta(days=2)  # at most, between this machine and the platform: one of them may have been set since
FIRST_POLL, LAST_POLL = 1.0, 60.0  # seconds between questions about a job; each half as long again as the last
GROUP = 200  # results in one commit
ROUNDS = 2  # of jobs: what errored or expired goes into one more
TRIES = 5  # at a question about a job


class Jobs:
    """The jobs of one collection. ``stop`` ends the waiting; the jobs themselves go on at the platform."""

    def __init__(
        self,
        teacher: BatchTeacher,
        ledger: Ledger,
        budget: Budget,
        stop: asyncio.Event,
        on_done: Callable[[int], None],
    ):
        self.teacher, self.ledger, self.budget, self.stop, self.on_done = teacher, ledger, budget, stop, on_done
        self.why: BudgetReached | None = None
        self._strangers: set[str] = set()  # jobs that held nothing of ours

    async def run(self, requests: list[Request]) -> None:
        """Fetch what earlier jobs have, submit what nobody answered, wait. Raises Stopped, InputError."""
        identity = self.teacher.identity
        done = 0
        for _ in range(ROUNDS):
            jobs = [job for batch in self.ledger.batches(identity) if (job := await self._found(batch))]
            waiting = {key for batch in jobs for key in batch.attempts}
            known = self.ledger.answered(identity, requests)
            pending = [r for i, r in enumerate(requests) if i not in known and r.key(identity) not in waiting]
            for part in self._parts(self._affordable(pending)):
                jobs.append(await self._submit(part))
            if not jobs:
                return
            for batch in jobs:
                await self._finish(batch, done)
                done += len(batch.attempts)
                self.on_done(done)

    async def _found(self, batch: Batch) -> Batch | None:
        """``batch`` with its platform's id, or None when the platform has no such job."""
        if batch.job:
            return batch
        known = self.ledger.jobs(self.teacher.identity) | self._strangers
        since = batch.submitted_at - CLOCKS_DIFFER
        jobs = await self._patiently(lambda: self.teacher.find(since, batch.attempts))
        new = [job for job in jobs if job not in known]
        if not new:
            self.ledger.end_batch(batch)
            return None
        self.ledger.name_batch(batch, new[0])
        return Batch(batch.id, new[0], batch.submitted_at, batch.attempts)

    def _affordable(self, pending: list[Request]) -> list[Request]:
        """As many of ``pending`` as fit into the budget if each costs the most that it can."""
        budget, fits = self.budget, []
        budget.spent = self.ledger.spent(self.teacher.identity)
        left = None if budget.limit is None else budget.limit - budget.spent
        for request in pending:
            most = budget.most(request, batch=True)
            if left is not None and most > left:
                self.why = BudgetReached()
                break
            left = None if left is None else left - most
            fits.append(request)
        return fits

    def _parts(self, requests: list[Request]) -> Iterator[list[Request]]:
        """As few jobs' worth as there can be, one about as large as the other; none of too few for a job."""
        if len(requests) < self.teacher.least_in_job:
            return
        size = math.ceil(len(requests) / math.ceil(len(requests) / MOST_IN_JOB))
        for at in range(0, len(requests), size):
            yield requests[at : at + size]

    async def _submit(self, requests: list[Request]) -> Batch:
        costs = [self.budget.most(request, batch=True) for request in requests]
        batch = self.ledger.open_batch(self.teacher.identity, requests, costs)
        try:
            job = await self.teacher.submit({key: request for key, (_, request) in batch.attempts.items()})
        except (Busy, Rejected) as error:  # the platform says that there is no job
            self.ledger.end_batch(batch)
            raise InputError(f"{self.teacher.name} does not take the job: {error}; give --no-batch") from error
        except InputError:
            self.ledger.end_batch(batch)
            raise
        except Dropped as error:  # there may be one
            raise InputError(
                f"{self.teacher.name}: no word whether the job was taken ({error}); run the same command again: it "
                "looks for the job before it submits another"
            ) from error
        self.ledger.name_batch(batch, job)
        return Batch(batch.id, job, batch.submitted_at, batch.attempts)

    async def _wait(self, batch: Batch, before: int) -> None:
        pause = FIRST_POLL
        while True:
            done, ended = await self._patiently(lambda: self.teacher.progress(batch.job))
            self.on_done(before + min(done, len(batch.attempts)))
            if ended:
                return
            await sleep(pause, self.stop)
            pause = min(LAST_POLL, 1.5 * pause)

    async def _finish(self, batch: Batch | None, before: int) -> None:
        """Wait for the job and commit its results; what has none goes back to pending.

        Where jobs have no names, one that was looked for may be somebody else's: then the next may be ours.
        """
        while batch:
            await self._wait(batch, before)
            if not await self._patiently(lambda batch=batch: self._is_anothers(batch)):
                self.ledger.end_batch(batch)
                return
            self._strangers.add(batch.job)
            batch = await self._found(replace(batch, job=None))

    async def _is_anothers(self, batch: Batch) -> bool:
        """Commit the results of the job; whether there are some and none is ours.

        Of a job whose results are gone there is nothing. A broken stream is read again from its start.
        """
        ours = theirs = False
        ends: list[End] = []
        async for key, result in self.teacher.results(batch.job):
            if key not in batch.attempts:
                theirs = True
            else:
                ours = True
                ends.append(self._end(*batch.attempts[key], result))
            if len(ends) == GROUP:
                self.ledger.write(self.teacher.identity, [], ends)
                ends = []
        self.ledger.write(self.teacher.identity, [], ends)
        return theirs and not ours

    def _end(self, attempt: int, request: Request, result: Answer | Exception) -> End:
        if isinstance(result, Rejected):
            answer = Answer("", Kind.FAILED, 0, 0, reason=str(result))
            return End(attempt, Outcome.REJECTED, 0.0, str(result), (self.teacher.identity, request, answer))
        if isinstance(result, Exception):
            billed = isinstance(result, Dropped) and result.billed
            return End(attempt, Outcome.DROPPED, self.budget.most(request, batch=True) * billed, str(result))
        if result.kind is Kind.COMPLETE:  # the platform has not kept the schema that the answer was to follow
            result = replace(result, kind=kind_of(result.text, request))
        usd = self.budget.cost(result, batch=True)
        return End(attempt, Outcome.ANSWERED, usd, result.reason, (self.teacher.identity, request, result))

    async def _patiently(self, ask):
        """The result of ``ask``, after a few tries where the platform or the line fails."""
        for left in reversed(range(TRIES)):
            try:
                return await ask()
            except (Busy, Dropped) as error:
                if not left:
                    raise InputError(
                        f"{self.teacher.name}: {error}; run the same command later: the job goes on at the platform "
                        "and its results are kept there for days"
                    ) from error
                await sleep(min(getattr(error, "retry_after", None) or 2.0 ** (TRIES - left), LAST_POLL), self.stop)
            except Rejected as error:
                raise InputError(
                    f"{self.teacher.name}: {error}; a job is known only to the key, project and region that it was "
                    "started with: set those and run the same command again, or, where the job was deleted, give "
                    "another --workdir"
                ) from error
