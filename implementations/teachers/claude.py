"""Claude through the Messages API, one request at a time or many as a batch job at half the price: ``claude:MODEL``.

Gives text. Credentials come from the SDK's own chain: ANTHROPIC_API_KEY, else ANTHROPIC_AUTH_TOKEN, else a profile or
workload identity of its configuration folder. ANTHROPIC_BASE_URL points it at another endpoint.

Newer models think before they answer. Thinking is billed, counts against the token limit and is no part of what a
student learns, so it is switched off where the model allows that, and set to the least effort where it does not.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..errors import InputError
from ..registry import PLATFORMS
from .teacher import Answer, Destination, Dropped, Kind, Rejected, Request
from .wire import failure, kind_of, lost, needs, said

if TYPE_CHECKING:
    from anthropic import APIStatusError, AsyncAnthropic
    from anthropic.types import Message
    from anthropic.types.messages import MessageBatch

MOST_IN_BATCH = 100_000  # requests, by the Message Batches API; it also takes no more than 256 MB
LEAST_WITH_THINKING = 1024  # tokens; the smallest budget for thinking that the API ever allowed
ALWAYS = {"type": "adaptive"}  # for models that think in any case
KEY = "set ANTHROPIC_API_KEY (https://platform.claude.com/settings/keys) or choose another --teacher"
COMPLETE = {"end_turn", "stop_sequence"}
TRUNCATED = {"max_tokens", "model_context_window_exceeded"}
# Words of errors that are about the account, though their status says that they are about the request.
ACCOUNT = ("credit balance", "usage limits", "organization has been disabled")


def open_teacher(model: str) -> ClaudeTeacher:
    """The teacher for a model id such as ``claude-haiku-5-5``. Raises InputError without the package or a key."""
    teacher = ClaudeTeacher(model)
    _ = teacher.client
    return teacher


class ClaudeTeacher:
    """A model of Anthropic's. ``timeout`` is in seconds, for one whole answer."""

    platform, folder, gives = "claude", None, PLATFORMS["claude"].gives
    why_no_jobs, least_in_job, untried = "", 1, False

    def __init__(self, model: str, timeout: float = 120.0):
        self.model, self.timeout = model, timeout
        self.name = f"claude:{model}"
        self.identity = destination(model).identity(self.name)
        self._client: AsyncAnthropic | None = None
        self._thinking: dict[str, Any] | None = None
        self._one_asks = asyncio.Lock()

    @property
    def client(self) -> AsyncAnthropic:
        """The SDK's client, made on first use and again after ``close``."""
        if self._client is None:
            self._client = _open(self.timeout)
        return self._client

    async def ask(self, request: Request) -> Answer:
        with self._failures(request):
            async with asyncio.timeout(self.timeout):
                message = await self.client.messages.create(**await self._body(request))
        return _answer(message, request)

    async def count_tokens(self, request: Request) -> int:
        """The API's own count, which costs nothing; it is an estimate by a few tokens."""
        with self._failures(request):
            async with asyncio.timeout(self.timeout):
                body = await self._body(request)
                del body["max_tokens"]
                return (await self.client.messages.count_tokens(**body)).input_tokens

    async def close(self) -> None:
        client, self._client, self._one_asks = self._client, None, asyncio.Lock()
        if client is not None:
            await client.close()

    async def submit(self, requests: dict[str, Request]) -> str:
        if len(requests) > MOST_IN_BATCH:
            raise InputError(
                f"{self.name}: {len(requests)} requests are more than the {MOST_IN_BATCH} that one batch takes; "
                "submit them as several"
            )
        with self._failures(batch=True):
            rows = [{"custom_id": key, "params": await self._body(request)} for key, request in requests.items()]
            batch = await self.client.messages.batches.create(requests=rows)
            return str(batch.id)

    async def find(self, since: datetime, keys: Collection[str]) -> list[str]:
        """By their number of requests: a batch has no name, and does not tell its ids before it has ended."""
        found = []
        with self._failures(batch=True):
            async with asyncio.timeout(self.timeout):
                async for batch in self.client.messages.batches.list(limit=100):
                    if batch.created_at < since:  # the newest come first
                        break
                    if _size(batch) == len(keys):
                        found.append(batch.id)
        return found

    async def progress(self, job: str) -> tuple[int, bool]:
        """How many are done, and whether all are. The API says 0 until the whole job has ended."""
        with self._failures(batch=True):
            async with asyncio.timeout(self.timeout):
                batch = await self.client.messages.batches.retrieve(job)
            return _size(batch) - batch.request_counts.processing, batch.processing_status == "ended"

    async def results(self, job: str) -> AsyncIterator[tuple[str, Answer | Exception]]:
        """(Key, answer or why there is none). The schema of a request is for the caller to check, who has it.

        Of a batch that was archived, 29 days after it was made, there is nothing.
        """
        with self._failures(batch=True):
            batch = await self.client.messages.batches.retrieve(job)
            if batch.processing_status != "ended":
                raise Dropped("the batch has not ended", billed=False)
            if batch.archived_at or not batch.results_url:
                return
            rows = await self.client.messages.batches.results(job)
            try:
                async for row in rows:
                    yield row.custom_id, _result(row.result)
            finally:
                await rows.close()

    async def cancel(self, job: str) -> None:
        with self._failures(batch=True):
            async with asyncio.timeout(self.timeout):
                await self.client.messages.batches.cancel(job)

    async def _body(self, request: Request) -> dict[str, Any]:
        """What ``messages.create`` takes for ``request``, which is also what a row of a batch holds."""
        thinking = await self._least_thinking()
        if thinking.get("thinking") == ALWAYS and request.max_new_tokens < LEAST_WITH_THINKING:
            raise InputError(
                f"{self.name} cannot answer without thinking, which counts against the limit of "
                f"{request.max_new_tokens} tokens; give --max-new-tokens {LEAST_WITH_THINKING} or more, or a model "
                "whose thinking can be switched off"
            )
        body = {
            "model": self.model,
            "max_tokens": request.max_new_tokens,
            "messages": [{"role": "user", "content": request.prompt}],
            **thinking,
        }
        if request.instruction:  # every request shares it, so it is read from the cache after the first
            cached = {"type": "text", "text": request.instruction, "cache_control": {"type": "ephemeral"}}
            body["system"] = [cached]
        if request.schema is not None:
            form = {"type": "json_schema", "schema": _accepted(json.loads(request.schema))}
            body["output_config"] = {**body.get("output_config", {}), "format": form}
        return body

    async def _least_thinking(self) -> dict[str, Any]:
        """The parameters that make this model think least, which the API is asked for once."""
        async with self._one_asks:
            if self._thinking is None:
                self._thinking = await self._ask_for_thinking()
            return self._thinking

    async def _ask_for_thinking(self) -> dict[str, Any]:
        from anthropic import NotFoundError

        try:
            types = (await self.client.models.retrieve(self.model)).capabilities.thinking.types
            for kind in ("disabled", "between_tools"):  # the second is what some models call the first
                if getattr(types, kind).supported:
                    return {"thinking": {"type": kind}}
        except (NotFoundError, AttributeError):  # no such model, or a server that says nothing about its models
            return {}
        return {"thinking": ALWAYS, "output_config": {"effort": "low"}}

    @contextmanager
    def _failures(self, request: Request | None = None, batch: bool = False) -> Iterator[None]:
        """Turn what the SDK raises into Busy, Dropped, Rejected or InputError."""
        with needs("claude", "anthropic"):
            import anthropic
            import httpx2
        try:
            yield
        except anthropic.APIStatusError as error:
            raise self._failure(error, request, batch) from None
        except anthropic.APIConnectionError as error:
            if isinstance(error.__cause__, httpx2.UnsupportedProtocol):
                raise InputError("claude: ANTHROPIC_BASE_URL is no URL; write it as https://HOST") from None
            raise lost(error) from None
        except anthropic.APIError as error:
            raise lost(error) from None
        except anthropic.AnthropicError as error:
            raise InputError(f"claude: no usable credentials ({type(error).__name__}); {KEY}") from None
        except (httpx2.HTTPError, TimeoutError, ValueError, AttributeError) as error:
            # The SDK does not check what it parses: a body of another shape shows when it is read.
            raise lost(error) from None

    def _failure(self, error: APIStatusError, request: Request | None, batch: bool) -> Exception:
        status, message = error.status_code, str(error.api_message or "")
        if status == 401:
            return InputError("claude: the key was refused (HTTP 401); check ANTHROPIC_API_KEY")
        if status == 403:
            return InputError(
                f"{self.name}: this key may not use it (HTTP 403); check the key's workspace and its models"
            )
        if status == 404 and not batch:
            where = " and ANTHROPIC_BASE_URL" if os.environ.get("ANTHROPIC_BASE_URL") else ""
            return InputError(f"{self.name}: no such model (HTTP 404); check the model's name{where}")
        code = error.error_code or ""
        if status == 402 or code.endswith("spend_limit_reached") or any(words in message for words in ACCOUNT):
            return InputError(
                f"{self.name}: the account may not spend more (HTTP {status}); see "
                "https://platform.claude.com/settings/billing and run the same command again"
            )
        if code == "organization_on_hold":
            return InputError(
                f"{self.name}: Anthropic has put the organization on hold (HTTP {status}); ask its support"
            )
        # Without the request at hand nobody can tell whether the message repeats it.
        reason = said(message, request) if request else ""
        return failure(status, reason or error.type or "", error.response.headers.get("retry-after"))


def _open(timeout: float) -> AsyncAnthropic:
    with needs("claude", "anthropic"):
        import anthropic
    try:
        client = anthropic.AsyncAnthropic(timeout=timeout, max_retries=0)
    except anthropic.AnthropicError as error:
        raise InputError(f"claude: no usable credentials ({type(error).__name__}); {KEY}") from None
    # A gateway may take its key from ANTHROPIC_CUSTOM_HEADERS.
    if client.credentials is None and not {"authorization", "x-api-key"} & {n.lower() for n in client.default_headers}:
        raise InputError(f"claude: no API key; {KEY}")
    return client


def destination(model: str) -> Destination:
    """Anthropic's own, unless ANTHROPIC_BASE_URL says otherwise."""
    parts = urlsplit(os.environ.get("ANTHROPIC_BASE_URL", ""))
    host = parts.netloc.rpartition("@")[2].lower()  # without credentials
    endpoint = f"{host}{parts.path.rstrip('/')}" if host and host != "api.anthropic.com" else ""
    return Destination(endpoint, leaves_machine=True)


def _accepted(schema: dict[str, Any]) -> dict[str, Any]:
    """``schema`` with what the API does not enforce moved into descriptions, and its objects closed, as it asks."""
    from anthropic import transform_schema

    try:
        return transform_schema(schema)
    except (ValueError, AssertionError):  # beyond what the SDK translates; the API says what it minds
        return schema


def _answer(message: Message, request: Request) -> Answer:
    """Raises Dropped when ``message`` lacks what every message has."""
    try:
        usage, stop = message.usage, str(message.stop_reason)
        text = "".join(block.text for block in message.content if block.type == "text").strip()
        read, written = usage.cache_read_input_tokens or 0, usage.cache_creation_input_tokens or 0
        prompt_tokens, completion_tokens = usage.input_tokens + read + written, int(usage.output_tokens)
    except (AttributeError, TypeError) as error:
        raise lost(error) from None
    kind, reason = kind_of(text, request, stop in TRUNCATED, stop == "refusal"), ""
    if stop == "refusal":
        reason = str(getattr(message.stop_details, "category", None) or "")
    elif stop in TRUNCATED:
        reason = "" if text else "the token limit was reached before any text"
    elif stop not in COMPLETE:
        kind, reason = Kind.FAILED, f"generation stopped for a reason unknown here ({stop})"
    return Answer(
        text, kind, prompt_tokens, completion_tokens, reason=reason, cache_read_tokens=read, cache_write_tokens=written
    )


def _size(batch: MessageBatch) -> int:
    counts = batch.request_counts
    return counts.processing + counts.succeeded + counts.errored + counts.canceled + counts.expired


def _result(result: Any) -> Answer | Exception:
    if result.type == "succeeded":
        try:
            return _answer(result.message, Request("", "", 0))
        except Dropped as error:
            return error
    if result.type == "errored":
        kind = result.error.error.type
        return Rejected(kind) if kind == "invalid_request_error" else Dropped(kind, billed=False)
    return Dropped(result.type, billed=False)  # canceled or expired
