"""Collection over a network: each prompt asked once, every attempt counted, nothing paid for lost."""

from __future__ import annotations

import asyncio
import itertools
import multiprocessing
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import NamedTuple

import pytest
from loopback import Break, Call, Loopback, Reply, echo
from platforms import PLATFORMS
from protocols import claude as protocol

from implementations.errors import InputError
from implementations.teachers import gate, ledger, remote, wire
from implementations.teachers.budget import Budget
from implementations.teachers.claude import ClaudeTeacher
from implementations.teachers.collect import Collected, Collector
from implementations.teachers.gate import Stopped
from implementations.teachers.jobs import Jobs
from implementations.teachers.ledger import Batch, Ledger, Outcome
from implementations.teachers.open import open_remote
from implementations.teachers.prices import given
from implementations.teachers.spending import Spending
from implementations.teachers.teacher import Dropped, Kind, RemoteTeacher, Request

MODEL = "claude-haiku-5-5"
PRICE = given(1.0, 5.0)
MESSAGES = "/v1/messages"
OVERLOADED = protocol.error("overloaded_error", headers={"retry-after": "0"})
BUSY = protocol.error("rate_limit_error", headers={"retry-after": "0"})
BROKEN = protocol.error("api_error", "no")


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-secret-0123456789")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(remote, "wait_random_exponential", lambda **_: lambda state: 0.0)
    monkeypatch.setattr(gate, "FIRST_PAUSE", 0.01)


@pytest.fixture
def serve(start, monkeypatch):
    """Starts Anthropic's API, with an echo behind it."""

    def serve(fault=lambda n, call: None, delay=0.0, model=echo, **how) -> Loopback:
        server = start(protocol.respond(model, **how), fault, delay)
        monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url)
        return server

    return serve


def questions(number: int) -> list[Request]:
    return [Request("say it loudly", f"prompt number {i} of them", 8) for i in range(number)]


def collect(path: Path, requests: list[Request], teacher: RemoteTeacher | None = None, **spending) -> Collected:
    spending = {"concurrency": 8, "given_price": PRICE, "batch": False} | spending
    with Ledger(path / "ledger.sqlite") as ledger, Collector(ledger, Spending(**spending)) as collector:
        return collector.collect(teacher or ClaudeTeacher(MODEL, timeout=1.0), requests)


def asked(server: Loopback) -> Counter[str]:
    """How often each prompt reached the server as a single request."""
    return Counter(prompt(call) for call in server.calls if (call.method, call.path) == ("POST", MESSAGES))


def prompt(call: Call) -> str:
    return call.json["messages"][0]["content"]


def billed(server: Loopback) -> float:
    """US dollars by the server's own count of what it answered whole."""
    usd = 0.0
    for call in server.served:
        if (call.method, call.path) == ("POST", MESSAGES):
            written = echo("say it loudly", prompt(call), 8)
            usd += PRICE.cost(written.prompt_tokens, written.completion_tokens)
    return usd


def outcomes(path: Path, requests: list[Request], teacher: RemoteTeacher | None = None) -> dict[Outcome, int]:
    with Ledger(path / "ledger.sqlite") as ledger:
        return ledger.outcomes((teacher or ClaudeTeacher(MODEL)).identity, requests)[0]


def test_each_prompt_is_asked_once_and_paid_once(serve, tmp_path):
    server = serve()
    requests = questions(60)
    got = collect(tmp_path, requests + requests[:5])
    assert [a.text for a in got.answers[:60]] == [r.prompt.upper() for r in requests]
    assert asked(server) == Counter({r.prompt: 1 for r in requests})
    assert got.usd == pytest.approx(billed(server)) and got.outcomes == {Outcome.ANSWERED: 60}
    again = collect(tmp_path, requests)
    assert again.from_ledger == 60 and again.usd == got.usd and len(server.served) == len(server.calls)


FAULTS = {"busy": BUSY, "overloaded": OVERLOADED, "broken": BROKEN, "reset": Break.RESET, "garbage": Break.GARBAGE}


@pytest.mark.parametrize("share", [0.1, 0.4])
def test_whatever_fails_is_asked_again_and_counted(serve, tmp_path, share):
    rng = random.Random(1)
    spoilt: Counter = Counter()

    def fault(n: int, call: Call) -> Reply | Break | None:
        if call.path != MESSAGES or rng.random() >= share:
            return None
        spoilt[name := rng.choice(list(FAULTS))] += 1
        return FAULTS[name]

    server = serve(fault)
    requests = questions(120)
    got = collect(tmp_path, requests)
    while got.why_pending:  # five failures in a row of one prompt: rare, but they happen
        got = collect(tmp_path, requests)
    assert {a.kind for a in got.answers} == {Kind.COMPLETE}
    assert len(spoilt) == len(FAULTS)
    dropped, busy = spoilt["reset"] + spoilt["garbage"] + spoilt["broken"], spoilt["busy"] + spoilt["overloaded"]
    assert got.outcomes == {Outcome.ANSWERED: 120, Outcome.DROPPED: dropped, Outcome.BUSY: busy}
    assert sum(asked(server).values()) == 120 + spoilt.total()
    assert got.usd == pytest.approx(billed(server))
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        maybe = ledger.spent(ClaudeTeacher(MODEL).identity) - got.usd
    assert maybe > 0  # what broke off after it was sent may have been charged, and counts against a budget


def test_the_budget_is_not_exceeded_and_what_was_bought_is_kept(serve, tmp_path):
    server = serve()
    requests = questions(80)
    limit = 40 * PRICE.cost(8, 5)
    got = collect(tmp_path, requests, budget_usd=limit)
    bought = [a for a in got.answers if a.kind is Kind.COMPLETE]
    assert 0 < len(bought) < 80 and billed(server) <= limit
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        assert ledger.spent(ClaudeTeacher(MODEL).identity) == pytest.approx(billed(server))
    assert f"{80 - len(bought)} of 80 prompts have no answer" in got.why_pending
    assert "raise --budget-usd and run the same command again" in got.why_pending
    collect(tmp_path, requests, budget_usd=limit)
    assert sum(asked(server).values()) == len(bought)  # not one more
    assert not collect(tmp_path, requests, budget_usd=1.0).why_pending
    assert asked(server) == Counter({r.prompt: 1 for r in requests})


def test_a_budget_needs_a_price(serve, tmp_path):
    server = serve()
    with pytest.raises(InputError, match=r"--budget-usd: the price of claude:.* is not known"):
        collect(tmp_path, questions(1), budget_usd=1.0, given_price=None)
    assert not server.calls


def test_what_the_platform_never_answers_is_not_asked_again(serve, tmp_path):
    no = protocol.error("invalid_request_error", "prompt is too long")
    server = serve(lambda n, call: no if call.path == MESSAGES and "number 3 " in prompt(call) else None)
    got = collect(tmp_path, questions(6))
    assert [a.kind for a in got.answers].count(Kind.FAILED) == 1 and got.answers[3].kind is Kind.FAILED
    assert "HTTP 400" in got.answers[3].reason and not got.why_pending
    collect(tmp_path, questions(6))
    assert max(asked(server).values()) == 1


def test_an_empty_answer_is_asked_once_more_and_both_are_paid(serve, tmp_path):
    def silent(instruction, text, limit):
        return echo(instruction, text, 0 if "number 2 " in text else limit)._replace(truncated=False)

    server = serve(model=silent)
    got = collect(tmp_path, questions(4))
    assert [a.kind for a in got.answers] == [Kind.COMPLETE] * 2 + [Kind.EMPTY, Kind.COMPLETE]
    assert asked(server)[questions(4)[2].prompt] == 2 and got.outcomes == {Outcome.ANSWERED: 5}


def test_a_refused_key_ends_the_run_with_one_message(serve, tmp_path):
    serve(lambda n, call: protocol.error("authentication_error") if n >= 3 and call.path == MESSAGES else None)
    with pytest.raises(InputError, match="the key was refused"):
        collect(tmp_path, questions(50), concurrency=2)


def test_a_platform_that_goes_on_refusing_is_left_alone(serve, tmp_path):
    server = serve(lambda n, call: BUSY if call.path == MESSAGES else None)
    with pytest.raises(InputError, match=r"goes on refusing requests .* smaller --concurrency"):
        collect(tmp_path, questions(50))
    assert sum(asked(server).values()) < 100


def test_refusals_halve_what_is_under_way_and_answers_bring_it_back(serve, tmp_path):
    """A server that takes four at once: the collection settles near that, and is not refused all the time."""
    lock, inside, refused = threading.Lock(), [0], [0]
    respond = protocol.respond(echo)

    def four(call: Call) -> Reply:
        if call.path != MESSAGES:
            return respond(call)
        with lock:
            inside[0] += 1
            full = inside[0] > 4
        try:
            if full:
                refused[0] += 1
                return BUSY
            time.sleep(0.01)
            return respond(call)
        finally:
            with lock:
                inside[0] -= 1

    server = serve()
    server.respond = four
    got = collect(tmp_path, questions(200), concurrency=32)
    assert not got.why_pending
    assert refused[0] < 120, "as many refusals as without any adapting"


def test_so_many_requests_a_second_and_no_more(serve, tmp_path):
    """However many may go at once, and those that are asked again count as well."""
    server = serve(lambda n, call: BUSY if n % 5 == 3 else None)
    started = time.monotonic()
    got = collect(tmp_path, questions(20), concurrency=32, requests_per_second=40)
    assert not got.why_pending
    sent = sum(asked(server).values())
    assert sent > 20 and time.monotonic() - started >= (sent - 2) / 40  # the first goes at once, and one may catch up


def test_an_interrupt_lets_what_is_under_way_arrive(serve, tmp_path):
    server = serve(delay=0.2)
    threading.Timer(0.9, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        collect(tmp_path, questions(200), concurrency=4)
    done = sum(asked(server).values())
    assert 0 < done < 100 and len([c for c in server.served if c.path == MESSAGES]) == done
    assert outcomes(tmp_path, questions(200)) == {Outcome.ANSWERED: done}
    server.delay = 0.0
    collect(tmp_path, questions(200))
    assert max(asked(server).values()) == 1


# ------------------------------------------------------------------------------------------------- clock jumps


@pytest.fixture
def jumps(monkeypatch):
    """The wall clock of this machine jumps to and fro, by more than a day, whenever it is read."""
    hours = itertools.cycle((30, -30, 0))

    class Jumping(datetime):
        @classmethod
        def now(cls, zone=None):
            return datetime.now(zone) + timedelta(hours=next(hours))

    monkeypatch.setattr(wire, "datetime", Jumping)
    monkeypatch.setattr(ledger, "datetime", Jumping)


def test_a_date_to_come_back_at_is_not_trusted_when_the_clock_jumps(serve, tmp_path, jumps, monkeypatch):
    monkeypatch.setattr(gate, "LONGEST_PAUSE", 0.05)
    soon = format_datetime(datetime.now(UTC))
    busy = protocol.error("rate_limit_error", headers={"retry-after": soon})
    server = serve(lambda n, call: busy if call.path == MESSAGES and n % 7 == 3 else None)
    got = collect(tmp_path, questions(60))
    assert not got.why_pending and len([c for c in server.served if c.path == MESSAGES]) == 60


# ------------------------------------------------------------------------------------------------- kill -9


def _child(path: str, number: int, environment: dict[str, str], teacher: str | None) -> None:
    os.environ.update(environment)
    if teacher is None:
        collect(Path(path), questions(number))
    else:
        collect(Path(path), questions(number), open_remote(teacher), batch=True)


def kill_until_done(path: Path, number: int, rng: random.Random, longest: float, teacher: str | None = None) -> int:
    """Collect in processes that are killed after random times; how many kills it took until one got to its end.

    With ``teacher`` in jobs, else one by one.
    """
    forking = multiprocessing.get_context("forkserver")
    google = ["google.genai", "google.cloud.storage", "google.cloud.aiplatform_v1.services.job_service"]
    forking.set_forkserver_preload(["anthropic", "boto3", *google, "test_collect"])
    environment = dict(os.environ)
    for kills in range(1000):
        process = forking.Process(target=_child, args=(str(path), number, environment, teacher))
        process.start()
        process.join(rng.uniform(0.02, longest) * 1.1**kills)  # or a busy machine would never get to the end
        if process.exitcode is None:
            process.kill()
        process.join()
        if process.exitcode == 0:
            return kills
        assert process.exitcode == -signal.SIGKILL
    raise AssertionError("never got to its end")


def test_killed_at_fifty_random_points_nothing_is_lost_and_nothing_asked_again(serve, tmp_path):
    rng, kills, trial = random.Random(7), 0, 0
    while kills < 50:
        trial += 1
        server = serve(delay=0.02)
        path, requests = tmp_path / str(trial), questions(150)
        times = kill_until_done(path, len(requests), rng, 0.8)
        kills += times
        with Ledger(path / "ledger.sqlite") as ledger:
            identity = ClaudeTeacher(MODEL).identity
            assert len(ledger.known(identity, requests)) == len(ledger) == 150
            ended, usd = ledger.outcomes(identity, requests)
        assert ended[Outcome.ANSWERED] == 150 and usd == pytest.approx(150 * PRICE.cost(8, 5))
        extra = sum(asked(server).values()) - 150
        # What was asked again was under way at a kill; the ledger knows of all of it, sent or about to be.
        assert 0 <= extra <= ended.get(Outcome.INTERRUPTED, 0) <= 2 * 8 * times
        assert set(ended) <= {Outcome.ANSWERED, Outcome.INTERRUPTED}


# ------------------------------------------------------------------------------------------------- jobs


class JobsOf(NamedTuple):
    """What differs between platforms that take jobs.

    ``unknown`` is a job that nobody made, ``made`` the call that makes one; ``alone`` how many requests a fresh teacher
    asks before it. ``later`` is what may become of a request that goes into another job, ``never`` of one that is not
    asked again.
    """

    unknown: str
    made: str
    alone: int
    later: tuple[str, ...]
    never: str


JOBS = {
    "claude": JobsOf(
        "msgbatch_gone",
        "POST /v1/messages/batches",
        0,
        ("errored:api_error", "expired", "canceled", "missing"),
        "errored:invalid_request_error",
    ),
    "vertex": JobsOf(
        "projects/proj/locations/global/batchPredictionJobs/99",
        "POST /v1/projects/proj/locations/global/batchPredictionJobs",
        0,
        ("INTERNAL", "UNAVAILABLE", "RESOURCE_EXHAUSTED", "missing"),
        "INVALID_ARGUMENT",
    ),
    "bedrock": JobsOf(
        "arn:aws:bedrock:eu-west-1:123456789012:model-invocation-job/000000000009",
        "POST /model-invocation-job",
        1,
        ("errored:500", "errored:429", "missing"),
        "errored:400",
    ),
}
IN_JOB = 120  # requests, more than any platform asks for at least


class Served(NamedTuple):
    """A platform that takes jobs, served."""

    server: Loopback
    of: JobsOf
    spec: str
    asks: Callable[[Call], bool]

    @property
    def teacher(self) -> RemoteTeacher:
        """A fresh one."""
        return open_remote(self.spec)

    @property
    def jobs(self) -> int:
        return self.server.paths[self.of.made]

    def lose(self) -> None:
        """Whatever its jobs have answered."""
        api = self.server.respond.__self__
        if hasattr(api, "files"):
            api.files.clear()
        else:
            for batch in api.batches.values():
                batch.archived = True

    @property
    def asked(self) -> int:
        """Requests that came by themselves."""
        return sum(map(self.asks, self.server.calls))


@pytest.fixture(params=JOBS)
def serve_jobs(request, start, monkeypatch, tmp_path):
    """Starts a platform that takes jobs. ``fault`` befalls the calls that make one."""
    of, platform = JOBS[request.param], PLATFORMS[request.param]

    def serve(fault=lambda: None, **how) -> Served:
        def of_jobs(n: int, call: Call) -> Break | None:
            return fault() if f"{call.method} {call.path}" == of.made else None

        server = start(platform.respond(echo, **how), of_jobs)
        for variable, value in platform.environment(server.url, tmp_path).items():
            monkeypatch.setenv(variable, value)
        return Served(server, of, platform.teacher, platform.asks)

    return serve


def test_a_job_answers_all_at_its_own_price(serve_jobs, tmp_path):
    served = serve_jobs()
    got = collect(tmp_path, questions(IN_JOB), served.teacher, batch=True, given_price=replace(PRICE, batch=0.5))
    assert [a.text for a in got.answers] == [r.prompt.upper() for r in questions(IN_JOB)]
    alone = served.of.alone
    assert served.jobs == 1 and served.asked == alone and got.outcomes == {Outcome.ANSWERED: IN_JOB}
    assert got.usd == pytest.approx((IN_JOB - alone) * PRICE.cost(8, 5) / 2 + alone * PRICE.cost(8, 5))


def test_what_a_job_leaves_out_goes_into_another(serve_jobs, tmp_path):
    seen: Counter = Counter()

    def outcome(row: int, text: str) -> str:
        seen[text] += 1
        return kinds[row % len(kinds)] if seen[text] == 1 else "succeeded"

    served = serve_jobs(outcome=outcome)
    kinds = ("succeeded", *served.of.later, served.of.never)
    became = Counter(kinds[row % len(kinds)] for row in range(3 * IN_JOB - served.of.alone))
    failed, later = became[served.of.never], sum(became[kind] for kind in served.of.later)
    got = collect(tmp_path, questions(3 * IN_JOB), served.teacher, batch=True)
    assert Counter(a.kind for a in got.answers) == {Kind.COMPLETE: 3 * IN_JOB - failed, Kind.FAILED: failed}
    assert served.jobs == 2 and not got.why_pending
    answered = {Outcome.ANSWERED: 3 * IN_JOB - failed}
    assert got.outcomes == answered | {Outcome.DROPPED: later, Outcome.REJECTED: failed}


def test_many_requests_go_as_jobs_of_about_a_size(serve_jobs, tmp_path, monkeypatch):
    """Were the last one the rest, it could be too small to be taken."""
    monkeypatch.setattr("implementations.teachers.jobs.MOST_IN_JOB", 2 * IN_JOB)
    served = serve_jobs()
    got = collect(tmp_path, questions(4 * IN_JOB + 10), served.teacher, batch=True)
    assert served.jobs == 3 and served.asked == served.of.alone and not got.why_pending


def test_a_job_outlives_the_process(serve_jobs, tmp_path, monkeypatch):
    interrupt = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    served = serve_jobs(lambda: interrupt.start(), polls=12)
    with pytest.raises(KeyboardInterrupt):
        collect(tmp_path, questions(IN_JOB), served.teacher, batch=True)
    alone = served.of.alone
    ended = Counter({Outcome.UNDER_WAY: IN_JOB - alone, Outcome.ANSWERED: alone})
    assert Counter(outcomes(tmp_path, questions(IN_JOB), served.teacher)) == ended
    monkeypatch.setattr("implementations.teachers.jobs.LAST_POLL", 0.01)
    monkeypatch.setattr("implementations.teachers.jobs.FIRST_POLL", 0.01)
    # The job is fetched, the other five are asked.
    got = collect(tmp_path, questions(IN_JOB + 5), served.teacher, batch=False)
    assert served.jobs == 1 and served.asked == 5 + alone and not got.why_pending


@pytest.mark.parametrize("clock", ["steady", "jumping"])
def test_a_job_whose_id_was_lost_is_found(serve_jobs, tmp_path, clock, request):
    if clock == "jumping":
        request.getfixturevalue("jumps")
    served = serve_jobs(lambda: Break.RESET)
    with pytest.raises(InputError, match="no word whether the job was taken"):
        collect(tmp_path, questions(IN_JOB), served.teacher, batch=True)
    got = collect(tmp_path, questions(IN_JOB), served.teacher, batch=True)
    assert served.jobs == 1 and not got.why_pending


def test_a_job_whose_results_are_gone_is_paid_and_over(serve_jobs, tmp_path, monkeypatch):
    """Nobody knows what it cost, so the most that it can have cost counts against the budget."""
    served, requests = serve_jobs(), questions(IN_JOB)
    most = Budget(PRICE, None, 0.0).most(requests[0], batch=True)
    budget = sum(Budget(PRICE, None, 0.0).most(request, batch=True) for request in requests) + most / 2

    async def interrupted(self, batch: Batch) -> bool:
        raise Stopped

    with monkeypatch.context() as before:
        before.setattr(Jobs, "_is_anothers", interrupted)
        collect(tmp_path, requests, served.teacher, batch=True, budget_usd=budget)
    served.lose()
    got = collect(tmp_path, requests, served.teacher, batch=True, budget_usd=budget)
    assert served.jobs == 1 and "could exceed the budget" in got.why_pending
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        spent = ledger.spent(served.teacher.identity)
        assert budget - 2 * most < spent <= budget and not ledger.batches(served.teacher.identity)
    got = collect(tmp_path, requests, served.teacher, batch=True)
    assert served.jobs == 2 and not got.why_pending


def test_an_answer_of_a_job_that_got_lost_counts_as_paid(tmp_path):
    """As one that was asked for alone does."""
    [request] = questions(1)
    budget = Budget(PRICE, None, 0.0)
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        jobs = Jobs(ClaudeTeacher(MODEL), ledger, budget, asyncio.Event(), lambda done: None)
        ends = [jobs._end(1, request, Dropped("no", billed=billed)) for billed in (True, False)]
    assert [end.usd for end in ends] == [budget.most(request, batch=True), 0.0] and ends[0].usd > 0


def test_a_job_that_this_account_does_not_know(serve_jobs, tmp_path):
    """Another key, project or region is set than when it was started, or the job was deleted."""
    served = serve_jobs()
    teacher = served.teacher
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        batch = ledger.open_batch(teacher.identity, questions(IN_JOB), [0.0] * IN_JOB)
        ledger.name_batch(batch, served.of.unknown)
    with pytest.raises(InputError, match=r"HTTP 404.*; a job is known only to the key, project and region that it was"):
        collect(tmp_path, questions(IN_JOB), teacher, batch=True)
    assert not served.jobs


def test_another_users_job_of_the_same_size_is_not_taken_for_a_lost_one(serve_jobs, tmp_path):
    """Nor is the lost one bought again, although Claude's jobs have no names."""
    lost = iter([Break.RESET])
    served = serve_jobs(lambda: next(lost, None))
    with pytest.raises(InputError, match="no word whether the job was taken"):
        collect(tmp_path, questions(IN_JOB), served.teacher, batch=True)
    theirs = [replace(request, instruction="say it in their way") for request in questions(IN_JOB)]
    assert not collect(tmp_path / "theirs", theirs, served.teacher, batch=True).why_pending
    got = collect(tmp_path, questions(IN_JOB), served.teacher, batch=True)
    assert [answer.text for answer in got.answers] == [r.prompt.upper() for r in questions(IN_JOB)]
    assert served.jobs == 2 and served.asked == 2 * served.of.alone


def test_a_job_survives_kills(serve_jobs, tmp_path):
    served = serve_jobs(polls=3)
    kills = kill_until_done(tmp_path, IN_JOB, random.Random(3), 0.6, served.spec)
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        assert len(ledger.known(served.teacher.identity, questions(IN_JOB))) == IN_JOB
    assert kills and served.jobs == 1
