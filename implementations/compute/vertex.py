"""A run on Vertex AI: ``distill launch PATTERN --on vertex``, `distill run` as a custom job, on a GPU.

A teacher behind a platform is asked here, through the ledger and within the budget, and its answers go along: the job
asks nobody, and no key leaves this machine. A local teacher goes along itself. vertex_worker.py is what the job does.

The name of a job is a digest of what it is made from: code, options, prompts, models, and what the teacher was asked.
So the same command finds its job, after a kill too, and starts another only where that one failed or was stopped; that
one goes on from the last checkpoint. Everything stays in your bucket until you delete it.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import shlex
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from .. import privacy
from .. import record as records
from ..errors import InputError, disk_errors
from ..options import Launch, Machine, Options
from ..plan import requests_of
from ..progress import Stages
from ..record import ROOT
from ..settings import make_task
from ..teachers.google_cloud import BUCKET, account, endpoint, failures
from ..teachers.open import check_remote, notes, open_remote
from ..teachers.teacher import Busy, Dropped, Rejected, RemoteTeacher, Request
from ..teachers.wire import needs, said
from .package import REQUIREMENTS, pack
from .storage import Folder, split
from .vertex_worker import INPUTS, LEDGER, LINKS, LOG, WORK

if TYPE_CHECKING:
    from google.cloud.aiplatform_v1.types import CustomJob

WHO = "vertex"
FOLDER = "distillation-patterns"  # in the bucket, without --output
LOCATION = "us-central1"  # without GOOGLE_CLOUD_LOCATION
PACKAGE = "package.tar.gz"
TIMEOUT = 120.0  # seconds, for one answer about the job
TRIES = 5
FIRST_POLL, LAST_POLL = 2.0, 20.0  # seconds between questions about the job; each half as long again as the last
AGAIN = {"FAILED", "CANCELLED", "EXPIRED"}  # states after which the same command starts another job
ENDED = {"SUCCEEDED", *AGAIN}
OUTPUT = r"gs://[a-z0-9][-_.a-z0-9]{1,220}[a-z0-9](/[-\w.!()']+)+/?"
MODEL_FILES = (".safetensors", ".json", ".jinja", ".txt", ".model")  # of which transformers reads a model
RUN, STUDENT = re.compile(r"[\w.-]+"), re.compile(r"\.\./(models/[\w-]+/model)")  # what links.json may say

# The job's container. Its first argument is the job's folder, the rest is what `distill` is called with.
START = """\
set -eu
export PIP_BREAK_SYSTEM_PACKAGES=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
cd "$(mktemp -d)"
python3 -m pip install --quiet {storage}
python3 - "$1" <<'END'
import sys
import google.auth
from google.cloud import storage
credentials, _ = google.auth.default(["https://www.googleapis.com/auth/cloud-platform"])
bucket, _, folder = sys.argv[1].removeprefix("gs://").partition("/")
package = storage.Client(credentials=credentials).bucket(bucket).blob(folder + "/{package}")
package.download_to_filename("{package}")
END
tar -xzf {package}
python3 -m pip install --quiet --requirement {requirements}
python3 -m pip install --quiet --no-deps --require-hashes --requirement implementations/teachers/embedded.txt
exec python3 -m implementations.compute.vertex_worker "$@"
"""


def launch(asked: Launch, console: Console, out: Console) -> Path | None:
    """Start the job or find it, follow it to its end, and bring back the run's folder. Raises InputError."""
    options = asked.options
    order = _order(asked)
    if asked.dry_run:
        out.print_json(json.dumps(order.request))
        return None
    if not asked.cancel and options.prompts and not options.allow_cloud:
        raise InputError(
            "--on vertex: your prompts would leave this machine; look at them with `distill plan`, then give "
            "--allow-cloud if they may"
        )
    job = _Job(order, Stages(console))
    if asked.cancel:
        job.cancel()
        out.print(f"{job.name} is {_state(job.follow())}")
        return None
    if not job.found():
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


@dataclass(frozen=True)
class _Order:
    """A job before it is one. ``files`` go up to ``place``, by their path there; ``requests`` is what ``teacher`` is
    asked before, where it is behind a platform. ``command`` is what a record says that it was made with."""

    name: str
    place: str
    parent: str
    request: dict[str, Any]
    files: dict[str, bytes | Path]
    teacher: RemoteTeacher | None
    requests: list[Request]
    command: str


def _order(asked: Launch) -> _Order:
    """Everything that follows from the command line; nothing is sent. Raises InputError."""
    options, output, location = asked.options, _output(asked.output), _location()
    project = os.environ.get("GOOGLE_CLOUD_PROJECT") or account(None)[1]
    requests = requests_of(options, make_task(options))  # which reads the prompts
    remote = options.teacher.partition(":")[0] != "local"
    teacher = open_remote(options.teacher) if remote else None
    package = pack([_storage_sdk()], ROOT)
    inputs = _inputs(options)
    arguments = _arguments(options, teacher)
    made_from = [
        _hash(package),
        arguments,
        {name: _hash(path.read_bytes()) for name, path in inputs.items()},
        [request.key(teacher.identity) for request in requests] if teacher else [],
        vars(asked.machine),
        [project, location, output],
    ]
    name = f"distill-{options.pattern}-{_hash(json.dumps(made_from).encode())[:12]}"
    place = f"{output}/{name}"
    request = _request(name, [place, *arguments], asked.machine, project)
    _as_job(request)
    return _Order(
        name=name,
        place=place,
        parent=f"projects/{project}/locations/{location}",
        request=request,
        files={PACKAGE: gzip.compress(package, mtime=0), **inputs},
        teacher=teacher,
        requests=requests if teacher else [],
        command=_public(options.command),
    )


def _output(given: str | None) -> str:
    bucket = os.environ.get(BUCKET, "").removeprefix("gs://").rstrip("/")
    output = given or (f"gs://{bucket}/{FOLDER}" if bucket else "")
    if not re.fullmatch(OUTPUT, output):
        raise InputError(f"--output: give a folder in Cloud Storage, gs://BUCKET/FOLDER, or set {BUCKET}")
    return output.rstrip("/")


def _location() -> str:
    location = os.environ.get("GOOGLE_CLOUD_LOCATION") or LOCATION
    if "-" not in location:  # global, us and eu have models and no machines
        raise InputError(
            f"vertex: GOOGLE_CLOUD_LOCATION is {location}, which has no machines; set it to a region, as {LOCATION}"
        )
    return location


def _storage_sdk() -> str:
    """The requirement for what the job's folder is reached with."""
    with needs(WHO, "google-cloud-storage"):  # PackageNotFoundError is an ImportError
        return f"google-cloud-storage=={metadata.version('google-cloud-storage')}"


def _inputs(options: Options) -> dict[str, Path]:
    """The user's own files that the run reads, by where the job finds them."""
    files: dict[str, Path] = {}
    if options.prompts:
        files[_there("prompts", options.prompts)] = options.prompts
    for kind, option, folder in (
        ("student", "--student", _student_folder(options)),
        ("teacher", "--teacher local:", _teacher_folder(options)),
    ):
        if folder:
            from ..teachers.local import check_folder

            check_folder(folder, option)
            for path in sorted(folder.iterdir()):
                if path.suffix in MODEL_FILES:
                    files[f"{_there(kind, folder)}/{path.name}"] = path
    return files


def _student_folder(options: Options) -> Path | None:
    return Path(options.student) if options.student and not options.student.isdigit() else None


def _teacher_folder(options: Options) -> Path | None:
    platform, _, model = options.teacher.partition(":")
    return Path(model) if platform == "local" and model else None


def _there(kind: str, path: Path) -> str:
    """Where the job finds ``path``; its name is kept, for a report shows it."""
    return f"{INPUTS}{kind}/{path.resolve().name}"


def _arguments(options: Options, teacher: RemoteTeacher | None) -> list[str]:
    """Of `distill`, there."""
    student, model = _student_folder(options), _teacher_folder(options)
    given = {
        "--teacher": f"local:{_there('teacher', model)}" if model else teacher.name if teacher else options.teacher,
        "--answered": teacher.identity if teacher else None,
        "--student": _there("student", student) if student else options.student,
        "--gold": options.gold,
        "--prompts": _there("prompts", options.prompts) if options.prompts else None,
        "--instruction": options.instruction or None,
        "--max-new-tokens": options.max_new_tokens if options.prompts else None,
        "--seed": options.seed,
        "--seeds": options.seeds,
    }
    flags = {"--smoke": options.smoke, "--record": options.record, "--skip-empty": options.skip_empty}
    values = [str(word) for name, value in given.items() if value is not None for word in (name, value)]
    return ["run", options.pattern, *values, *(name for name, on in flags.items() if on)]


def _request(name: str, arguments: list[str], machine: Machine, project: str) -> dict[str, Any]:
    """The CustomJob, as Vertex AI's REST interface writes it."""
    gpus = {"acceleratorType": machine.accelerator, "acceleratorCount": machine.count} if machine.accelerator else {}
    start = START.format(storage=_storage_sdk(), package=PACKAGE, requirements=REQUIREMENTS)
    container = {
        "imageUri": machine.image,
        "command": ["bash", "-c", start, "distill"],
        "args": arguments,
        "env": [{"name": "GOOGLE_CLOUD_PROJECT", "value": project}],
    }
    pool = {
        "machineSpec": {"machineType": machine.type, **gpus},
        "replicaCount": "1",
        "containerSpec": container,
    }
    return {
        "displayName": name,
        "jobSpec": {
            "workerPoolSpecs": [pool],
            "scheduling": {"strategy": "SPOT" if machine.spot else "STANDARD"},
            **({"serviceAccount": machine.service_account} if machine.service_account else {}),
        },
    }


def _as_job(request: dict[str, Any]) -> CustomJob:
    """``request`` for the SDK, which knows the accelerators. Raises InputError."""
    with needs(WHO, "google-cloud-aiplatform"):
        from google.cloud.aiplatform_v1.types import AcceleratorType, CustomJob
    spec = request["jobSpec"]["workerPoolSpecs"][0]["machineSpec"]
    known = [kind.name for kind in AcceleratorType if kind]
    if spec.get("acceleratorType", known[0]) not in known:
        raise InputError(f"--accelerator {spec['acceleratorType']}: choose one of: {', '.join(known)}")
    return CustomJob.from_json(json.dumps(request))


def _public(command: str) -> str:
    """``command`` without the names of the user's own bucket and account: a record is published."""
    words = shlex.split(command)
    own = ("--output", "--service-account")
    kept = [
        word
        for before, word in zip(["", *words], words, strict=False)
        if before not in own and word not in own and not word.startswith(tuple(f"{name}=" for name in own))
    ]
    return shlex.join(kept)


def _say_what_leaves(order: _Order, options: Options, console: Console) -> None:
    if order.teacher:
        check_remote(options, order.teacher)
        for line in notes(order.teacher):
            console.print(line)
    if options.prompts:
        texts = (item.prompt for item in make_task(options).items)
        console.print(f"leaves   in your prompts: {privacy.summary(texts)}")
    console.print("cost     not known: the prices of Google's machines are not in our table; see Google's")


def _answers(order: _Order, options: Options, console: Console, scratch: Path) -> dict[str, Path]:
    """The answers of a teacher behind a platform, as a ledger with nothing else in it; those missing are asked here."""
    if order.teacher is None:
        return {}
    from ..workspace import Workspace

    code = records.code_sha256(options.pattern)
    with Workspace(options.workdir, code, Stages(console), "cpu", options.spending) as work:
        collected = work.ask(f"Ask {order.teacher.name}", order.teacher, order.requests)
        if collected.why_pending and not options.skip_empty:
            raise InputError(f"{collected.why_pending}, or with --skip-empty to learn from those that are answered")
        work.ledger.extract(scratch / LEDGER, order.teacher.identity, order.requests)
    return {WORK + LEDGER: scratch / LEDGER}


class _Job:
    """The job of one command at Vertex AI, whichever attempt it is, and its folder."""

    def __init__(self, order: _Order, stages: Stages):
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
            job = _as_job(self.order.request)
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
        """The run's folder, with its student, under ``workdir``."""
        links = json.loads(self._ask(self._folder.read, LINKS, bucket=self._bucket))
        run = links["latest"]
        student = STUDENT.fullmatch(links[f"{run}/student"])
        if not RUN.fullmatch(run) or not student:
            raise InputError(f"{self.order.place}/{LINKS}: not what a run writes; delete {self.order.place}")
        home = workdir / f"{run}-vertex"  # a run here may have the same name, and another machine's figures
        wanted = {}
        for below, where in ((f"{WORK}{run}/", home), (f"{WORK}{student[1]}/", home / "student")):
            for name, blob in self._ask(self._folder.list, below, bucket=self._bucket).items():
                if RUN.fullmatch(name.removeprefix(below)):
                    wanted[where / name.removeprefix(below)] = blob
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


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
