"""What the user allows a collection to spend and how fast, and what a teacher's tokens cost."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import InputError
from . import prices
from .prices import Price
from .teacher import BatchTeacher, RemoteTeacher

BATCH_FROM = 1000  # requests from which a platform's batch jobs are used: hours later, and half the price


@dataclass(frozen=True)
class Spending:
    """Requests at once, US dollars with one teacher in all, the price if the user gives it, whether to use jobs, and
    requests a second at most, None for as many as ``concurrency`` lets go. Jobs are sent whole.

    ``fallback`` is whether the given price is only for teachers without a known one, as where there are several.
    """

    concurrency: int = 16
    budget_usd: float | None = None
    given_price: Price | None = None
    batch: bool | None = None  # None: from BATCH_FROM requests up
    requests_per_second: float | None = None
    fallback: bool = False

    def price(self, teacher: RemoteTeacher) -> Price | None:
        """The user's, else the table's. A server of one's own behind a known name has the price of neither."""
        known = prices.find(teacher.platform, teacher.model, endpoint_of(teacher))
        return (known or self.given_price) if self.fallback else (self.given_price or known)

    def check(self, teacher: RemoteTeacher) -> None:
        """Raise InputError when a limit cannot be kept, before anything is sent."""
        if self.budget_usd is not None and self.price(teacher) is None:
            raise InputError(
                f"--budget-usd: the price of {teacher.name} is not known, so it cannot be counted; give --price-input "
                "and --price-output, in US dollars per million tokens"
            )
        if self.batch and (why := why_no_jobs(teacher)):
            raise InputError(f"--batch: {why}, or leave --batch out")

    def in_jobs(self, teacher: RemoteTeacher, requests: int) -> bool:
        """Whether so many requests go as a job."""
        wanted = self.batch if self.batch is not None else requests >= BATCH_FROM
        return wanted and fits_a_job(teacher, requests)


def endpoint_of(teacher: RemoteTeacher) -> str:
    """Where its requests go instead of the provider's own address, as its identity says; else nothing."""
    return teacher.identity.removeprefix(teacher.name).partition("@")[2]


def fits_a_job(teacher: RemoteTeacher, requests: int) -> bool:
    """Whether ``teacher`` would take so many requests as a job."""
    return not why_no_jobs(teacher) and requests >= teacher.least_in_job


def why_no_jobs(teacher: RemoteTeacher) -> str:
    """Why ``teacher`` takes no jobs, and what to do; empty when it does."""
    if isinstance(teacher, BatchTeacher):
        return teacher.why_no_jobs
    return f"{teacher.platform} has no batch jobs here; choose another --teacher"
