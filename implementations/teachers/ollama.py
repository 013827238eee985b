"""Ollama's server, on this machine or another: ``ollama:MODEL``.

Gives text, and with server 0.12.11 or later the log-probabilities of the likeliest tokens. No key; OLLAMA_HOST points
it at another server, and OLLAMA_API_KEY is sent there where it is set. Answers are greedy. Thinking is switched off; of
models that cannot stop (gpt-oss) the least is asked, and what they think counts against the token limit.

A prompt that does not fit the server's context is an error. Servers before 0.12.6 cut it without a word.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from ..errors import InputError, ModelMissing
from ..registry import PLATFORMS
from .prices import provider_of
from .teacher import Answer, Destination, Dropped, Rejected, Request
from .wire import estimated_tokens, failure, is_here, kind_of, lost, needs, said

if TYPE_CHECKING:
    from ollama import AsyncClient, ChatResponse, Client, ListResponse, ResponseError
    from ollama._types import Logprob

LOGPROBS_SINCE = (0, 12, 11)
PULL_TIMEOUT = 600.0  # seconds without a word; checking what was downloaded takes long and says nothing
NEVER_STOP_THINKING = {"gptoss", "gpt-oss"}  # families that take a level of thinking and no end of it


def open_teacher(model: str) -> OllamaTeacher:
    """The teacher for a name such as ``llama3.2:3b``. Raises InputError without package, server or model."""
    return OllamaTeacher(model)


class OllamaTeacher:
    """A model that an Ollama server has. ``timeout`` is in seconds for one answer.

    It is long, for a server takes a few requests at a time, the others wait there, and the first one waits until the
    model is loaded. The server is asked for the model's digest at once: a name can come to mean other weights.
    ``leaves_machine`` is whether prompts go elsewhere: to another host, or by this one to a model in Ollama's cloud.
    """

    platform, folder, gives = "ollama", None, PLATFORMS["ollama"].gives

    def __init__(self, model: str, timeout: float = 600.0):
        self.model, self.timeout = model, timeout
        self.name = f"ollama:{model}"
        found = _find(model, timeout)
        self.identity = f"ollama:{found.model}@{found.digest}"
        self.leaves_machine = not is_here(address()) or str(found.model).endswith("cloud")
        family = found.details.family if found.details else ""
        self._think: bool | str = "low" if family in NEVER_STOP_THINKING else False
        self._client: AsyncClient | None = None
        self._gives_logprobs = False

    @property
    def client(self) -> AsyncClient:
        """The SDK's client, made on first use and again after ``close``."""
        if self._client is None:
            import ollama

            self._client = ollama.AsyncClient(timeout=self.timeout)
        return self._client

    async def ask(self, request: Request) -> Answer:
        import ollama

        with self._failures(request):
            async with asyncio.timeout(self.timeout):
                if request.top_logprobs and not self._gives_logprobs:
                    await self._check_version()
                # AsyncClient.chat cannot send truncate and shift, without which the server cuts what is too long.
                response = await self.client._request(
                    ollama.ChatResponse, "POST", "/api/chat", json=self._body(request)
                )
        return self._answer(response, request)

    async def count_tokens(self, request: Request) -> int:
        """An estimate of four characters a token: the API counts only while it answers, which costs nothing."""
        return estimated_tokens(request)

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    def _body(self, request: Request) -> dict[str, Any]:
        system = [{"role": "system", "content": request.instruction}] * bool(request.instruction)
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [*system, {"role": "user", "content": request.prompt}],
            "stream": False,
            "think": self._think,
            "truncate": False,
            "shift": False,
            "options": {"num_predict": request.max_new_tokens, "temperature": 0, "seed": 0},
        }
        if request.schema is not None:
            body["format"] = json.loads(request.schema)
        if request.top_logprobs:
            body |= {"logprobs": True, "top_logprobs": request.top_logprobs}
        return body

    async def _check_version(self) -> None:
        version = str((await self.client._request(dict, "GET", "/api/version"))["version"])
        number = tuple(map(int, re.findall(r"\d+", version)[:3]))
        if (0, 0, 0) < number < LOGPROBS_SINCE:  # a build from source calls itself 0.0.0
            raise InputError(
                f"ollama: the server at {address()} is version {version}, and log-probabilities need "
                f"{'.'.join(map(str, LOGPROBS_SINCE))}; update it (https://ollama.com/download)"
            )
        self._gives_logprobs = True

    def _answer(self, response: ChatResponse, request: Request) -> Answer:
        if not response.done:
            raise Dropped("the answer breaks off", billed=False)
        text = (response.message.content or "").strip()
        truncated = response.done_reason == "length"
        if request.top_logprobs and text and not response.logprobs:
            raise InputError(f"{self.name} returns no log-probabilities; choose another --teacher")
        return Answer(
            text,
            kind_of(text, request, truncated),
            response.prompt_eval_count or 0,
            response.eval_count or 0,
            reason="the token limit was reached before any text" if truncated and not text else "",
            top_logprobs=tuple(map(_likeliest, response.logprobs))
            if request.top_logprobs and response.logprobs
            else None,
        )

    @contextmanager
    def _failures(self, request: Request) -> Iterator[None]:
        """Turn what the SDK raises into Busy, Dropped, Rejected or InputError."""
        import httpx
        import ollama

        try:
            yield
        except ollama.ResponseError as error:
            raise self._failure(error, request) from None
        except (httpx.HTTPError, OSError, ValueError, AttributeError, TypeError, KeyError) as error:
            # Connection and time are OSErrors, too; the others are bodies of another shape.
            raise lost(error) from None

    def _failure(self, error: ResponseError, request: Request) -> Exception:
        status, message = error.status_code, str(error.error)
        if status == 404:
            return _no_such_model(self.model)
        if status in (401, 403):
            return InputError(
                f"{self.name}: the server at {address()} wants you signed in (HTTP {status}); run: ollama signin, or "
                "set OLLAMA_API_KEY"
            )
        reason = said(message, request)
        if "requires more system memory" in message or "does not support" in message:
            return InputError(f"{self.name}: {reason}; choose another model")
        if re.search(r"exceed\w* .*context", message):
            return Rejected(
                "the prompt does not fit the server's context; set OLLAMA_CONTEXT_LENGTH to more before it starts"
            )
        # The SDK keeps the text of a response and not its headers.
        response = getattr(error.__context__, "response", None)
        return failure(status, reason, response.headers.get("retry-after") if response else None)


def pull(model: str, on_progress: Callable[[int, int], None]) -> None:
    """Have the server download ``model``. ``on_progress`` gets the bytes it has and those in all.

    Blocks until the model is there. Raises InputError, also when the download breaks off; a second one goes on there.
    """
    with needs("ollama", "ollama"):
        import httpx
    layers: dict[str, tuple[int, int]] = {}
    status = ""
    with asking(PULL_TIMEOUT) as client, suppress(httpx.ReadError, httpx.ReadTimeout, httpx.RemoteProtocolError):
        for step in client.pull(model, stream=True):
            status = step.status or ""
            if step.digest:
                layers[step.digest] = (step.completed or 0, step.total or 0)
            on_progress(sum(done for done, _ in layers.values()), sum(total for _, total in layers.values()))
    if status != "success":
        raise InputError(f"ollama: the download of {model} broke off; run: ollama pull {model}")


def _find(model: str, timeout: float) -> ListResponse.Model:
    """What the server says of ``model``, whose tag is ``latest`` where none is given."""
    name = model if ":" in model.rpartition("/")[2] else f"{model}:latest"
    with asking(timeout) as client:
        models = client.list().models
    for found in models:
        if (found.model or "").lower() == name.lower():
            return found
    raise _no_such_model(model)


@contextmanager
def asking(timeout: float) -> Iterator[Client]:
    """A client for a question before any request, when whatever fails is for the user to mend."""
    with needs("ollama", "ollama"):
        import httpx
        import ollama
    try:
        with ollama.Client(timeout=timeout) as client:
            yield client
    except ollama.ResponseError as error:
        message = " ".join(str(error.error).split())
        raise InputError(f"ollama: the server at {address()} says: {message}") from None
    except (ConnectionError, httpx.ConnectError):
        raise InputError(
            f"no Ollama server at {address()}; start one: ollama serve (https://ollama.com/download)"
        ) from None
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, AttributeError, TypeError) as error:
        raise InputError(
            f"ollama: no Ollama server answers at {address()} ({type(error).__name__}); check OLLAMA_HOST"
        ) from None


def _no_such_model(model: str) -> ModelMissing:
    return ModelMissing(f"ollama: no model {model} at {address()}; run: ollama pull {model}", partial(pull, model))


def destination(model: str) -> Destination:
    """A name of Ollama's cloud is not on this machine, whichever server is asked; only a server knows its aliases."""
    return Destination(leaves_machine=not is_here(address()) or provider_of("ollama", model)[0] != "local")


def address() -> str:
    """Where the server is said to be, without credentials."""
    return (os.environ.get("OLLAMA_HOST") or "http://127.0.0.1:11434").rpartition("@")[2]


def _likeliest(token: Logprob) -> tuple[tuple[str, float], ...]:
    others = ((other.token, other.logprob) for other in token.top_logprobs or ())
    return ((token.token, token.logprob), *(other for other in others if other[0] != token.token))
