"""Amazon Bedrock as boto3 speaks it: Converse and CountTokens, batch inference, managed distillation, and S3 for both.

The errors are those of the service models. A word is a token.
"""

from __future__ import annotations

import itertools
import json
import random
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote
from xml.sax.saxutils import escape

from loopback import Call, Model, Reply, Written

LEAST_IN_JOB = 100
ACCOUNT = "123456789012"
ARN = f"arn:aws:bedrock:eu-west-1:{ACCOUNT}"
PAGE = 2  # jobs on one page of a list
JOB_NAME = r"[a-zA-Z0-9](-*[a-zA-Z0-9+\-.])*"
ROLE = rf"arn:aws:iam::{ACCOUNT}:role/.+"
STAGES = ("validationDetails", "dataProcessingDetails", "trainingDetails")


def respond(
    model: Model,
    outcome: Callable[[int, str], str] = lambda row, prompt: "succeeded",
    polls: int = 0,
    takes: Callable[[dict[str, Any]], str] = lambda body: "",
    ends: str = "Completed",
    why: str = "",
    files: dict[str, bytes] | None = None,
) -> Callable[[Call], Reply]:
    """Answers what ``model`` writes.

    A job ends as ``ends``, for the reason ``why``, after ``polls`` more questions about it; ``outcome(row, prompt)`` is
    what becomes of each row of an invocation job: succeeded, errored or errored:STATUS, or missing. ``takes(body)`` is
    the message of a model that does not take what a Converse body holds. ``files`` is what S3 holds, by bucket/key.
    """
    return _Api(model, outcome, polls, takes, ends, why, {} if files is None else files).respond


@dataclass
class _Job:
    id: str
    arn: str
    asked: dict[str, Any]
    polls: int
    status: str
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    counts: dict[str, int] = field(default_factory=dict)
    why: str = ""

    @property
    def when(self) -> str:
        return self.created.isoformat()


@dataclass
class _Api:
    model: Model
    outcome: Callable[[int, str], str]
    polls: int
    takes: Callable[[dict[str, Any]], str]
    ends: str
    why: str
    files: dict[str, bytes]
    invocations: list[_Job] = field(default_factory=list)  # oldest first
    customizations: list[_Job] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)
    numbers: itertools.count = field(default_factory=lambda: itertools.count(1))

    def respond(self, call: Call) -> Reply:
        authorization = call.headers.get("authorization", "")
        if not authorization.startswith(("AWS4-HMAC-SHA256 ", "Bearer ")):
            return error(403, "MissingAuthenticationTokenException", "Missing Authentication Token")
        with self.lock:
            if "/s3/aws4_request" in authorization:
                return self._s3(call)
            match call.method, [unquote(part) for part in call.path.strip("/").split("/")]:
                case "POST", ["model-invocation-job"]:
                    return self._create_invocation(call.json)
                case "GET", ["model-invocation-jobs"]:
                    return self._list(call, self.invocations, self._invocation, "invocationJobSummaries", "submitTime")
                case method, ["model-invocation-job", name, *rest]:
                    return self._one(method, self.invocations, name, rest, self._run, self._invocation)
                case "POST", ["model-customization-jobs"]:
                    return self._create_customization(call.json)
                case "GET", ["model-customization-jobs"]:
                    key = "modelCustomizationJobSummaries"
                    return self._list(call, self.customizations, self._summary, key, "creationTime")
                case method, ["model-customization-jobs", name, *rest]:
                    return self._one(method, self.customizations, name, rest, self._distil, self._customization)
        return self._runtime(call)

    # -- the runtime

    def _runtime(self, call: Call) -> Reply:
        *_, action = call.path.split("/")
        if action == "count-tokens":
            return Reply({"inputTokens": len(" ".join(_texts(call.json["input"]["converse"])).split())})
        if message := self.takes(call.json):
            return error(400, "ValidationException", message)
        return Reply(self._write(call.json))

    def _write(self, body: dict[str, Any]) -> dict[str, Any]:
        return answer(self.model(*_texts(body), body["inferenceConfig"]["maxTokens"]))

    # -- S3, path-style

    def _s3(self, call: Call) -> Reply:
        path = unquote(call.path).strip("/")
        bucket, _, key = path.partition("/")
        if bucket == "nowhere":
            return _s3_error(404, "NoSuchBucket", "The specified bucket does not exist")
        if call.method == "PUT":
            self.files[path] = call.body
            return Reply(b"", headers={"ETag": '"0"'})
        if key:
            found = self.files.get(path)
            return _s3_error(404, "NoSuchKey", "The specified key does not exist.") if found is None else Reply(found)
        prefix = f"{bucket}/{call.query.get('prefix', '')}"
        names = sorted(name.partition("/")[2] for name in self.files if name.startswith(prefix))
        contents = "".join(f"<Contents><Key>{escape(name)}</Key></Contents>" for name in names)
        body = f"<ListBucketResult><IsTruncated>false</IsTruncated>{contents}</ListBucketResult>"
        return Reply(body.encode(), headers={"Content-Type": "application/xml"})

    # -- jobs of both kinds

    def _list(
        self, call: Call, jobs: list[_Job], shown: Callable[[_Job], dict[str, Any]], key: str, clock: str
    ) -> Reply:
        since = call.query.get(clock.replace("Time", "TimeAfter"))
        named = [job for job in jobs if call.query.get("nameContains", "") in job.asked["jobName"]]
        named = [job for job in named if since is None or job.created > datetime.fromisoformat(since)]
        if call.query.get("sortOrder") == "Descending":
            named.reverse()
        start = int(call.query.get("nextToken", 0))
        more = {"nextToken": str(start + PAGE)} if start + PAGE < len(named) else {}
        return Reply({key: [shown(job) for job in named[start : start + PAGE]], **more})

    def _one(
        self,
        method: str,
        jobs: list[_Job],
        name: str,
        rest: list[str],
        end: Callable[[_Job], None],
        shown: Callable[[_Job], dict[str, Any]],
    ) -> Reply:
        job = next((job for job in jobs if name in (job.id, job.arn, job.asked["jobName"])), None)
        if job is None:
            return error(404, "ResourceNotFoundException", "Could not find the job.")
        running = job.status in ("Submitted", "InProgress", "Stopping")
        if method == "POST" and rest == ["stop"]:
            if not running:
                return error(400, "ConflictException", "The job cannot be stopped in its state.")
            job.status, job.polls = "Stopping", 0
            return Reply({})
        job.polls -= 1
        if running and job.polls < 0:
            end(job)
        return Reply(shown(job))

    # -- batch inference

    def _create_invocation(self, asked: dict[str, Any]) -> Reply:
        if not re.fullmatch(JOB_NAME, asked["jobName"]) or len(asked["jobName"]) > 63:
            return error(400, "ValidationException", "jobName: must match its pattern")
        if not re.fullmatch(ROLE, asked["roleArn"]):
            return error(400, "ValidationException", "roleArn: must match its pattern")
        number = f"{next(self.numbers):012}"
        job = _Job(number, f"{ARN}:model-invocation-job/{number}", asked, self.polls, "Submitted")
        self.invocations.append(job)
        return Reply({"jobArn": job.arn})

    def _invocation(self, job: _Job) -> dict[str, Any]:
        about = {name: value for name, value in job.asked.items() if name != "tags"}
        return {**about, **job.counts, "jobArn": job.arn, "status": job.status, "submitTime": job.when,
                "message": job.why}  # fmt: skip

    def _run(self, job: _Job) -> None:
        """Answer every row, in an order of its own, into a file beside a manifest."""
        place = job.asked["inputDataConfig"]["s3InputDataConfig"]["s3Uri"].removeprefix("s3://")
        rows = [json.loads(line) for line in self.files.get(place, b"").splitlines()]
        job.status = "Stopped" if job.status == "Stopping" else self.ends
        job.why = self.why
        if len(rows) < LEAST_IN_JOB:
            job.status, job.why = "Failed", f"The job contains less records ({len(rows)}) than {LEAST_IN_JOB}"
        if job.status in ("Failed", "Stopped"):
            return
        results = [result for at, row in enumerate(rows) if (result := self._row(job, at, row))]
        random.Random(len(rows)).shuffle(results)
        errors = sum("error" in result for result in results)
        job.counts = {
            "totalRecordCount": len(rows),
            "processedRecordCount": len(results),
            "successRecordCount": len(results) - errors,
            "errorRecordCount": errors,
        }
        folder = job.asked["outputDataConfig"]["s3OutputDataConfig"]["s3Uri"].removeprefix("s3://")
        folder = f"{folder.rstrip('/')}/{job.id}"
        lines = "".join(json.dumps(result, ensure_ascii=False) + "\n" for result in results)
        self.files[f"{folder}/{place.rpartition('/')[2]}.out"] = lines.encode()
        self.files[f"{folder}/manifest.json.out"] = json.dumps(job.counts).encode()

    def _row(self, job: _Job, at: int, row: dict[str, Any]) -> dict[str, Any] | None:
        body = row["modelInput"]
        _, prompt = _texts(body)
        kind, _, status = self.outcome(at, prompt).partition(":")
        message = self.takes(body)
        if "modelId" in body or "cachePoint" in json.dumps(body):
            message = "Malformed input request: extraneous key is not permitted"
        if kind == "missing":
            return None
        if kind == "errored" or message:
            failed = {"errorCode": int(status or 400 if message else status or 500), "errorMessage": message or "no"}
            return {**row, "error": failed}
        return {**row, "modelOutput": _with_nulls(self._write(body))}

    # -- managed distillation

    def _create_customization(self, asked: dict[str, Any]) -> Reply:
        for job in self.customizations:
            if job.asked["clientRequestToken"] == asked["clientRequestToken"]:
                return Reply({"jobArn": job.arn}, 201)
            if job.asked["jobName"] == asked["jobName"]:
                return error(400, "ConflictException", "A job of that name exists.")
        number = f"{next(self.numbers):012}"
        arn = f"{ARN}:model-customization-job/{asked['baseModelIdentifier']}/{number}"
        self.customizations.append(_Job(number, arn, asked, self.polls, "InProgress"))
        return Reply({"jobArn": arn}, 201)

    def _distil(self, job: _Job) -> None:
        job.status = "Stopped" if job.status == "Stopping" else self.ends
        job.why = self.why

    def _summary(self, job: _Job) -> dict[str, Any]:
        return {
            "jobArn": job.arn,
            "baseModelArn": f"arn:aws:bedrock:eu-west-1::foundation-model/{job.asked['baseModelIdentifier']}",
            "jobName": job.asked["jobName"],
            "status": job.status,
            "creationTime": job.when,
            "customizationType": job.asked["customizationType"],
        }

    def _customization(self, job: _Job) -> dict[str, Any]:
        done = len(STAGES) if job.status == "Completed" else max(0, self.polls - max(0, job.polls))
        states = ("Completed" if at < done else "InProgress" if at == done else "NotStarted" for at in range(3))
        about = {name: job.asked[name] for name in ("roleArn", "trainingDataConfig", "outputDataConfig")}
        ended = {"outputModelArn": f"{ARN}:custom-model/{job.asked['baseModelIdentifier']}/{job.id}"}
        return {
            **self._summary(job),
            **about,
            **(ended if job.status == "Completed" else {}),
            **({"failureMessage": job.why} if job.why else {}),
            "outputModelName": job.asked["customModelName"],
            "validationDataConfig": {"validators": []},
            "statusDetails": {name: {"status": state} for name, state in zip(STAGES, states, strict=True)},
        }


def _texts(body: dict[str, Any]) -> tuple[str, str]:
    """Instruction and prompt of a Converse body."""
    instruction = " ".join(part["text"] for part in body.get("system", []) if "text" in part)
    [prompt] = [part["text"] for message in body["messages"] for part in message["content"]]
    return instruction, prompt


def _with_nulls(output: dict[str, Any]) -> dict[str, Any]:
    """A job's answer spells out the alternatives of a union that it does not have, as null."""
    for part in output["output"]["message"]["content"]:
        part |= {name: None for name in ("text", "image", "toolUse", "reasoningContent") if name not in part}
    return output


def model_id(call: Call) -> str:
    return unquote(call.path.split("/")[2])


def answer(written: Written, stop: str | None = None, thought: str = "", **usage: int) -> dict[str, Any]:
    """The body of a ConverseResponse. A guardrail's text stands in for the model's."""
    content: list[dict] = [{"reasoningContent": {"reasoningText": {"text": thought}}}] if thought else []
    content += [{"text": written.text}] if written.text else []
    return {
        "output": {"message": {"role": "assistant", "content": content}},
        "stopReason": stop or ("max_tokens" if written.truncated else "end_turn"),
        "usage": {
            "inputTokens": written.prompt_tokens,
            "outputTokens": written.completion_tokens,
            "totalTokens": written.prompt_tokens + written.completion_tokens,
            **usage,
        },
        "metrics": {"latencyMs": 1},
    }


def error(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> Reply:
    return Reply({"message": message}, status, {"x-amzn-errortype": f"{code}:http://internal/", **(headers or {})})


def _s3_error(status: int, code: str, message: str) -> Reply:
    body = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'
    return Reply(body.encode(), status, {"Content-Type": "application/xml"})
