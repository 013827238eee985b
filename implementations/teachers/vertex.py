"""Gemini on Vertex AI, one request at a time or many as a batch job at half the price: ``vertex:MODEL``.

Gives text and the log-probabilities of the likeliest tokens, at most 20 for each. Credentials are Google Cloud's
application default ones (``gcloud auth application-default login``, GOOGLE_APPLICATION_CREDENTIALS, or the machine's
service account); GOOGLE_CLOUD_PROJECT names the project, GOOGLE_CLOUD_LOCATION the location (else global), and
GOOGLE_VERTEX_BASE_URL another endpoint. Batch jobs need a Cloud Storage bucket, which GOOGLE_CLOUD_STORAGE_BUCKET names
(see vertex_batch.py).

Gemini thinks before it answers from version 2.5 on. Thoughts are billed, count against the token limit and are no part
of what a student learns, so they are switched off where the model allows that and set to the least where it does not.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator, Collection
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..errors import InputError
from ..registry import PLATFORMS
from .google_cloud import account, no_access, no_token
from .teacher import Answer, Busy, Destination, Dropped, Kind, Rejected, Request
from .vertex_batch import Batches, why_no_bucket
from .wire import failure, kind_of, lost, needs, no_logprobs, said

if TYPE_CHECKING:
    import httpx
    from google.auth.credentials import Credentials
    from google.genai import Client
    from google.genai.errors import APIError
    from google.genai.types import Candidate, GenerateContentResponse, LogprobsResult

MOST_LOGPROBS = 20  # for each token, by the API
COMPLETE, TRUNCATED = {"STOP"}, {"MAX_TOKENS", "CONTINUATION"}


def open_teacher(model: str) -> VertexTeacher:
    """The teacher for a Gemini model. Raises InputError without the package, credentials or a project."""
    teacher = VertexTeacher(model)
    _ = teacher.client
    return teacher


class VertexTeacher:
    """A Gemini model. ``timeout`` is in seconds, for one whole answer."""

    platform, folder, gives = "vertex", None, PLATFORMS["vertex"].gives
    least_in_job, untried = 1, False

    def __init__(self, model: str, credentials: Credentials | None = None, timeout: float = 120.0):
        self.model, self.timeout = model, timeout
        self.name = f"vertex:{model}"
        self.identity = destination(model).identity(self.name)
        self.location = os.environ.get("GOOGLE_CLOUD_LOCATION") or "global"
        self._credentials = credentials
        self._client: Client | None = None
        self._http: httpx.AsyncClient | None = None
        self._batches: Batches | None = None

    @property
    def client(self) -> Client:
        """The SDK's client, made on first use and again after ``close``."""
        if self._client is None:
            self._client, self._http = _open(self._credentials, self.location, self.timeout)
        return self._client

    @property
    def batches(self) -> Batches:
        """The SDKs' clients for jobs and their files, made and closed like ``client``."""
        if self._batches is None:
            self._batches = Batches(self.name, self.model, self.location, account(self._credentials), self.timeout)
        return self._batches

    @property
    def why_no_jobs(self) -> str:
        if "/" in self.model:
            return f"{self.name}: batch jobs are for Google's own models here; choose another --teacher"
        return why_no_bucket()

    async def ask(self, request: Request) -> Answer:
        models = self.client.aio.models
        try:
            async with asyncio.timeout(self.timeout):
                response = await models.generate_content(
                    model=self.model, contents=request.prompt, config=_config(self.model, request)
                )
            return self._answer(response, request)
        except (InputError, Dropped):
            raise
        except Exception as error:
            raise self._failure(error, request) from None

    async def count_tokens(self, request: Request) -> int:
        models = self.client.aio.models
        config = {"system_instruction": request.instruction} if request.instruction else {}
        try:
            async with asyncio.timeout(self.timeout):
                counted = await models.count_tokens(model=self.model, contents=request.prompt, config=config)
        except Exception as error:
            raise self._failure(error, request) from None
        if counted.total_tokens is None:
            raise Dropped("no count came")
        return counted.total_tokens

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()
            await self._http.aclose()  # which the SDK leaves to whoever made it
        batches, self._batches = self._batches, None
        if batches is not None:
            batches.close()

    async def submit(self, requests: dict[str, Request]) -> str:
        return await self.batches.submit(requests, {key: _row(self.model, asked) for key, asked in requests.items()})

    async def find(self, since: datetime, keys: Collection[str]) -> list[str]:
        return await self.batches.find(since, keys)

    async def progress(self, job: str) -> tuple[int, bool]:
        return await self.batches.progress(job)

    async def results(self, job: str) -> AsyncIterator[tuple[str, Answer | Exception]]:
        """(Key, answer or why there is none). The schema of a request is for the caller to check, who has it."""
        async for key, row in self.batches.results(job):
            yield key, row if isinstance(row, Exception) else self._result(row)

    async def cancel(self, job: str) -> None:
        await self.batches.cancel(job)

    def _result(self, row: dict[str, Any]) -> Answer | Exception:
        """The answer in a row of a job's results, or why there is none."""
        from google.genai.types import GenerateContentResponse

        if status := row.get("status"):  # such as: Bad Request: {"error": {…, "status": "INVALID_ARGUMENT"}}
            code = re.search(r'"status":\s*"([A-Z_]+)"', str(status))
            reason = code[1] if code else "the platform gave no answer"
            return Rejected(reason) if reason == "INVALID_ARGUMENT" else Dropped(reason, billed=False)
        try:
            response = GenerateContentResponse.model_validate(row.get("response"), extra="ignore")
            return self._answer(response, Request("", "", 0))
        except Dropped as error:
            return error
        except ValueError as error:
            return lost(error)

    def _answer(self, response: GenerateContentResponse, request: Request) -> Answer:
        usage, blocked = response.usage_metadata, response.prompt_feedback and response.prompt_feedback.block_reason
        [candidate] = (response.candidates or [])[:1] or [None]
        end = candidate.finish_reason.name if candidate and candidate.finish_reason else ""
        if usage is None or not (end or blocked):
            raise Dropped("the answer breaks off")
        text = _text(candidate)
        kind = kind_of(text, request, end in TRUNCATED, end not in COMPLETE | TRUNCATED)
        logprobs = _top_logprobs(candidate.logprobs_result) if candidate else None
        if request.top_logprobs and kind is not Kind.REFUSED and text and not logprobs:
            raise no_logprobs(self.name)
        reason = "" if kind is not Kind.REFUSED else end or f"the prompt was blocked: {blocked.name}"
        if kind is Kind.EMPTY and end in TRUNCATED:
            reason = "the token limit was spent before any text; a model that thinks needs a higher one"
        return Answer(
            text,
            kind,
            usage.prompt_token_count or 0,
            (usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0),
            reason=reason,
            cache_read_tokens=usage.cached_content_token_count or 0,
            top_logprobs=logprobs,
        )

    def _failure(self, error: Exception, request: Request) -> Busy | Dropped | Rejected | InputError:
        from google.auth.exceptions import GoogleAuthError
        from google.genai.errors import APIError

        if isinstance(error, GoogleAuthError):
            return no_token(self.name, error)
        if not isinstance(error, APIError) or error.code < 400:
            return lost(error)
        if error.code in (401, 403) or error.status == "FAILED_PRECONDITION":
            return no_access(self.name, error.code)
        if error.code == 404:
            return InputError(
                f"{self.name}: no such model in {self.location} (HTTP 404); check its name and GOOGLE_CLOUD_LOCATION"
            )
        if request.top_logprobs and error.code == 400 and "logprob" in str(error.message).lower():
            return no_logprobs(self.name)
        return failure(error.code, said(error.message, request), _retry_after(error))


def _open(credentials: Credentials | None, location: str, timeout: float) -> tuple[Client, httpx.AsyncClient]:
    with needs("vertex", "google-genai"):
        import httpx
        from google import genai
    credentials, project = account(credentials)
    # With a client of ours the SDK does not use aiohttp, under which it asks again by itself after lost connections.
    http = httpx.AsyncClient(limits=httpx.Limits(max_keepalive_connections=64))
    options = {"httpx_async_client": http, "timeout": round(timeout * 1000), "retry_options": {"attempts": 1}}
    client = genai.Client(
        vertexai=True, project=project, location=location, credentials=credentials, http_options=options
    )
    return client, http


def _config(model: str, request: Request) -> dict[str, Any]:
    """GenerateContentConfig for one request."""
    config = _generation_config(model, request)
    config["automatic_continuation"] = False  # else the SDK asks several times for one answer
    if request.instruction:
        config["system_instruction"] = request.instruction
    return config


def _row(model: str, request: Request) -> dict[str, Any]:
    """The body that the SDK sends for one request, as a row of a job holds it."""
    from google.genai.types import GenerationConfig

    config = GenerationConfig(**_generation_config(model, request))
    row = {
        "contents": [_content(request.prompt)],
        "generationConfig": config.model_dump(mode="json", by_alias=True, exclude_none=True),
    }
    if request.instruction:
        row["systemInstruction"] = _content(request.instruction)
    return row


def _content(text: str) -> dict[str, Any]:
    return {"role": "user", "parts": [{"text": text}]}


def _generation_config(model: str, request: Request) -> dict[str, Any]:
    """GenerationConfig for one request. Raises InputError."""
    if request.top_logprobs > MOST_LOGPROBS:
        raise InputError(
            f"vertex:{model}: {request.top_logprobs} log-probabilities for each token are more than the "
            f"{MOST_LOGPROBS} that Vertex AI returns; ask for fewer"
        )
    config: dict[str, Any] = {"max_output_tokens": request.max_new_tokens, "seed": 0, **_generation(model)}
    if request.schema is not None:
        config |= {"response_mime_type": "application/json", "response_json_schema": json.loads(request.schema)}
    if request.top_logprobs:
        config |= {"response_logprobs": True, "logprobs": request.top_logprobs}
    return config


def _generation(model: str) -> dict[str, Any]:
    """The least thinking and the least randomness that a model's generation takes.

    From version 3 on thinking has levels, of which every model has LOW, and Google strongly advises against a
    temperature below 1. In 2.5 it has a budget in tokens, at least 128 for Pro.
    """
    if "gemini" not in model:
        return {"temperature": 0.0}
    found = re.search(r"gemini-(\d+)(?:\.(\d+))?", model)
    version = (int(found[1]), int(found[2] or 0)) if found else (3, 0)  # gemini-flash-latest and its like
    if version >= (3, 0):
        return {"thinking_config": {"thinking_level": "LOW"}}
    if version >= (2, 5):
        return {"temperature": 0.0, "thinking_config": {"thinking_budget": 128 if "-pro" in model else 0}}
    return {"temperature": 0.0}


def _text(candidate: Candidate | None) -> str:
    parts = (candidate.content.parts if candidate and candidate.content else None) or []
    return "".join(part.text for part in parts if part.text and not part.thought).strip()


def _top_logprobs(result: LogprobsResult | None) -> tuple[tuple[tuple[str, float], ...], ...] | None:
    if result is None or not result.chosen_candidates:
        return None
    rows = []
    tops = result.top_candidates or [None] * len(result.chosen_candidates)
    for token, top in zip(result.chosen_candidates, tops, strict=True):
        likeliest = (top.candidates if top else None) or []
        others = [(other.token, float(other.log_probability)) for other in likeliest if other.token != token.token]
        rows.append(((token.token, float(token.log_probability)), *others))
    return tuple(rows)


def _retry_after(error: APIError) -> str | None:
    """The header, else what google.rpc.RetryInfo says, as in ``"retryDelay": "34s"``."""
    if header := getattr(error.response, "headers", {}).get("retry-after"):
        return header
    body = error.details.get("error") if isinstance(error.details, dict) else None
    details = body.get("details", ()) if isinstance(body, dict) else ()
    return next((detail["retryDelay"].rstrip("s") for detail in details if "retryDelay" in detail), None)


def destination(model: str) -> Destination:
    """Wherever the endpoint is, jobs leave the prompts in a bucket."""
    host = urlsplit(os.environ.get("GOOGLE_VERTEX_BASE_URL", "")).netloc.rpartition("@")[2].lower()
    return Destination("" if host.endswith(".googleapis.com") else host, leaves_machine=True)
