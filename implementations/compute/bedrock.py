"""Bedrock's managed distillation: ``distill launch PATTERN --on bedrock``. Bedrock asks the teacher, trains the student
and keeps it; none of its figures are ours.

From prompts: JSON lines in --output, with the expert's answer where there is one, which Bedrock takes as an example.
Every row of --prompts goes, so what you want to measure the student with must not be among them. From --logs: the
prompts of invocation logs in S3 with the answers that the teacher gave to them; Bedrock asks nothing again.

The name of a job is a digest of what it is made from. So the same command finds its job, after a kill too, and starts
another only where that one failed or was stopped. What is uploaded stays in your bucket until you delete it.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rich.console import Console
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from .. import privacy
from ..errors import InputError
from ..options import Launch, Options
from ..own_prompts import read_rows
from ..progress import Stages
from ..registry import RECIPES, Signal
from ..settings import make_plan, make_task
from ..tasks.task import Item
from ..teachers.aws import NOTHING, job_failure, open_client, place
from ..teachers.bedrock import BedrockTeacher
from ..teachers.open import check_remote, notes
from ..teachers.teacher import Busy, Dropped, Rejected
from ..teachers.wire import said

if TYPE_CHECKING:
    from botocore.client import BaseClient

LEAST, MOST = 100, 15_000  # prompts that Bedrock distils from
TIMEOUT = 120.0  # seconds, for one answer about the job
TRIES = 5
FIRST_POLL, LAST_POLL = 1.0, 60.0  # seconds between questions about the job; each half as long again as the last
SUBTASKS = {"validationDetails": "validation", "dataProcessingDetails": "answers", "trainingDetails": "training"}
AGAIN = ("Failed", "Stopped")  # states after which the same command starts another job
MAY = (
    "s3:PutObject on --output, iam:PassRole on --role, and bedrock:CreateModelCustomizationJob, "
    "GetModelCustomizationJob, ListModelCustomizationJobs and StopModelCustomizationJob"
)
# As Bedrock's service model has them; boto3 does not check.
S3 = r"s3://[a-z0-9][-.a-z0-9]{1,61}[a-z0-9](/[-!_*'().a-zA-Z0-9]+)*/?"
ROLE = r"arn:aws(-[^:]+)?:iam::[0-9]{12}:role/.+"


def launch(asked: Launch, console: Console, out: Console) -> None:
    """Start the job or find it, and follow it to its end. Raises InputError."""
    options = asked.options
    teacher = _checked(asked)
    with console.status("Reading the prompts"):
        prompts, rows, limit = ([], b"", None) if asked.logs else _material(options)
    name, request = _request(asked, teacher.model, rows, limit)
    if asked.dry_run:
        out.print_json(json.dumps(request))
        return
    if not asked.cancel:
        check_remote(options, teacher)
    job = _Job(name, request, teacher.name)
    if asked.cancel:
        job.cancel()
        out.print(f"{job.arn} is {job.follow(console)['status']}")
        return
    for line in notes(teacher):
        console.print(line)
    if options.prompts:
        console.print(f"leaves   in your prompts: {privacy.summary(prompts)}")
    console.print("cost     not known: the price of managed distillation is not in our table; see AWS's")
    job.start(rows, console)
    about = job.follow(console)
    if about["status"] != "Completed":
        why = said(about.get("failureMessage") or "no reason given", NOTHING)
        raise InputError(f"{job.arn} is {about['status']}: {why}; mend that, and the same command starts another job")
    out.print(f"model    {about['outputModelArn']}")
    out.print("         deploy it in Bedrock; then --teacher bedrock:ARN-OF-THE-DEPLOYMENT asks it")


def _checked(asked: Launch) -> BedrockTeacher:
    """The teacher, if Bedrock can do what was asked."""
    options = asked.options
    platform, _, model = options.teacher.partition(":")
    for wrong, message in (
        (
            RECIPES[options.pattern].needs is not Signal.TEXT,
            f"{options.pattern}: Bedrock distils from its teacher's text alone; use `distill run`",
        ),
        (
            RECIPES[options.pattern].committee,
            f"{options.pattern}: Bedrock distils from one teacher; use `distill run`",
        ),
        (platform != "bedrock" or not model, f"--teacher {options.teacher}: give a model of Bedrock's, bedrock:MODEL"),
        (not options.student, "--student: give Bedrock's id of the model to train"),
        (not re.fullmatch(ROLE, asked.role or ""), "--role: give the service role, arn:aws:iam::ACCOUNT:role/NAME"),
        (not re.fullmatch(S3, asked.output or ""), "--output: give a folder in S3, s3://BUCKET/FOLDER"),
        (asked.logs and not re.fullmatch(S3, asked.logs), "--logs: give the logs' folder in S3, s3://BUCKET/FOLDER"),
        (asked.logs and options.prompts, "--logs --prompts: Bedrock takes either; give one of the two"),
    ):
        if wrong:
            raise InputError(message)
    return BedrockTeacher(model)


def _material(options: Options) -> tuple[list[str], bytes, int]:
    """The prompts, the rows of the file that Bedrock reads, and the longest answer in tokens."""
    if options.prompts:
        items, instruction, limit = read_rows(options.prompts), options.instruction, options.max_new_tokens
    else:
        items, instruction, limit = _built_in(options)
    if not LEAST <= len(items) <= MOST:
        raise InputError(
            f"{options.prompts or 'the built-in task'}: {len(items)} prompts; Bedrock distils from {LEAST:,} to "
            f"{MOST:,}: give another --prompts"
        )
    rows = "".join(json.dumps(_row(instruction, item)) + "\n" for item in items)
    return [item.prompt for item in items], rows.encode(), limit


def _built_in(options: Options) -> tuple[list[Item], str, int]:
    """What `distill run` learns from: gold with its references, the transfer set without."""
    task = make_task(options)
    splits = task.splits(make_plan(options, task).sizes, options.seed)
    transfer = [Item(item.id, item.prompt) for item in splits.transfer]
    return splits.gold + transfer, task.instruction, task.max_new_tokens


def _row(instruction: str, item: Item) -> dict[str, Any]:
    turns = [("user", item.prompt)] + ([("assistant", item.reference)] if item.reference is not None else [])
    return {
        "schemaVersion": "bedrock-conversation-2024",
        **({"system": [{"text": instruction}]} if instruction else {}),
        "messages": [{"role": role, "content": [{"text": text}]} for role, text in turns],
    }


def _request(asked: Launch, teacher: str, rows: bytes, limit: int | None) -> tuple[str, dict[str, Any]]:
    """The job's name, and the arguments of ``create_model_customization_job``."""
    student, output = asked.options.student, asked.output.rstrip("/")
    made_from = [teacher, student, asked.role, output, asked.logs, limit, hashlib.sha256(rows).hexdigest()]
    digest = hashlib.sha256(json.dumps(made_from).encode()).hexdigest()[:12]
    name = f"distill-{asked.options.pattern}-{digest}"
    data: dict[str, Any] = {"s3Uri": f"{output}/{name}/prompts.jsonl"}
    if asked.logs:
        data = {"invocationLogsConfig": {"usePromptResponse": True, "invocationLogSource": {"s3Uri": asked.logs}}}
    longest = {} if limit is None else {"maxResponseLengthForInference": limit}
    return name, {
        "jobName": name,
        "customModelName": name,
        "clientRequestToken": name,
        "roleArn": asked.role,
        "baseModelIdentifier": student,
        "customizationType": "DISTILLATION",
        "customizationConfig": {
            "distillationConfig": {"teacherModelConfig": {"teacherModelIdentifier": teacher, **longest}}
        },
        "trainingDataConfig": data,
        "outputDataConfig": {"s3Uri": f"{output}/{name}/output/"},
    }


class _Job:
    """The job of one command at Bedrock, whichever attempt it is."""

    def __init__(self, name: str, request: dict[str, Any], who: str):
        self.name, self.request, self.who = name, request, who
        self.client: BaseClient = open_client("bedrock", TIMEOUT)
        self.attempts = self._ask(self._attempts)
        self.arn = self.attempts[0]["jobArn"] if self.attempts else ""

    def _attempts(self) -> list[dict[str, Any]]:
        """What Bedrock knows of this command's jobs, the newest first."""
        pages = self.client.get_paginator("list_model_customization_jobs").paginate(
            nameContains=self.name, sortBy="CreationTime", sortOrder="Descending"
        )
        return [job for page in pages for job in page.get("modelCustomizationJobSummaries", [])]

    def start(self, rows: bytes, console: Console) -> None:
        """Upload ``rows`` and start the job, unless it is there."""
        if self.attempts and self.attempts[0]["status"] not in AGAIN:
            console.print(f"found    {self.arn}", soft_wrap=True)
            return
        request = self.request
        if self.attempts:
            ended = self.attempts[0]["status"]
            console.print(f"earlier  {self.arn} is {ended}; this is another attempt", soft_wrap=True)
            name = f"{self.name}-{len(self.attempts) + 1}"
            request |= {"jobName": name, "customModelName": name, "clientRequestToken": name}
        if rows:
            bucket, key = place(request["trainingDataConfig"]["s3Uri"])
            s3 = open_client("s3", TIMEOUT)
            self._ask(s3.put_object, Bucket=bucket, Key=key, Body=rows)
        self.arn = self._ask(self.client.create_model_customization_job, **request)["jobArn"]
        console.print(f"started  {self.arn}", soft_wrap=True)

    def cancel(self) -> None:
        """Stop the job. Raises InputError when there is none to stop."""
        if not self.attempts or self.attempts[0]["status"] not in ("InProgress", "Stopping"):
            raise InputError(f"--cancel: no job {self.name} is under way; give the options that it was launched with")
        if self.attempts[0]["status"] == "InProgress":
            self._ask(self.client.stop_model_customization_job, jobIdentifier=self.arn)

    def follow(self, console: Console) -> dict[str, Any]:
        """What Bedrock says of the job once it has ended."""
        pause, shown = FIRST_POLL, ""
        with Stages(console).stage("Distil on Bedrock", len(SUBTASKS)) as advance:
            while True:
                about = self._ask(self.client.get_model_customization_job, jobIdentifier=self.arn)
                details = about.get("statusDetails", {})
                states = [details.get(key, {}).get("status", "NotStarted") for key in SUBTASKS]
                advance(states.count("Completed"))
                parts = ", ".join(f"{name} {state}" for name, state in zip(SUBTASKS.values(), states, strict=True))
                if (now := f"{about['status']}: {parts}") != shown:
                    console.print(now)
                    shown = now
                if about["status"] in ("Completed", *AGAIN):
                    return about
                time.sleep(pause)
                pause = min(LAST_POLL, 1.5 * pause)

    def _ask(self, operation: Callable[..., Any], **arguments: Any) -> Any:
        """What AWS says, after a few tries. Asking twice does no harm: the request's token makes one job of it."""
        try:
            for attempt in Retrying(
                retry=retry_if_exception_type((Busy, Dropped)),
                stop=stop_after_attempt(TRIES),
                wait=wait_random_exponential(max=LAST_POLL),
                reraise=True,
            ):
                with attempt:
                    return self._once(operation, arguments)
        except (Busy, Dropped, Rejected) as error:
            raise InputError(
                f"{self.who}: {error}; mend that or wait, and run the same command again: it finds its job"
            ) from error

    def _once(self, operation: Callable[..., Any], arguments: dict[str, Any]) -> Any:
        try:
            return operation(**arguments)
        except Exception as error:
            raise job_failure(error, self.who, MAY, "--output") from None
