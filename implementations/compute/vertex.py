"""A run on Vertex AI: ``distill launch PATTERN --on vertex``, `distill run` as a custom job, on a GPU.

A teacher behind a platform is asked here, through the ledger and within the budget, and its answers go along: the job
asks nobody, and no key leaves this machine. A local teacher goes along itself. vertex_worker.py is what the job does.

The name of a job is a digest of what it is made from: code, options, prompts, models, and what the teacher was asked.
So the same command finds its job, after a kill too, and starts another only where that one failed or was stopped; that
one goes on from the last checkpoint. Everything stays in your bucket until you delete it.
"""

from __future__ import annotations

import json
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from .. import privacy
from .. import record as records
from ..errors import InputError, disk_errors
from ..options import Launch, Options
from ..progress import Stages
from ..settings import make_task
from ..teachers.google_cloud import account, endpoint, failures
from ..teachers.open import check_remote, notes
from ..teachers.teacher import Busy, Dropped, Rejected, Request
from ..teachers.wire import said
from .storage import Folder, split
from .vertex_order import WHO, Order, as_job, order_of
from .vertex_worker import LEDGER, LINKS, LOG, WORK

if TYPE_CHECKING:
    from google.cloud.aiplatform_v1.types import CustomJob

TIMEOUT = 120.0  # seconds, for one answer about the job
TRIES = 5
FIRST_POLL, LAST_POLL = 2.0, 20.0  # seconds between questions about the job; each half as long again as the last
MUST_STAY = (
    "your prompts would leave this machine; look at them with `distill plan`, then give --allow-cloud if they may"
)
AGAIN = {"FAILED", "CANCELLED", "EXPIRED"}  # states after which the same command starts another job
ENDED = {"SUCCEEDED", *AGAIN}
RUN, STUDENT = re.compile(r"\w[\w.-]*"), re.compile(r"\.\./(models/[\w-]+/model)")  # what links.json may say


def launch(asked: Launch, console: Console, out: Console) -> Path | None:
    """Start the job or find it, follow it to its end, and bring back the run's folder. Raises InputError."""
    options = asked.options
    order = order_of(asked)
    must_stay = MUST_STAY if options.prompts and not options.allow_cloud else ""
    if asked.dry_run:
        out.print_json(json.dumps(order.request))
        if must_stay:
            console.print(f"as it stands, the launch will be refused: {must_stay}", style="yellow", soft_wrap=True)
        return None
    if must_stay and not asked.cancel:
        raise InputError(f"--on vertex: {must_stay}")
    job = _Job(order, Stages(console))
    if asked.cancel:
        job.cancel()
        out.print(f"{job.name} is {_state(job.follow())}")
        return None
    if not job.found():
        for teacher in order.teachers:
            check_remote(options, teacher)
        _say_what_leaves(order, options, console)
        with tempfile.TemporaryDirectory() as scratch:
            job.start(order.files | _answers(order, options, console, Path(scratch)))
    ended = job.follow()
    if _state(ended) != "SUCCEEDED":
        why = job.last_error or said(ended.error.message or "no reason given", Request("", "", 0))
        raise InputError(
            f"{job.name} is {_state(ended)}: {why}; mend that, and the same command starts another job, which goes on "
            "where this one stopped"
        )
    with disk_errors(options.workdir):
        return _complete(job.fetch(options.workdir), order.command)


def _say_what_leaves(order: Order, options: Options, console: Console) -> None:
    for line in (line for teacher in order.teachers for line in notes(teacher)):
        console.print(line)
    if options.prompts:
        texts = (item.prompt for item in make_task(options).items)
        console.print(f"leaves   in your prompts: {privacy.summary(texts)}")
    console.print("cost     not known: the prices of Google's machines are not in our table; see Google's")


def _answers(order: Order, options: Options, console: Console, scratch: Path) -> dict[str, Path]:
    """The answers of teachers behind platforms, as a ledger with nothing else in it; those missing are asked here."""
    if not order.teachers:
        return {}
    from ..workspace import Workspace

    code = records.code_sha256(options.pattern)
    with Workspace(options.workdir, code, Stages(console), "cpu", options.spending) as work:
        for teacher in order.teachers:
            collected = work.ask(f"Ask {teacher.name}", teacher, order.requests)
            if collected.why_pending and not options.skip_empty:
                raise InputError(f"{collected.why_pending}, or with --skip-empty to learn from those that are answered")
            work.ledger.extract(scratch / LEDGER, teacher.identity, order.requests)
    return {WORK + LEDGER: scratch / LEDGER}


class _Job:
    """The job of one command at Vertex AI, whichever attempt it is, and its folder."""

    def __init__(self, order: Order, stages: Stages):
        from google.cloud.aiplatform_v1.services.job_service import JobServiceClient

        self.order, self.stages, self.console = order, stages, stages.console
        location = order.parent.rpartition("/")[2]
        self._service = JobServiceClient(
            credentials=account(None)[0], transport="rest", client_options={"api_endpoint": endpoint(location)}
        )
        self._folder = Folder(order.place)
        self._bucket = split(order.place)[0]
        self._read: set[str] = set()  # parts of the log that are not to be shown again
        self.last_error = ""
        self.attempts: list[CustomJob] = self._ask(self._attempts)
        self.name = self.attempts[0].name if self.attempts else ""

    def _attempts(self) -> list[CustomJob]:
        """What Vertex AI knows of this command's jobs, the newest first."""
        request = {"parent": self.order.parent, "filter": f'display_name="{self.order.name}"'}
        jobs = list(self._service.list_custom_jobs(request, timeout=TIMEOUT))
        return sorted(jobs, key=lambda job: job.create_time, reverse=True)

    def found(self) -> bool:
        """Whether the job is there, under way or done."""
        if not self.attempts:
            return False
        state = _state(self.attempts[0])
        if state not in AGAIN:
            self.console.print(f"found    {self.name}", soft_wrap=True)
        else:
            self.console.print(f"earlier  {self.name} is {state}; this is another attempt", soft_wrap=True)
        if state in ENDED:  # its log was read then
            self._read = self._ask(lambda: set(self._folder.list(LOG)), bucket=self._bucket)
        return state not in AGAIN

    def start(self, files: dict[str, bytes | Path]) -> None:
        """Upload ``files`` and start the job. What is there already is the same, or newer and the job's own."""
        there = self._ask(self._folder.list, bucket=self._bucket)
        with self.stages.stage(f"Upload to {self.order.place}", len(files)) as advance:
            for number, (name, content) in enumerate(files.items(), 1):
                if name not in there:
                    self._ask(self._folder.write, name, content, bucket=self._bucket)
                advance(number)
        earlier = {job.name for job in self.attempts}

        def create() -> CustomJob:
            """An answer that got lost may have been about a job that was made."""
            made = [job for job in self._attempts() if job.name not in earlier]
            job = as_job(self.order.request)
            return (
                made[0]
                if made
                else self._service.create_custom_job(parent=self.order.parent, custom_job=job, timeout=TIMEOUT)
            )

        self.name = self._ask(create).name
        self.console.print(f"started  {self.name}", soft_wrap=True)

    def cancel(self) -> None:
        """Stop the job. Raises InputError when there is none to stop."""
        if not self.attempts or _state(self.attempts[0]) in ENDED:
            raise InputError(
                f"--cancel: no job {self.order.name} is under way; give the options that it was launched with"
            )
        self._ask(self._service.cancel_custom_job, name=self.name, timeout=TIMEOUT)

    def follow(self) -> CustomJob:
        """What Vertex AI says of the job once it has ended. Its states and its log are shown."""
        pause, shown = FIRST_POLL, ""
        with self.stages.stage("Distil on Vertex AI", None):
            while True:
                job = self._ask(self._service.get_custom_job, name=self.name, timeout=TIMEOUT)
                if _state(job) != shown:
                    shown, pause = _state(job), FIRST_POLL
                    self.console.print(f"{shown.lower()}")
                self._show_log()
                if shown in ENDED:
                    return job
                time.sleep(pause)
                pause = min(LAST_POLL, 1.5 * pause)

    def _show_log(self) -> None:
        for name in self._ask(self._folder.list, LOG, bucket=self._bucket):
            if name in self._read:
                continue
            self._read.add(name)
            for line in self._ask(self._folder.read, name, bucket=self._bucket).decode().splitlines():
                self.console.print(f"  {line}", soft_wrap=True)
                if line.startswith("error: "):
                    self.last_error = line.removeprefix("error: ")

    def fetch(self, workdir: Path) -> Path:
        """The run's folder, with its student, under ``workdir``. Raises InputError when its files are gone."""
        gone = InputError(
            f"{self.order.place}: the files of {self.name} are gone; delete that job in Vertex AI, and the same "
            "command starts another"
        )
        if LINKS not in self._ask(self._folder.list, LINKS, bucket=self._bucket):
            raise gone
        links = json.loads(self._ask(self._folder.read, LINKS, bucket=self._bucket))
        run = links["latest"]
        student = STUDENT.fullmatch(links[f"{run}/student"])
        if not RUN.fullmatch(run) or not student:
            raise InputError(f"{self.order.place}/{LINKS}: not what a run writes; delete {self.order.place}")
        # A run here, or one on another machine there, may have the same name and other figures.
        home = workdir / f"{run}-vertex-{self.order.name.rpartition('-')[2]}"
        wanted = {}
        for below, where in ((f"{WORK}{run}/", home), (f"{WORK}{student[1]}/", home / "student")):
            for name, blob in self._ask(self._folder.list, below, bucket=self._bucket).items():
                if RUN.fullmatch(name.removeprefix(below)):
                    wanted[where / name.removeprefix(below)] = blob
        if not {home / "record.json", home / "student" / "config.json"} <= wanted.keys():
            raise gone
        with self.stages.stage(f"Fetch {run}", len(wanted)) as advance:
            for number, (path, blob) in enumerate(wanted.items(), 1):
                self._ask(self._folder.fetch, blob, path, bucket=self._bucket)
                advance(number)
        records.link(workdir / "latest", home)
        return home

    def _ask(self, operation: Callable[..., Any], *given: Any, bucket: str = "", **named: Any) -> Any:
        """What Google says, after a few tries."""
        try:
            for attempt in Retrying(
                retry=retry_if_exception_type((Busy, Dropped)),
                stop=stop_after_attempt(TRIES),
                wait=wait_random_exponential(max=LAST_POLL),
                reraise=True,
            ):
                with attempt, failures(WHO, bucket):
                    return operation(*given, **named)
        except (Busy, Dropped, Rejected) as error:
            raise InputError(
                f"{WHO}: {error}; mend that or wait, and run the same command again: it finds its job"
            ) from error


def _complete(folder: Path, command: str) -> Path:
    """Say in the record what the job could not know: the command, and the commit, whose code is that of the job."""
    from ..evaluation.environment import commit

    measured = records.load(folder / "record.json")
    records.save(measured.model_copy(update={"command": command, "commit": commit()}), folder / "record.json")
    return folder


def _state(job: CustomJob) -> str:
    return job.state.name.removeprefix("JOB_STATE_")
