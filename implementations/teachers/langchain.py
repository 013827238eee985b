"""LangChain: any chat model it can open, by the name that ``init_chat_model`` takes: ``langchain:PROVIDER:MODEL``.

Gives text; log-probabilities of the likeliest tokens are asked of chat models that take them, and it is an error when
none come back. Key and endpoint come from the provider's own variables: OPENAI_API_KEY and OPENAI_BASE_URL,
ANTHROPIC_API_KEY and ANTHROPIC_BASE_URL, OLLAMA_HOST, and so on. vLLM, TGI and llama-server are
``langchain:openai:MODEL`` with OPENAI_BASE_URL=http://HOST:PORT/v1 and any text as OPENAI_API_KEY. Where
LANGSMITH_TRACING is set, LangChain sends every prompt there as well.

Thinking is set to the least where LangChain knows how a model takes that. Elsewhere, as with Claude, it runs by the
provider's defaults and counts against the token limit; ``claude:MODEL`` switches it off.
"""

from __future__ import annotations

import asyncio
import json
import os
from functools import reduce
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..errors import InputError
from ..registry import PLATFORMS
from .endings import REFUSED, TRUNCATED
from .prices import provider_of
from .teacher import Answer, Busy, Destination, Dropped, Rejected, Request
from .wire import failure, is_here, kind_of, lost, needs, no_logprobs, said

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessage, BaseMessage
    from langchain_core.messages.ai import UsageMetadata
    from langchain_core.runnables import Runnable

# The variables that point a provider elsewhere, the first that is set counts; and its own host.
ENDPOINTS = {
    "openai": (("OPENAI_API_BASE", "OPENAI_BASE_URL"), "api.openai.com"),
    "anthropic": (("ANTHROPIC_API_URL", "ANTHROPIC_BASE_URL"), "api.anthropic.com"),
    "ollama": (("OLLAMA_HOST",), ""),
}
LIMITS = ("max_tokens", "num_predict", "max_output_tokens")  # what chat models call the most new tokens
SPENT = "the token limit was spent before any text; a model that thinks needs a higher one"


def open_teacher(model: str) -> LangChainTeacher:
    """The teacher for ``PROVIDER:MODEL``. Raises InputError for a missing package or key before anything is asked."""
    teacher = LangChainTeacher(model)
    _ = teacher.chat
    return teacher


class LangChainTeacher:
    """A chat model of LangChain's.

    ``chat`` is a chat model or a chain of your own that ends in one, which you close; ``model`` is then its name, and
    two that answer differently need two names. A chain keeps its own token limit. ``timeout`` is in seconds.

    What LangChain adds to a model of your own works on: a rate limiter is waited for, the tokens of every model in a
    chain are counted, and an answer from a cache costs nothing. Retries are better left out: the ledger counts
    requests, and asks again by itself.
    """

    platform, folder, gives = "langchain", None, PLATFORMS["langchain"].gives

    def __init__(self, model: str, chat: Runnable | None = None, timeout: float = 120.0):
        self.model, self.timeout = model, timeout
        self.name = f"langchain:{model}"
        self.identity = self.name if chat is not None else Destination(_elsewhere(model)).identity(self.name)
        self._given, self._opened = chat, None

    @property
    def leaves_machine(self) -> bool:
        """Whether prompts go elsewhere, as far as the endpoint's address tells."""
        return self._given is not None or not _stays_here(self.model)

    @property
    def chat(self) -> Runnable:
        """The chat model, opened on first use and again after ``close``."""
        if self._given is not None:
            return self._given
        if self._opened is None:
            self._opened = _open(self.model, self.timeout)
        return self._opened

    async def ask(self, request: Request) -> Answer:
        from langchain_core.callbacks import UsageMetadataCallbackHandler

        chat, spent = self._for(request), UsageMetadataCallbackHandler()
        if limiter := getattr(self.chat, "rate_limiter", None):
            await limiter.aacquire()
        try:
            async with asyncio.timeout(self.timeout):
                message = await chat.ainvoke(self._messages(request), {"callbacks": [spent]})
            return self._answer(message, request, list(spent.usage_metadata.values()))
        except (InputError, Dropped):
            raise
        except Exception as error:
            raise self._failure(error, request) from None

    async def count_tokens(self, request: Request) -> int:
        """Anthropic's own count; elsewhere LangChain's estimate of four characters a token."""
        from langchain_core.messages.utils import count_tokens_approximately

        messages = self._messages(request)
        if not _speaks_anthropic(self.chat):
            return count_tokens_approximately(messages)
        try:
            async with asyncio.timeout(self.timeout):
                return await asyncio.to_thread(self.chat.get_num_tokens_from_messages, messages)
        except Exception as error:
            raise self._failure(error, request) from None

    async def close(self) -> None:
        chat, self._opened = self._opened, None
        if chat is not None and _provider(self.model) in ENDPOINTS:  # the clients of others are LangChain's to keep
            client = getattr(chat, "root_async_client", None) or chat._async_client
            await client.close()

    def _messages(self, request: Request) -> list[BaseMessage]:
        from langchain_core.messages import HumanMessage, SystemMessage

        instruction: Any = request.instruction
        if _speaks_anthropic(self.chat):  # others cache a shared beginning unasked
            instruction = [{"type": "text", "text": instruction, "cache_control": {"type": "ephemeral"}}]
        return [SystemMessage(instruction)] * bool(request.instruction) + [HumanMessage(request.prompt)]

    def _for(self, request: Request) -> Runnable:
        """The chat model with this request's limit, schema and log-probabilities bound to it."""
        from langchain_core.language_models import BaseChatModel

        chat = self.chat
        fields = getattr(type(chat), "model_fields", {})
        if request.top_logprobs and ("top_logprobs" not in fields or getattr(chat, "use_responses_api", False)):
            raise no_logprobs(self.name)
        if not isinstance(chat, BaseChatModel):
            return chat
        limit = next((name for name in LIMITS if name in fields), None)
        limits = {limit: request.max_new_tokens} if limit else {}
        chat = chat.model_copy(update={"rate_limiter": None, **limits})  # whose wait would count against the timeout
        bound: dict[str, Any] = {}
        if request.top_logprobs:
            bound |= {"logprobs": True, "top_logprobs": request.top_logprobs}
        if request.schema is not None:
            bound["response_format"] = _response_format(json.loads(request.schema))
        if "extra_body" in fields and not getattr(chat, "use_responses_api", False):
            bound["extra_body"] = self._extra_body(chat, request, bound.pop("response_format", None))
        return chat.bind(**bound)

    def _extra_body(self, chat: BaseChatModel, request: Request, response_format: dict | None) -> dict[str, Any]:
        """What goes past LangChain into the request of a server that speaks OpenAI's protocol."""
        extra = dict(chat.extra_body or {})
        if response_format:
            # Given to LangChain, it would have the SDK parse the answer, which raises away truncated and filtered ones.
            extra["response_format"] = response_format
        host = chat.root_async_client.base_url.host
        if not host.endswith((".openai.com", ".azure.com")):
            # TGI, and llama-server before 2026, ignore max_completion_tokens; OpenAI's newer models refuse this one.
            extra["max_tokens"] = request.max_new_tokens
        return extra

    def _answer(self, message: AIMessage, request: Request, spent: list[UsageMetadata]) -> Answer:
        """``spent`` is the usage of each model that was asked, where a chain asks several."""
        from langchain_core.messages import AIMessage
        from langchain_core.messages.ai import add_usage
        from langchain_core.messages.utils import count_tokens_approximately

        if not isinstance(message, AIMessage):
            what = type(message).__name__
            raise InputError(f"{self.name}: its chain gives a {what}, no AIMessage; end it with the chat model")
        end, usage = _end(message), message.usage_metadata
        if self._given is None and not end and not usage:
            raise Dropped("the answer breaks off")
        text = str(message.text).strip()
        truncated = end in TRUNCATED
        kind = kind_of(text, request, truncated, end in REFUSED or bool(message.additional_kwargs.get("refusal")))
        logprobs = _top_logprobs(message) if request.top_logprobs else None
        if request.top_logprobs and text and not logprobs:
            raise no_logprobs(self.name)
        if usage and usage.get("total_cost") == 0:  # LangChain's mark of an answer from its cache
            usage = {"input_tokens": 0, "output_tokens": 0}
        elif spent:
            usage = reduce(add_usage, spent)
        elif not usage:  # a server that does not count
            usage = {
                "input_tokens": count_tokens_approximately(self._messages(request)),
                "output_tokens": count_tokens_approximately([message]),
            }
        cached = usage.get("input_token_details") or {}
        # Anthropic's cache writes come under the names of their lifetimes.
        written = ("cache_creation", "ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens")
        return Answer(
            text,
            kind,
            usage["input_tokens"],
            usage["output_tokens"],
            reason=SPENT if truncated and not text else "",
            cache_read_tokens=cached.get("cache_read") or 0,
            cache_write_tokens=sum(cached.get(name) or 0 for name in written),
            top_logprobs=logprobs,
        )

    def _failure(self, error: Exception, request: Request) -> Busy | Dropped | Rejected | InputError:
        """What an exception of any provider's SDK means; they agree on ``status_code``, ``response`` and ``body``."""
        response = getattr(error, "response", None)
        status = getattr(error, "status_code", None) or getattr(response, "status_code", None)
        if not isinstance(status, int) or status < 400:
            return lost(error)
        details = _details(error)
        reason, code = details.get("message") or getattr(error, "error", ""), details.get("code")
        if status in (401, 402, 403) or code == "insufficient_quota":
            keys = " or ".join(getattr(self.chat, "lc_secrets", {}).values()) or "the provider's key"
            return InputError(
                f"{self.name}: the provider refused this account (HTTP {status}); check {keys} and its quota"
            )
        if status == 404:
            variables, _ = ENDPOINTS.get(_provider(self.model), ((), ""))
            where = "".join(f" and {name}" for name in variables if os.environ.get(name))
            return InputError(f"{self.name}: no such model there (HTTP 404); check the model's name{where}")
        if request.top_logprobs and status == 400 and "logprob" in str(reason).lower():
            return no_logprobs(self.name)
        return failure(status, said(reason, request), getattr(response, "headers", {}).get("retry-after"))


def _open(model: str, timeout: float) -> BaseChatModel:
    """The chat model of that name, without retries of its own."""
    with needs("langchain", "langchain"):
        from langchain.chat_models import init_chat_model
    name, provider = f"langchain:{model}", _provider(model)
    if not provider:
        raise InputError(f"{name}: which provider? give langchain:PROVIDER:MODEL, such as langchain:openai:gpt-4.1")
    options: dict[str, Any] = {"timeout": timeout, "max_retries": 0}
    if provider == "ollama":
        options = {"client_kwargs": {"timeout": timeout}, "reasoning": False}
    try:
        if provider == "openai":  # LangChain shares one HTTP client in the process, which cannot change event loops
            import openai

            options["http_async_client"] = openai.DefaultAsyncHttpxClient(timeout=timeout)
        chat = init_chat_model(model, **options)
        secrets = chat.lc_secrets
        if secrets and not any(_text(getattr(chat, field, None)) for field in secrets):
            raise InputError(_no_key(name, provider, " or ".join(secrets.values())))
        if provider == "anthropic":
            import anthropic

            shared = chat._async_client
            vars(chat)["_async_client"] = shared.with_options(http_client=anthropic.DefaultAsyncHttpxClient())
    except InputError:
        raise
    except ImportError as error:
        package = str(error).partition("the ")[2].partition(" package")[0] or f"langchain-{provider}"
        raise InputError(f"{name} needs the package {package}; run: pip install {package}") from error
    except Exception as error:
        if "api_key" in str(error):
            raise InputError(_no_key(name, provider, f"{provider.upper()}_API_KEY")) from None
        line = str(error).strip().partition("\n")[0]
        raise InputError(f"{name}: LangChain cannot open it ({line}); check provider and model") from None
    return chat.model_copy(update=_plain(chat, provider))


def _plain(chat: BaseChatModel, provider: str) -> dict[str, Any]:
    """No randomness and the least thinking, as far as LangChain's profile of the model knows that it takes them."""
    profile, settings = chat.profile or {}, {}
    if provider != "anthropic" and profile.get("temperature", True):
        settings["temperature"] = 0.0
    efforts = profile.get("reasoning_effort_levels")  # the lowest first
    if provider == "openai" and efforts and "-pro" not in profile.get("name", "").lower():
        settings["reasoning_effort"] = efforts[0]  # which the pro models refuse, whatever their profile says
    return settings


def _no_key(name: str, provider: str, variable: str) -> str:
    own = " (any text for a server of your own at OPENAI_BASE_URL)" if provider == "openai" else ""
    return f"{name}: no API key; set {variable}{own} or choose another --teacher"


def _text(secret: Any) -> str:
    return secret.get_secret_value() if hasattr(secret, "get_secret_value") else secret or ""


def _provider(model: str) -> str:
    provider, colon, _ = model.partition(":")
    return provider if colon else ""


def _speaks_anthropic(chat: Runnable) -> bool:
    return "anthropic_api_url" in getattr(type(chat), "model_fields", {})


def _endpoint(model: str) -> str:
    """What the environment says of where the provider's server is, nothing where it says nothing."""
    variables, _ = ENDPOINTS.get(_provider(model), ((), ""))
    return next((os.environ[name] for name in variables if os.environ.get(name)), "")


def destination(model: str) -> Destination:
    """Where the provider's variables say that its server is."""
    return Destination(_elsewhere(model), leaves_machine=not _stays_here(model))


def _stays_here(model: str) -> bool:
    """Whether the server is on this machine, and neither LangSmith nor Ollama's cloud gets every prompt as well."""
    endpoint = _endpoint(model) or ("localhost" if _provider(model) == "ollama" else "")
    cloud = provider_of("langchain", model)[0] == "ollama-cloud"  # the server here sends them on
    if cloud or not endpoint or not is_here(endpoint):
        return False
    with needs("langchain", "langchain"):
        from langsmith.utils import tracing_is_enabled
    return not tracing_is_enabled()


def _elsewhere(model: str) -> str:
    """``host:port/path`` of a server that is not the provider's own: it may serve other weights by the same name."""
    _, own = ENDPOINTS.get(_provider(model), ((), ""))
    url = _endpoint(model)
    parts = urlsplit(url if "//" in url else f"//{url}")
    host = parts.netloc.rpartition("@")[2].lower()  # without credentials
    return f"{host}{parts.path.rstrip('/')}" if host and host != own else ""


def _response_format(schema: dict) -> dict[str, Any]:
    """OpenAI's form, which the chat models of Anthropic and Ollama translate into their own.

    OpenAI holds an answer to the schema only when it is ``strict``, and then takes only closed objects.
    """
    closed = schema.get("additionalProperties") is False and set(schema.get("required", ())) == set(
        schema.get("properties", ())
    )
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": closed}}


def _end(message: AIMessage) -> str:
    """How generation ended, in the provider's word, lower case; nothing where it does not say."""
    data = message.response_metadata
    why = (data.get("incomplete_details") or {}).get("reason")  # OpenAI's Responses API
    ends = (why, data.get("finish_reason"), data.get("stop_reason"), data.get("done_reason"), data.get("status"))
    return str(next((end for end in ends if end), "")).lower()


def _top_logprobs(message: AIMessage) -> tuple[tuple[tuple[str, float], ...], ...] | None:
    """From OpenAI's form, ``{"content": [token, …]}``, and Ollama's, ``[token, …]``."""
    found = message.response_metadata.get("logprobs")
    tokens = found.get("content") if isinstance(found, dict) else found
    if not tokens:
        return None
    rows = []
    for token in tokens:
        chosen = (token["token"], float(token["logprob"]))
        others = ((other["token"], float(other["logprob"])) for other in token.get("top_logprobs") or [])
        rows.append((chosen, *(other for other in others if other[0] != chosen[0])))
    return tuple(rows)


def _details(error: Exception) -> dict[str, Any]:
    """The platform's error object, from inside the SDK's exception."""
    body = getattr(error, "body", None)
    details = body.get("error", body) if isinstance(body, dict) else None
    return details if isinstance(details, dict) else {}
