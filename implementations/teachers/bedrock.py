"""Models on Amazon Bedrock through its Converse API: ``bedrock:MODEL``, a model id or that of an inference profile.

Gives text, one request at a time or many as a batch inference job at half the price. Credentials, region and other
endpoints: see aws.py.

One API stands before models that differ in what they take, and none tells. So a request begins with everything that
serves distillation (no randomness, no thinking, a cached instruction, an enforced schema); what a model refuses by name
is left out from then on, and the request asked again at once. A refusal of that kind is not charged.

Jobs read and write files in S3. BEDROCK_BATCH_BUCKET names the bucket, in the same region, and BEDROCK_BATCH_ROLE_ARN
the service role by which Bedrock gets at it (https://docs.aws.amazon.com/bedrock/latest/userguide/batch-iam-sr.html).
A job's prompts and answers stay in the bucket, under distill/JOB/, until you delete them.

A row of a job holds what a single request holds, without what single requests have learnt to leave out: so a teacher
that has not been asked yet is ``untried``, and one request goes alone before a job. Neither do rows have a cached
instruction, with which they fail, nor an enforced schema, about which the documentation contradicts itself: the
instruction words it, and the answers are held against it. A row that is refused by name all the same is asked again
without.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import uuid
from collections.abc import AsyncIterator, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..errors import InputError
from ..registry import PLATFORMS
from .aws import (
    BUSY,
    NOTHING,
    asked_failure,
    code_of,
    common_failure,
    job_failure,
    message_of,
    open_client,
    place,
    status_of,
)
from .teacher import Answer, Busy, Destination, Dropped, Kind, Rejected, Request
from .wire import digest, estimated_tokens, failure, kind_of, lost, said

if TYPE_CHECKING:
    from botocore.client import BaseClient

# What a model may refuse, in the order in which it is looked for, and how errors name it. A Claude gets the first of
# the three that limit thinking which it has not refused.
NAMED = {
    "disabled": r"thinking",
    "between_tools": r"thinking",
    "effort": r"effort",
    "cache": r"cachePoint|cache_control|prompt caching",
    "schema": r"output_?config|textFormat|structured output|json_schema",
    "temperature": r"temperature",
}
LESS_THINKING = ("disabled", "between_tools", "effort")
CACHING = ("anthropic.claude-", "amazon.nova-")
COMPLETE, TRUNCATED = {"end_turn", "stop_sequence"}, {"max_tokens", "model_context_window_exceeded"}
REFUSED = {"guardrail_intervened", "content_filtered", "refusal"}
NOT_IN_JOBS = {"cache", "schema"}
BUCKET, ROLE = "BEDROCK_BATCH_BUCKET", "BEDROCK_BATCH_ROLE_ARN"
LEAST_IN_JOB = 100  # requests, Bedrock's quota for most models; a model that asks for more refuses the job
ENDED = {"Completed", "PartiallyCompleted", "Failed", "Stopped", "Expired"}
ROWS = 500  # of a job's file, read at once
MAY_ASK = "bedrock:InvokeModel on the model, and check in the Bedrock console that the account has access to it"
MAY_RUN_JOBS = (
    f"s3:PutObject, s3:GetObject and s3:ListBucket on {BUCKET}, iam:PassRole on {ROLE}, and bedrock:CreateModel"
    "InvocationJob, GetModelInvocationJob and ListModelInvocationJobs"
)


def open_teacher(model: str) -> BedrockTeacher:
    """The teacher for a model or inference profile. Raises InputError without the package, credentials or a region."""
    teacher = BedrockTeacher(model)
    _ = teacher.client
    return teacher


class BedrockTeacher:
    """A model on Bedrock. ``timeout`` is in seconds, for one whole answer; boto3 waits in ``threads`` threads."""

    platform, folder, gives = "bedrock", None, PLATFORMS["bedrock"].gives
    least_in_job = LEAST_IN_JOB

    def __init__(self, model: str, timeout: float = 120.0, threads: int = 64):
        self.model, self.timeout, self.threads = model, timeout, threads
        self.name = f"bedrock:{model}"
        self.identity = destination(model).identity(self.name)
        self.untried = True  # no request has shown yet what the model takes
        self._clients: dict[str, BaseClient] = {}
        self._pool: ThreadPoolExecutor | None = None
        self._takes = set(NAMED)

    @property
    def client(self) -> BaseClient:
        """boto3's client, made on first use and again after ``close``."""
        return self._open("bedrock-runtime")

    @property
    def why_no_jobs(self) -> str:
        if os.environ.get(BUCKET) and os.environ.get(ROLE):
            return ""
        return (
            f"{self.name}: a job needs an S3 bucket for its files and a role by which Bedrock gets at them; set "
            f"{BUCKET} and {ROLE} (https://docs.aws.amazon.com/bedrock/latest/userguide/batch-iam-sr.html)"
        )

    async def ask(self, request: Request) -> Answer:
        while True:
            body = self._body(request)
            try:
                answer = _answer(await self._call(self.client.converse, body), request)
                self.untried = False
                return answer
            except InputError:
                raise
            except Exception as error:
                refused = _refused(error, body)
                if refused is None:
                    raise self._failure(error, request) from None
                self._takes.discard(refused)

    async def count_tokens(self, request: Request) -> int:
        """Bedrock's count where it counts for this model and account; else an estimate of four characters a token."""
        body = self._body(request)
        parts = {name: body[name] for name in ("messages", "system") if name in body}
        try:
            arguments = {"modelId": self.model, "input": {"converse": parts}}
            return (await self._call(self.client.count_tokens, arguments))["inputTokens"]
        except InputError:
            raise
        except Exception as error:
            if code_of(error) in ("ValidationException", "AccessDeniedException"):
                return estimated_tokens(request)
            raise self._failure(error, request) from None

    async def close(self) -> None:
        clients, self._clients = self._clients, {}
        if clients:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None
        for client in clients.values():
            client.close()

    async def submit(self, requests: dict[str, Request]) -> str:
        if self.why_no_jobs:
            raise InputError(self.why_no_jobs)
        if len(requests) < LEAST_IN_JOB:
            raise InputError(
                f"{self.name}: {len(requests)} requests are fewer than the {LEAST_IN_JOB} that a job must have; leave "
                "--batch out"
            )
        name = f"{_names(requests)}{uuid.uuid4().hex[:12]}"
        bucket, folder = os.environ[BUCKET], f"distill/{name}"
        rows = "".join(json.dumps(self._row(key, request)) + "\n" for key, request in requests.items()).encode()
        await self._about_jobs(self._open("s3").put_object, Bucket=bucket, Key=f"{folder}/requests.jsonl", Body=rows)
        job = await self._about_jobs(
            self._open("bedrock").create_model_invocation_job,
            jobName=name,
            roleArn=os.environ[ROLE],
            modelId=self.model,
            modelInvocationType="Converse",
            inputDataConfig={"s3InputDataConfig": {"s3Uri": f"s3://{bucket}/{folder}/requests.jsonl"}},
            outputDataConfig={"s3OutputDataConfig": {"s3Uri": f"s3://{bucket}/{folder}/answers/"}},
        )
        return job["jobArn"]

    async def find(self, since: datetime, keys: Collection[str]) -> list[str]:
        pages = self._open("bedrock").get_paginator("list_model_invocation_jobs")
        newest_first = {"sortBy": "CreationTime", "sortOrder": "Descending"}
        return await self._about_jobs(
            lambda: [
                job["jobArn"]
                for page in pages.paginate(submitTimeAfter=since, nameContains=_names(keys), **newest_first)
                for job in page.get("invocationJobSummaries", [])
            ]
        )

    async def progress(self, job: str) -> tuple[int, bool]:
        about = await self._about_jobs(self._open("bedrock").get_model_invocation_job, jobIdentifier=job)
        return about.get("processedRecordCount", 0), about["status"] in ENDED

    async def results(self, job: str) -> AsyncIterator[tuple[str, Answer | Exception]]:
        """(Key, answer or why there is none). The schema of a request is for the caller to check, who has it."""
        about = await self._about_jobs(self._open("bedrock").get_model_invocation_job, jobIdentifier=job)
        bucket, folder = place(about["outputDataConfig"]["s3OutputDataConfig"]["s3Uri"])
        read = set()
        async for row in self._rows(bucket, f"{folder.rstrip('/')}/{job.rpartition('/')[2]}/", ".jsonl.out"):
            read.add(row["recordId"])
            yield row["recordId"], self._result(row)
        if about["status"] == "Completed":
            return
        why = said(f"the job is {about['status']}: {about.get('message') or 'no reason given'}", NOTHING)
        async for row in self._rows(*place(about["inputDataConfig"]["s3InputDataConfig"]["s3Uri"]), ".jsonl"):
            if row["recordId"] not in read:
                yield row["recordId"], Dropped(why, billed=False)

    async def cancel(self, job: str) -> None:
        await self._about_jobs(self._open("bedrock").stop_model_invocation_job, jobIdentifier=job)

    def _open(self, service: str) -> BaseClient:
        if service not in self._clients:
            self._clients[service] = open_client(service, self.timeout, self.threads)
            self._pool = self._pool or ThreadPoolExecutor(self.threads, thread_name_prefix="bedrock")
        return self._clients[service]

    async def _call(self, operation: Callable[..., Any], arguments: dict[str, Any]) -> dict[str, Any]:
        async with asyncio.timeout(self.timeout):
            return await self._in_thread(lambda: operation(**arguments))

    async def _in_thread(self, call: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)

    async def _about_jobs(self, operation: Callable[..., Any], **arguments: Any) -> Any:
        """What AWS says about jobs or their files. No limit for the whole of it, for a file may be large."""
        try:
            return await self._in_thread(lambda: operation(**arguments))
        except Exception as error:
            raise job_failure(error, self.name, MAY_RUN_JOBS, BUCKET) from None

    async def _rows(self, bucket: str, prefix: str, ending: str) -> AsyncIterator[dict[str, Any]]:
        """The rows of the files whose names begin and end so."""
        s3 = self._open("s3")
        pages = s3.get_paginator("list_objects_v2")
        keys = await self._about_jobs(
            lambda: [
                file["Key"]
                for page in pages.paginate(Bucket=bucket, Prefix=prefix)
                for file in page.get("Contents", [])
                if file["Key"].endswith(ending)
            ]
        )
        for key in keys:
            with closing((await self._about_jobs(s3.get_object, Bucket=bucket, Key=key))["Body"]) as body:
                lines = body.iter_lines(1 << 20)
                while some := await self._about_jobs(lambda lines=lines: list(map(json.loads, islice(lines, ROWS)))):
                    for row in some:
                        yield row

    def _row(self, key: str, request: Request) -> dict[str, Any]:
        body = self._body(request, in_job=True)
        del body["modelId"]
        return {"recordId": key, "modelInput": body}

    def _result(self, row: dict[str, Any]) -> Answer | Exception:
        try:
            if not (error := row.get("error")):
                return _answer(row["modelOutput"], NOTHING)
            status, message, body = error["errorCode"], str(error.get("errorMessage")), row["modelInput"]
            found, refused = failure(status, said(message, _request(body))), _named(message, body)
        except (KeyError, TypeError, AttributeError) as error:
            return lost(error)
        self._takes.discard(refused)
        return found if status == 400 and not refused else Dropped(str(found), billed=False)

    def _body(self, request: Request, in_job: bool = False) -> dict[str, Any]:
        """The arguments of ``converse``."""
        if request.top_logprobs:
            raise InputError(f"{self.name}: Bedrock returns no log-probabilities; choose another --teacher")
        wanted = {"temperature"}
        if "anthropic.claude-" in self.model:
            wanted |= {next((name for name in LESS_THINKING if name in self._takes), "effort")}
        if any(family in self.model for family in CACHING) and request.instruction:
            wanted |= {"cache"}
        if request.schema is not None:
            wanted |= {"schema"}
        sent = wanted & self._takes - (NOT_IN_JOBS if in_job else set())
        instruction, output = request.instruction, {}
        if "schema" in sent:
            form = {"jsonSchema": {"name": "answer", "schema": request.schema}}
            output["textFormat"] = {"type": "json_schema", "structure": form}
        elif request.schema is not None:
            instruction += f"\n\nAnswer with JSON alone, without a code fence, by this JSON schema:\n{request.schema}"
        if "effort" in sent:
            output["effort"] = "low"
        limits = {"maxTokens": request.max_new_tokens} | ({"temperature": 0.0} if "temperature" in sent else {})
        body = {
            "modelId": self.model,
            "messages": [{"role": "user", "content": [{"text": request.prompt}]}],
            "inferenceConfig": limits,
        }
        if instruction:
            cache = [{"cachePoint": {"type": "default"}}] if "cache" in sent else []
            body["system"] = [{"text": instruction.strip()}, *cache]
        if output:
            body["outputConfig"] = output
        if thinking := sent & {"disabled", "between_tools"}:
            body["additionalModelRequestFields"] = {"thinking": {"type": thinking.pop()}}
        return body

    def _failure(self, error: Exception, request: Request) -> Busy | Dropped | Rejected | InputError:
        if found := common_failure(error, self.name, MAY_ASK):
            return found
        status, code, message = status_of(error), code_of(error), message_of(error)
        if status == 404 or "model identifier is invalid" in message:
            region = self.client.meta.region_name
            return InputError(f"{self.name}: no such model in {region} (HTTP {status}); check its id and AWS_REGION")
        if "on-demand throughput" in message:
            return InputError(
                f"{self.name}: the model has no on-demand throughput; give the id of an inference profile, such as "
                f"bedrock:us.{self.model}"
            )
        if "per day" in message and code in BUSY:
            return InputError(f"{self.name}: the account's tokens for today are used up; run the same command tomorrow")
        reason = said(message, request) or code
        if code == "ModelErrorException":
            return Dropped(f"HTTP {status}: {reason}", billed=False)
        return asked_failure(error, reason)


def _names(keys: Collection[str]) -> str:
    """How the names of the jobs for the requests with ``keys`` begin."""
    return f"distill-{digest(keys)}-{len(keys)}-"


def _refused(error: Exception, body: dict[str, Any]) -> str | None:
    """Which of NAMED the model says that it does not take, if that is what ``error`` says of ``body``."""
    if code_of(error) not in ("ValidationException", "AccessDeniedException"):
        return None
    return _named(message_of(error), body)


def _named(message: str, body: dict[str, Any]) -> str | None:
    """Which of NAMED ``message`` is about, of those that ``body`` holds."""
    output = body.get("outputConfig") or {}
    held = {
        (body.get("additionalModelRequestFields") or {}).get("thinking", {}).get("type"),
        "effort" if "effort" in output else None,
        "cache" if any("cachePoint" in part for part in body.get("system") or []) else None,
        "schema" if "textFormat" in output else None,
        "temperature" if "temperature" in body["inferenceConfig"] else None,
    }
    return next((name for name in NAMED if name in held and re.search(NAMED[name], message, re.IGNORECASE)), None)


def _request(body: dict[str, Any]) -> Request:
    """What was asked with ``body``, as far as a message could repeat it."""
    said = [part.get("text") or "" for message in body["messages"] for part in message["content"]]
    return Request(" ".join(part.get("text") or "" for part in body.get("system") or []), " ".join(said), 0)


def _answer(response: dict[str, Any], request: Request) -> Answer:
    usage, end = response["usage"], response["stopReason"]
    # A job's answers spell out what they do not have as null.
    text = "".join(part.get("text") or "" for part in response["output"]["message"]["content"]).strip()
    read, written = usage.get("cacheReadInputTokens") or 0, usage.get("cacheWriteInputTokens") or 0
    kind, reason = kind_of(text, request, end in TRUNCATED, end in REFUSED), ""
    if end == "malformed_model_output":
        kind = Kind.MALFORMED
    elif end in REFUSED:
        reason = end
    elif kind is Kind.EMPTY and end in TRUNCATED:
        reason = "the token limit was spent before any text; a model that thinks needs a higher one"
    elif end not in COMPLETE | TRUNCATED:
        kind, reason = Kind.FAILED, f"generation stopped for a reason unknown here ({end})"
    return Answer(
        text,
        kind,
        usage["inputTokens"] + read + written,
        usage["outputTokens"],
        reason=reason,
        cache_read_tokens=read,
        cache_write_tokens=written,
    )


def destination(model: str) -> Destination:
    """Wherever the endpoint is, jobs leave the prompts in a bucket."""
    url = os.environ.get("AWS_ENDPOINT_URL_BEDROCK_RUNTIME") or os.environ.get("AWS_ENDPOINT_URL") or ""
    host = urlsplit(url).netloc.rpartition("@")[2].lower()
    own = host.endswith((".amazonaws.com", ".amazonaws.com.cn", ".api.aws"))
    return Destination("" if own else host, leaves_machine=True)
