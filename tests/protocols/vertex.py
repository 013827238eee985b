"""Vertex AI's REST interface to Gemini, its batch jobs and custom jobs, the part of Cloud Storage's JSON interface that
jobs need, and the token exchange of workload identity federation."""

from __future__ import annotations

import base64
import itertools
import json
import os
import random
import re
import signal
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from loopback import Call, Model, Reply, Written

TOKEN = "ya29.a0Af0123456789-secret-0123456789"


def respond(
    model: Model,
    outcome: Callable[[int, str], str] = lambda row, prompt: "succeeded",
    polls: int = 0,
    ends: str = "SUCCEEDED",
    machines: Machines | None = None,
) -> Callable[[Call], Reply]:
    """Answers what ``model`` writes, with its log-probabilities where they are asked for.

    ``outcome(row, prompt)`` is what becomes of each request of a job: succeeded, missing, or the code of an error such
    as INTERNAL. A job ends after ``polls`` more questions about it, in the state ``ends``; when that is FAILED, no
    request has an answer. ``machines`` is where custom jobs run.
    """
    return _Api(model, outcome, polls, ends, machines).respond


@dataclass
class Machines:
    """Where custom jobs run: processes in folders of their own, with nothing of the environment but ``environment``.

    ``command`` runs in place of what a job's container would. ``preempt`` says of an object that was just stored
    whether the machines are taken away now; those that are come again as new ones.
    """

    folder: Path
    environment: dict[str, str]
    command: list[str] | None = None
    preempt: Callable[[str], bool] = lambda name: False
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)  # by the job's name
    started: int = 0
    taken: int = 0

    def start(self, name: str, container: dict[str, Any]) -> None:
        self.started += 1
        (here := self.folder / f"machine-{self.started}").mkdir(parents=True)
        own = {variable["name"]: variable["value"] for variable in container.get("env", [])}
        with (here / "console").open("wb") as console:
            self.running[name] = subprocess.Popen(
                self.command or [*container["command"], *container["args"]],
                cwd=here,
                env=self.environment | {"HOME": str(here), "TMPDIR": str(here)} | own,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )

    def stored(self, name: str) -> None:
        if self.preempt(name):
            self.taken += 1
            self.close()

    def close(self) -> None:
        """Take all machines away, with whatever runs on them and without a word."""
        for process in self.running.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


class CustomJob:
    """A custom job on one machine. A machine that was taken away is replaced by a new one, at most six times."""

    def __init__(self, name: str, body: dict[str, Any], machines: Machines):
        self.machines = machines
        self.shown = {**body, "name": name, "createTime": _now(), "state": STATES["PENDING"]}
        self._start()

    def _start(self) -> None:
        [pool] = self.shown["jobSpec"]["workerPoolSpecs"]
        self.machines.start(self.shown["name"], pool["containerSpec"])

    def look(self) -> dict[str, Any]:
        """The resource, as it is told."""
        if self.shown["state"] in (STATES["PENDING"], STATES["RUNNING"]):
            status = self.machines.running[self.shown["name"]].poll()
            if status is None:
                self.shown["state"] = STATES["RUNNING"]
            elif status == 0:
                self.shown["state"] = STATES["SUCCEEDED"]
            elif status == -signal.SIGKILL and self.machines.taken <= 6:
                self._start()
                self.shown["state"] = STATES["PENDING"]
            else:
                self.shown["state"] = STATES["FAILED"]
                why = f"The replica workerpool0-0 exited with a non-zero status of {status}."
                self.shown["error"] = {"code": 3, "message": why}
        return self.shown

    def cancel(self) -> None:
        self.machines.running[self.shown["name"]].terminate()
        self.shown["state"] = STATES["CANCELLED"]


@dataclass
class _Job:
    shown: dict[str, Any]  # the resource, as it is told
    polls: int


@dataclass
class _Api:
    model: Model
    outcome: Callable[[int, str], str]
    polls: int
    ends: str
    machines: Machines | None
    customs: list[CustomJob] = field(default_factory=list)  # oldest first
    jobs: dict[str, _Job] = field(default_factory=dict)  # by resource name, oldest first
    files: dict[str, bytes] = field(default_factory=dict)  # in the bucket
    uploads: dict[str, tuple[str, bytearray]] = field(default_factory=dict)  # resumable ones: name and what has come
    lock: threading.RLock = field(default_factory=threading.RLock)
    numbers: itertools.count = field(default_factory=lambda: itertools.count(1))

    def respond(self, call: Call) -> Reply:
        if call.path == "/token":
            return token()
        if call.headers.get("authorization") != f"Bearer {TOKEN}":
            return error(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.")
        match call.path.strip("/").split("/"):
            case [*_, "o"] | [*_, "o", _]:
                with self.lock:
                    return self._storage(call)
            case ["v1", *resource] if "batchPredictionJobs" in call.path:
                with self.lock:
                    return self._batch(call, "/".join(resource))
            case ["v1", *resource] if "customJobs" in call.path:
                with self.lock:
                    return self._custom(call, "/".join(resource))
            case [*_, last] if last.endswith(":countTokens"):
                text = f"{_instruction(call.json)} {_prompt(call.json)}"
                return Reply({"totalTokens": len(text.split()), "totalBillableCharacters": 1})
            case [*_, last] if last.endswith(":generateContent"):
                return Reply(self._generate(call.json))
        return error(404, "NOT_FOUND", "Publisher Model was not found.")

    def _generate(self, body: dict[str, Any]) -> dict[str, Any]:
        config = body["generationConfig"]
        written = self.model(_instruction(body), _prompt(body), config["maxOutputTokens"])
        return response(written, config.get("logprobs") if config.get("responseLogprobs") else None)

    # -- jobs

    def _batch(self, call: Call, resource: str) -> Reply:
        if call.method == "POST" and resource.endswith("/batchPredictionJobs"):
            return self._create(call.json, resource)
        if call.method == "GET" and resource.endswith("/batchPredictionJobs"):
            return self._list(call.query)
        name, _, verb = resource.partition(":")
        job = self.jobs.get(name)
        if job is None:
            return error(404, "NOT_FOUND", "The BatchPredictionJob does not exist.")
        if verb == "cancel":
            self._end(job, "CANCELLED")
            return Reply({})
        job.polls -= 1
        if job.polls < 0 and job.shown["state"] == STATES["RUNNING"]:
            self._end(job, self.ends)
        return Reply(job.shown)

    def _create(self, body: dict[str, Any], parent: str) -> Reply:
        if not body["model"].startswith("publishers/google/models/gemini"):
            return error(400, "INVALID_ARGUMENT", "The model does not support batch prediction.")
        name = f"{parent}/{next(self.numbers)}"
        shown = {**body, "name": name, "createTime": _now(), "state": STATES["RUNNING"]}
        self.jobs[name] = _Job(shown, self.polls)
        return Reply(shown)

    def _list(self, query: dict[str, str]) -> Reply:
        [(title, since)] = re.findall(r'display_name="(.*)" AND create_time>="(.*)"', query["filter"])
        since = datetime.fromisoformat(since)
        found = [job.shown for job in self.jobs.values() if job.shown["displayName"] == title]
        found = [shown for shown in found if datetime.fromisoformat(shown["createTime"]) >= since]
        start = int(query.get("pageToken", 0))
        more = {"nextPageToken": str(start + PAGE)} if start + PAGE < len(found) else {}
        return Reply({"batchPredictionJobs": found[start : start + PAGE], **more})

    def _end(self, job: _Job, state: str) -> None:
        """Answer every request, in an order of its own, and write the answers to the bucket."""
        job.shown["state"] = STATES[state]
        if state == "FAILED":
            job.shown["error"] = {"code": 7, "message": "The service agent may not read the file."}
        if state in ("FAILED", "CANCELLED"):
            return
        [source] = job.shown["inputConfig"]["gcsSource"]["uris"]
        lines = self.files[_path(source)].decode().splitlines()
        rows = [row for at, line in enumerate(lines) if (row := self._row(at, json.loads(line)["request"]))]
        random.Random(len(rows)).shuffle(rows)
        folder = f"{job.shown['outputConfig']['gcsDestination']['outputUriPrefix']}/prediction-model-{_now()}"
        job.shown["outputInfo"] = {"gcsOutputDirectory": folder}
        self.files[f"{_path(folder)}/predictions.jsonl"] = "".join(json.dumps(row) + "\n" for row in rows).encode()
        failed = sum(bool(row["status"]) for row in rows)
        job.shown["completionStats"] = {"successfulCount": str(len(rows) - failed), "failedCount": str(failed)}

    def _row(self, at: int, request: dict[str, Any]) -> dict[str, Any] | None:
        code = self.outcome(at, _prompt(request))
        if code == "missing":
            return None
        status = ""
        if code != "succeeded":
            number = CODES[code]
            body = {"error": {"code": number, "message": "It went wrong.", "status": code}}
            status = f"{HTTPStatus(number).phrase}: {json.dumps(body)}"
        echo = json.loads(json.dumps(request))
        for content in echo["contents"]:
            content["parts"] = [{"fileData": None, **part} for part in content["parts"]]
        answer = {} if status else self._generate(request)
        return {"status": status, "processed_time": _now(), "request": echo, "response": answer}

    # -- custom jobs

    def _custom(self, call: Call, resource: str) -> Reply:
        if call.method == "POST" and resource.endswith("/customJobs"):
            job = CustomJob(f"{resource}/{next(self.numbers)}", call.json, self.machines)
            self.customs.append(job)
            return Reply(job.shown)
        if resource.endswith("/customJobs"):
            [title] = re.fullmatch(r'display_name="(.*)"', call.query["filter"]).groups()
            return Reply({"customJobs": [j.look() for j in self.customs if j.shown["displayName"] == title]})
        name, _, verb = resource.partition(":")
        [job] = [job for job in self.customs if job.shown["name"] == name]
        if verb == "cancel":
            job.cancel()
            return Reply({})
        return Reply(job.look())

    # -- Cloud Storage

    def _storage(self, call: Call) -> Reply:
        bucket, _, name = unquote(call.path).partition("/b/")[2].partition("/o")
        if bucket != BUCKET:
            return error(404, "NOT_FOUND", "The specified bucket does not exist.")
        if call.path.startswith("/upload/"):
            return self._upload(call)
        if not name:
            found = [_object(name, data) for name, data in self.files.items() if name.startswith(call.query["prefix"])]
            return Reply({"kind": "storage#objects", "items": found})
        if (data := self.files.get(name[1:])) is None:
            return error(404, "NOT_FOUND", f"No such object: {bucket}{name}")
        if call.method == "DELETE":
            del self.files[name[1:]]
            return Reply(b"", 204)
        return Reply(data, headers={"X-Goog-Hash": f"crc32c={_checksum(data)}"})

    def _upload(self, call: Call) -> Reply:
        """In one request of two parts, or, from 8 MiB up, in requests that follow one which names the object."""
        if call.query["uploadType"] == "multipart":
            boundary = re.search(r'boundary="?([^";]+)', call.headers["content-type"])[1]
            _, about, content, _ = call.body.split(f"--{boundary}".encode())
            name = json.loads(about.partition(b"\r\n\r\n")[2])["name"]
            return self._stored(name, content.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n"))
        if call.method == "POST":
            session = f"s{next(self.numbers)}"
            self.uploads[session] = (call.json["name"], bytearray())
            where = f"http://{call.headers['host']}{call.path}?uploadType=resumable&upload_id={session}"
            return Reply({}, headers={"Location": where})
        name, come = self.uploads[call.query["upload_id"]]
        come += call.body
        if len(come) < int(call.headers["content-range"].rpartition("/")[2]):
            return Reply({}, 308, {"Range": f"bytes=0-{len(come) - 1}"})
        return self._stored(name, bytes(come))

    def _stored(self, name: str, data: bytes) -> Reply:
        self.files[name] = data
        if self.machines:
            self.machines.stored(name)
        return Reply(_object(name, data))


BUCKET = "distillation"
PAGE = 50  # jobs in one reply
# As numbers, for which the SDK asks.
STATES = {"PENDING": 2, "RUNNING": 3, "SUCCEEDED": 4, "FAILED": 5, "CANCELLED": 7, "EXPIRED": 9}
CODES = {"INVALID_ARGUMENT": 400, "RESOURCE_EXHAUSTED": 429, "INTERNAL": 500, "UNAVAILABLE": 503}


def _instruction(body: dict[str, Any]) -> str:
    return "".join(part["text"] for part in body.get("systemInstruction", {}).get("parts", []))


def _prompt(body: dict[str, Any]) -> str:
    [prompt] = [part["text"] for content in body["contents"] for part in content["parts"]]
    return prompt


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"


def _path(uri: str) -> str:
    return uri.removeprefix(f"gs://{BUCKET}/")


def _object(name: str, data: bytes) -> dict[str, Any]:
    about = {"kind": "storage#object", "name": name, "bucket": BUCKET, "generation": "1"}
    return {**about, "size": str(len(data)), "crc32c": _checksum(data)}


def _checksum(data: bytes) -> str:
    import google_crc32c

    return base64.b64encode(google_crc32c.Checksum(data).digest()).decode()


def response(
    written: Written, top: int | None = None, finish: str | None = None, thought: str = "", **usage: int
) -> dict[str, Any]:
    """The body of a GenerateContentResponse; ``top`` is how many log-probabilities a token has, None for none."""
    parts = [{"text": thought, "thought": True}] if thought else []
    parts += [{"text": written.text}] if written.text else []
    candidate: dict[str, Any] = {
        "content": {"role": "model", **({"parts": parts} if parts else {})},
        "finishReason": finish or ("MAX_TOKENS" if written.truncated else "STOP"),
        "avgLogprobs": -0.1,
    }
    if top is not None:
        candidate["logprobsResult"] = {
            "chosenCandidates": [_token(row[0]) for row in written.top_logprobs],
            "topCandidates": [{"candidates": [_token(pair) for pair in row[:top]]} for row in written.top_logprobs],
        }
    return {
        "candidates": [candidate],
        "usageMetadata": {
            "promptTokenCount": written.prompt_tokens,
            "candidatesTokenCount": written.completion_tokens,
            "totalTokenCount": written.prompt_tokens + written.completion_tokens,
            "trafficType": "ON_DEMAND",
            **usage,
        },
        "modelVersion": "gemini",
        "responseId": "1",
    }


def blocked(reason: str) -> Reply:
    """A prompt that the platform did not let through to the model."""
    return Reply({"promptFeedback": {"blockReason": reason}, "usageMetadata": {"promptTokenCount": 4}})


def _token(pair: tuple[str, float]) -> dict[str, Any]:
    return {"token": pair[0], "tokenId": 1, "logProbability": pair[1]}


def token() -> Reply:
    """Google's security token service."""
    kind = "urn:ietf:params:oauth:token-type:access_token"
    return Reply({"access_token": TOKEN, "issued_token_type": kind, "token_type": "Bearer", "expires_in": 3600})


def error(
    status: int, code: str, message: str, details: list | None = None, headers: dict[str, str] | None = None
) -> Reply:
    body = {"code": status, "message": message, "status": code}
    return Reply({"error": body | ({"details": details} if details else {})}, status, headers or {})
