"""Gemini on Vertex AI: ``vertex:MODEL``, such as ``vertex:gemini-2.5-flash``.

Gives text and the log-probabilities of the likeliest tokens, at most 20 for each. Credentials are Google Cloud's
application default ones (``gcloud auth application-default login``, GOOGLE_APPLICATION_CREDENTIALS, or the machine's
service account); GOOGLE_CLOUD_PROJECT names the project, GOOGLE_CLOUD_LOCATION the location (else global), and
GOOGLE_VERTEX_BASE_URL another endpoint.

Gemini thinks before it answers from version 2.5 on. Thoughts are billed, count against the token limit and are no part
of what a student learns, so they are switched off where the model allows that and set to the least where it does not.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..errors import InputError
from ..registry import PLATFORMS
from .teacher import Answer, Busy, Dropped, Kind, Rejected, Request
from .wire import failure, kind_of, lost, needs, no_logprobs, said

if TYPE_CHECKING:
    import httpx
    from google.auth.credentials import Credentials
    from google.genai import Client
    from google.genai.errors import APIError
    from google.genai.types import Candidate, GenerateContentResponse, LogprobsResult

MOST_LOGPROBS = 20  # for each token, by the API
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
LOGIN = "run: gcloud auth application-default login, or set GOOGLE_APPLICATION_CREDENTIALS to a key file"
COMPLETE, TRUNCATED = {"STOP"}, {"MAX_TOKENS", "CONTINUATION"}


def open_teacher(model: str) -> VertexTeacher:
    """The teacher for a Gemini model. Raises InputError without the package, credentials or a project."""
    teacher = VertexTeacher(model)
    _ = teacher.client
    return teacher


class VertexTeacher:
    """A Gemini model. ``timeout`` is in seconds, for one whole answer."""

    platform, folder, gives = "vertex", None, PLATFORMS["vertex"].gives

    def __init__(self, model: str, credentials: Credentials | None = None, timeout: float = 120.0):
        self.model, self.timeout = model, timeout
        self.name = f"vertex:{model}"
        self.identity = f"{self.name}{_elsewhere()}"
        self.location = os.environ.get("GOOGLE_CLOUD_LOCATION") or "global"
        self._credentials = credentials
        self._client: Client | None = None
        self._http: httpx.AsyncClient | None = None

    @property
    def client(self) -> Client:
        """The SDK's client, made on first use and again after ``close``."""
        if self._client is None:
            self._client, self._http = _open(self._credentials, self.location, self.timeout)
        return self._client

    async def ask(self, request: Request) -> Answer:
        if request.top_logprobs > MOST_LOGPROBS:
            raise InputError(
                f"{self.name}: {request.top_logprobs} log-probabilities for each token are more than the "
                f"{MOST_LOGPROBS} that Vertex AI returns; ask for fewer"
            )
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

    def _answer(self, response: GenerateContentResponse, request: Request) -> Answer:
        usage, blocked = response.usage_metadata, response.prompt_feedback and response.prompt_feedback.block_reason
        [candidate] = (response.candidates or [])[:1] or [None]
        end = candidate.finish_reason.name if candidate and candidate.finish_reason else ""
        if usage is None or not (end or blocked):
            raise Dropped("the answer breaks off")
        text = _text(candidate)
        kind = kind_of(text, request, end in TRUNCATED, end not in COMPLETE | TRUNCATED)
        logprobs = _top_logprobs(candidate.logprobs_result) if candidate and request.top_logprobs else None
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
            if error.retryable:
                return Dropped("no access token came", billed=False)
            return InputError(f"{self.name}: Google Cloud refused the credentials; {LOGIN}")
        if not isinstance(error, APIError) or error.code < 400:
            return lost(error)
        if error.code in (401, 403) or error.status == "FAILED_PRECONDITION":
            return InputError(
                f"{self.name}: Google Cloud refused access (HTTP {error.code}); check that the project has billing and "
                f"the Vertex AI API, that the account may use them (roles/aiplatform.user), or {LOGIN}"
            )
        if error.code == 404:
            return InputError(
                f"{self.name}: no such model in {self.location} (HTTP 404); check its name and GOOGLE_CLOUD_LOCATION"
            )
        if request.top_logprobs and error.code == 400 and "logprob" in str(error.message).lower():
            return no_logprobs(self.name)
        return failure(error.code, said(error.message, request), _retry_after(error))


def _open(credentials: Credentials | None, location: str, timeout: float) -> tuple[Client, httpx.AsyncClient]:
    with needs("vertex", "google-genai"):
        import google.auth
        import httpx
        from google import genai
        from google.auth.exceptions import DefaultCredentialsError
    project = os.environ.get("GOOGLE_CLOUD_PROJECT")
    try:
        if credentials is None:
            credentials, default = google.auth.default(scopes=[SCOPE])
            project = project or default
    except DefaultCredentialsError:
        raise InputError(f"vertex: no Google Cloud credentials; {LOGIN}, or choose another --teacher") from None
    if not project:
        raise InputError("vertex: no project; set GOOGLE_CLOUD_PROJECT to the Google Cloud project that pays")
    # With a client of ours the SDK does not use aiohttp, under which it asks again by itself after lost connections.
    http = httpx.AsyncClient(limits=httpx.Limits(max_keepalive_connections=64))
    options = {"httpx_async_client": http, "timeout": round(timeout * 1000), "retry_options": {"attempts": 1}}
    client = genai.Client(
        vertexai=True, project=project, location=location, credentials=credentials, http_options=options
    )
    return client, http


def _config(model: str, request: Request) -> dict[str, Any]:
    """GenerateContentConfig for one request."""
    config: dict[str, Any] = {
        "max_output_tokens": request.max_new_tokens,
        "seed": 0,
        "automatic_continuation": False,  # else the SDK asks several times for one answer
        **_generation(model),
    }
    if request.instruction:
        config["system_instruction"] = request.instruction
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


def _elsewhere() -> str:
    """``@host`` of an endpoint that is not Google's own."""
    host = urlsplit(os.environ.get("GOOGLE_VERTEX_BASE_URL", "")).netloc.rpartition("@")[2].lower()
    return f"@{host}" if host and not host.endswith(".googleapis.com") else ""
