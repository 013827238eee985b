"""What a run will ask, what it may cost and how long it may take: `distill plan`, before anything is spent."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table

from . import own_prompts, privacy
from .errors import InputError
from .figures import count, dollars, many, seconds
from .options import Options
from .record import RECORDS, Record, load_all
from .registry import RECIPES
from .settings import make_plan, make_task
from .tasks.task import Item, Task
from .teachers import named
from .teachers.answered import AnsweredTeacher
from .teachers.budget import Budget
from .teachers.ledger import Ledger
from .teachers.open import leaves_machine, must_stay, notes, open_remote
from .teachers.spending import fits_a_job
from .teachers.teacher import Answer, Busy, Dropped, Kind, Rejected, RemoteTeacher, Request
from .teachers.wire import estimated_tokens
from .workdir import prepare

SAMPLE = 8  # prompts whose tokens the platform is asked to count; the rest are taken to be like them


@dataclass(frozen=True)
class Estimate:
    """What the requests of one run come to. ``usd`` is what they cost if answers are like those known; ``most`` if
    each is as long as it may be; None without a price. ``known`` counts those whose answer is in the ledger."""

    requests: int
    known: int
    prompt_tokens: int
    completion_tokens: int
    measured: int  # answers of this teacher that the lengths are taken from, 0: the token limit
    seconds_each: float | None
    usd: float | None
    most: float | None
    batch_usd: float | None
    reach: int | None  # how many requests --budget-usd lets through, known ones included; None where it lets all


def requests_of(options: Options, task: Task) -> list[Request]:
    """Every request that the run puts to its teacher, or to each of its committee, which is scored on the gold too."""
    plan = make_plan(options, task)
    items: list[Item] = []
    for seed in plan.seeds:
        splits = task.splits(plan.sizes, seed)
        items += splits.gold if RECIPES[options.pattern].committee else []
        items += [item for slice_items in splits.slices.values() for item in slice_items]
        items += splits.transfer + splits.served
    return list(dict.fromkeys(Request(task.instruction, item.prompt, task.max_new_tokens) for item in items))


def estimate(teacher: RemoteTeacher, requests: list[Request], ledger: Ledger | None, options: Options) -> Estimate:
    """Count, price, and time ``requests``, given as they would be sent.

    What is in ``ledger`` costs nothing and tells how long answers are. The platform counts, unless ``requests`` are not
    allowed to go there.
    """
    known = ledger.known(teacher.identity, requests) if ledger else {}
    asked = [request for i, request in enumerate(requests) if i not in known]
    prompt_tokens = asyncio.run(_count(teacher, asked, here=must_stay(options, teacher)))
    answers = list(known.values())
    length = sum(a.completion_tokens for a in answers) / len(answers) if answers else None
    completion_tokens = round(sum(r.max_new_tokens if length is None else length for r in asked))
    price = options.spending.price(teacher)
    budget = Budget(price, None, 0.0)
    one = Answer("", Kind.COMPLETE, prompt_tokens // max(1, len(asked)), completion_tokens // max(1, len(asked)))
    batch = options.spending.in_jobs(teacher, len(asked))
    spent = 0.0 if ledger is None else ledger.spent(teacher.identity)  # one without answers is falsy
    reach = _reach(asked, options.spending.budget_usd, spent, budget, budget.cost(one, batch), batch)
    return Estimate(
        requests=len(requests),
        known=len(known),
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        measured=len(answers),
        seconds_each=sum(a.seconds for a in answers) / len(answers) if answers else None,
        usd=len(asked) * budget.cost(one) if price else None,
        most=sum(budget.most(r) for r in asked) if price else None,
        batch_usd=len(asked) * budget.cost(one, batch=True) if price and fits_a_job(teacher, len(asked)) else None,
        reach=None if reach is None else len(known) + reach,
    )


def _reach(
    asked: list[Request], limit: float | None, spent: float, budget: Budget, each: float, batch: bool
) -> int | None:
    """How many of ``asked`` fit into ``limit``, where ``spent`` is gone and each costs about ``each``; None for all.

    A request goes as long as the most that it can cost is left, as the run counts it; that is taken from a mean.
    """
    if limit is None or not asked:
        return None
    most = sum(budget.most(request, batch) for request in asked) / len(asked)
    left = limit - spent - most
    fit = len(asked) if each == 0 and left >= 0 else 0 if left < 0 else int(left / each) + 1
    return None if fit >= len(asked) else fit


async def _count(teacher: RemoteTeacher, asked: list[Request], here: bool) -> int:
    """The tokens of ``asked``: estimated ``here``, so that nothing is sent, or as the platform counts a sample.

    Raises InputError when it does not count.
    """
    sample = random.Random(0).sample(asked, min(SAMPLE, len(asked)))
    characters = sum(len(r.prompt) for r in asked) / max(1, sum(len(r.prompt) for r in sample))
    try:
        if here:
            return sum(map(estimated_tokens, asked))
        counted = sum(await asyncio.gather(*(teacher.count_tokens(request) for request in sample)))
        return round(counted * characters)
    except (Busy, Dropped) as error:
        raise InputError(
            f"{teacher.name}: the tokens could not be counted ({error}); check the network and run the same command "
            "again, later if it is busy"
        ) from None
    except Rejected as error:
        raise InputError(
            f"{teacher.name}: it does not take a prompt whose tokens it was to count ({error}); shorten the prompts or "
            "choose another --teacher"
        ) from None
    finally:
        await teacher.close()


def plan(options: Options, console: Console) -> None:
    """Print what the run will ask, cost and take, and what may be done with it. Raises InputError."""
    task = make_task(options)
    named.check(options, task)
    if options.logs:
        _plan_logs(options, task, console)
        return
    for line in _too_long(options, task):
        console.print(f"warning  {line}")
    requests = requests_of(options, task)
    path = options.workdir / "ledger.sqlite"
    ledger = Ledger(path) if path.exists() else None
    for spec in options.teachers:
        if spec.partition(":")[0] == "local":
            _plan_local(options.pattern, task, requests, console)
            continue
        teacher = open_remote(spec)
        options.spending.check(teacher)
        sent = _redacted(requests, options) if options.redact else requests
        console.print(_table(teacher, estimate(teacher, sent, ledger, options), options))
        for line in _notes(teacher, requests, options):
            console.print(line)


def _too_long(options: Options, task: Task) -> list[str]:
    """The user's own rows that the models on this machine seem to have no room for; a run counts, and refuses them."""
    most = named.context(options, task)
    if not options.prompts or most is None:
        return []

    def estimated(item: Item) -> int:
        request = Request(task.instruction, item.prompt, task.max_new_tokens)
        return estimated_tokens(request) + request.max_new_tokens

    lines = own_prompts.too_long(options.prompts, task.items, estimated, most)
    return [line.replace(" has ", " has about ", 1) for line in lines]


def _redacted(requests: list[Request], options: Options) -> list[Request]:
    """``requests`` as the run sends them to a platform, and as the ledger knows them."""
    prepare(options.workdir)
    with privacy.Redactor(options.workdir / "redacted.sqlite") as redactor:
        return [replace(request, prompt=redactor.redact(request.prompt)) for request in requests]


def _table(teacher: RemoteTeacher, e: Estimate, options: Options) -> Table:
    table = Table(title=f"{options.pattern} with {teacher.name}", show_header=False)
    chosen = options.spending.in_jobs(teacher, e.requests - e.known)
    from_where = f"as in {count(e.measured)} known answers" if e.measured else "if each is as long as it may be"
    table.add_row("requests", f"{count(e.requests)}, of which {count(e.known)} are answered already")
    how = f"the platform's own count of up to {SAMPLE} prompts"
    if must_stay(options, teacher):
        how = "estimated here at four characters a token; with --allow-cloud the platform counts"
    table.add_row("tokens to read", f"{count(e.prompt_tokens)} ({how})")
    table.add_row("tokens to write", f"{count(e.completion_tokens)} ({from_where})")
    if e.usd is None:
        table.add_row("cost", "not known: no price for this model; give --price-input and --price-output")
    else:
        table.add_row("cost", f"{money(e.usd)}; never more than {money(e.most)} without failures")
        if e.batch_usd is not None:
            table.add_row("as batch jobs", f"{money(e.batch_usd)}, within a day ({'chosen' if chosen else '--batch'})")
    limit = options.spending.budget_usd
    table.add_row("budget", "none; set one with --budget-usd" if limit is None else _budget(limit, e))
    table.add_row("time", _time(e, None if chosen else options.spending.requests_per_second))
    return table


def _budget(limit: float, e: Estimate) -> str:
    """The limit, and where it ends the run."""
    ends = "" if e.reach is None else f"; it ends the run after about {count(e.reach)} of {many(e.requests, 'request')}"
    return money(limit) + ends


def _time(e: Estimate, per_second: float | None) -> str:
    """What is left, at the pace of the known answers, and no faster than ``per_second`` lets it go."""
    left = e.requests - e.known
    least = left / per_second if per_second else 0.0
    if e.seconds_each:
        return seconds(max(e.seconds_each * left, least))
    return f"at least {seconds(least)}" if least else "not known before the first answers"


def money(usd: float) -> str:
    """US dollars; small sums keep their digits."""
    return dollars(usd) if usd >= 1 or usd == 0 else f"${usd:.4f}"


def _notes(teacher: RemoteTeacher, requests: list[Request], options: Options) -> list[str]:
    """Where the prices come from, what leaves the machine, and what the terms say."""
    lines = []
    price = options.spending.price(teacher)
    if price is not None:
        source = f"{price.source} ({price.date})" if price.source else "--price-input and --price-output"
        lines.append(f"price    {source}" + (f": {price.note}" if price.note else ""))
        if warning := price.warning(datetime.now(UTC).date()):
            lines.append(f"warning  {warning}")
    if leaves_machine(teacher):
        what = privacy.summary(request.prompt for request in requests)
        lines.append(f"leaves   {many(len(requests), 'prompt')} leave this machine; in them: {what}")
        if must_stay(options, teacher):
            lines.append(
                "         your prompts count as sensitive: the run needs --allow-cloud"
                + ("" if options.redact else ", and --redact replaces what was found")
            )
    lines += notes(teacher)
    return lines


def _plan_logs(options: Options, task: Task, console: Console) -> None:
    """Nothing is asked; what asking would have cost is known from the log's own tokens."""
    for line in task.notes():
        console.print(line)
    teacher, answers = AnsweredTeacher(options.teacher, options.teacher), [answer for _, answer in task.answers()]
    read, written = sum(a.prompt_tokens for a in answers), sum(a.completion_tokens for a in answers)
    price = options.spending.price(teacher)
    budget = Budget(price, None, 0.0)
    worth = f", {money(sum(map(budget.cost, answers)))} at today's price" if price else ""
    console.print("asks     nothing: the log has every answer, and nothing leaves this machine")
    tokens = f"{count(read)} tokens read, {count(written)} written"
    console.print(f"saves    {count(len(answers))} requests: {tokens}{worth}")
    for line in notes(teacher):
        console.print(line)


def _plan_local(pattern: str, task: Task, requests: list[Request], console: Console) -> None:
    """A local teacher costs time alone, and only a record tells how much."""
    console.print(f"{many(len(requests), 'prompt')}, answered on this machine: nothing leaves it and nothing is paid")
    for record in load_all(RECORDS).values():
        if (record.pattern, record.platform, record.task.name) == (pattern, "local", task.name):
            console.print(_took(record))


def _took(record: Record) -> str:
    total = seconds(sum(stage.seconds for stage in record.stages))
    seeds = f"{len(record.seeds)} seed{'s' if len(record.seeds) > 1 else ''}"
    return f"a recorded run took {total} for {seeds} on {record.machine.processor} ({record.date:%Y-%m-%d})"
