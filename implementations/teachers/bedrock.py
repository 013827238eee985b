"""Models on Amazon Bedrock through its Converse API: ``bedrock:MODEL``, a model id or that of an inference profile.

Gives text. Credentials come from boto3's own chain: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, single
sign-on, the machine's role, or a Bedrock API key in AWS_BEARER_TOKEN_BEDROCK. AWS_REGION or AWS_DEFAULT_REGION names
the region, and AWS_ENDPOINT_URL_BEDROCK_RUNTIME another endpoint.

One API stands before models that differ in what they take, and none tells. So a request begins with everything that
serves distillation (no randomness, no thinking, a cached instruction, an enforced schema); what a model refuses by name
is left out from then on, and the request asked again at once. A refusal of that kind is not charged.
"""

from __future__ import annotations

import asyncio
import os
import re
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..errors import InputError
from ..registry import PLATFORMS
from .teacher import Answer, Busy, Dropped, Kind, Rejected, Request
from .wire import failure, kind_of, lost, needs, said

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
BUSY = {"ThrottlingException", "ServiceQuotaExceededException", "ModelNotReadyException", "TooManyRequestsException"}
CREDENTIALS = (
    "run: aws configure, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE or AWS_BEARER_TOKEN_BEDROCK"
)


def open_teacher(model: str) -> BedrockTeacher:
    """The teacher for a model or inference profile. Raises InputError without the package, credentials or a region."""
    teacher = BedrockTeacher(model)
    _ = teacher.client
    return teacher


class BedrockTeacher:
    """A model on Bedrock. ``timeout`` is in seconds, for one whole answer; boto3 waits in ``threads`` threads."""

    platform, folder, gives = "bedrock", None, PLATFORMS["bedrock"].gives

    def __init__(self, model: str, timeout: float = 120.0, threads: int = 64):
        self.model, self.timeout, self.threads = model, timeout, threads
        self.name = f"bedrock:{model}"
        self.identity = f"{self.name}{_elsewhere()}"
        self._client: BaseClient | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._takes = set(NAMED)

    @property
    def client(self) -> BaseClient:
        """boto3's client, made on first use and again after ``close``."""
        if self._client is None:
            self._client = _open(self.timeout, self.threads)
            self._pool = ThreadPoolExecutor(self.threads, thread_name_prefix="bedrock")
        return self._client

    async def ask(self, request: Request) -> Answer:
        if request.top_logprobs:
            raise InputError(f"{self.name}: Bedrock returns no log-probabilities; choose another --teacher")
        while True:
            body, sent = self._body(request)
            try:
                return _answer(await self._call(self.client.converse, body), request)
            except InputError:
                raise
            except Exception as error:
                refused = _refused(error, sent)
                if refused is None:
                    raise self._failure(error, request) from None
                self._takes.discard(refused)

    async def count_tokens(self, request: Request) -> int:
        """Bedrock's count where it counts for this model and account; else an estimate of four characters a token."""
        body, _ = self._body(request)
        parts = {name: body[name] for name in ("messages", "system") if name in body}
        try:
            arguments = {"modelId": self.model, "input": {"converse": parts}}
            return (await self._call(self.client.count_tokens, arguments))["inputTokens"]
        except InputError:
            raise
        except Exception as error:
            if _code(error) in ("ValidationException", "AccessDeniedException"):
                return len(f"{request.instruction} {request.prompt}") // 4 + 1
            raise self._failure(error, request) from None

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            client.close()

    async def _call(self, operation: Any, arguments: dict[str, Any]) -> dict[str, Any]:
        async with asyncio.timeout(self.timeout):
            call = partial(operation, **arguments)
            return await asyncio.get_running_loop().run_in_executor(self._pool, call)

    def _body(self, request: Request) -> tuple[dict[str, Any], set[str]]:
        """The arguments of ``converse``, and which of NAMED they hold."""
        wanted = {"temperature"}
        if "anthropic.claude-" in self.model:
            wanted |= {next((name for name in LESS_THINKING if name in self._takes), "effort")}
        if any(family in self.model for family in CACHING) and request.instruction:
            wanted |= {"cache"}
        if request.schema is not None:
            wanted |= {"schema"}
        sent = wanted & self._takes
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
        return body, sent

    def _failure(self, error: Exception, request: Request) -> Busy | Dropped | Rejected | InputError:
        from botocore.exceptions import (
            BotoCoreError,
            ClientError,
            ConnectionError,
            HTTPClientError,
            IncompleteReadError,
        )

        if isinstance(error, BotoCoreError) and not isinstance(
            error, (ConnectionError, HTTPClientError, IncompleteReadError)
        ):
            return InputError(f"{self.name}: boto3 cannot ask ({type(error).__name__}); {CREDENTIALS}")
        if not isinstance(error, ClientError):
            return lost(error)
        response, message = error.response["ResponseMetadata"], error.response["Error"].get("Message", "")
        status, code = response["HTTPStatusCode"], _code(error)
        if code == "AccessDeniedException":
            return InputError(
                f"{self.name}: access denied (HTTP {status}); allow the identity bedrock:InvokeModel on the model, and "
                "check in the Bedrock console that the account has access to it"
            )
        if status in (401, 403):
            return InputError(f"{self.name}: AWS refused the credentials (HTTP {status}, {code}); {CREDENTIALS}")
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
        return failure(429 if code in BUSY else status, reason, response["HTTPHeaders"].get("retry-after"))


def _open(timeout: float, threads: int) -> BaseClient:
    with needs("bedrock", "boto3"):
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, NoRegionError
    config = Config(
        retries={"total_max_attempts": 1},
        connect_timeout=timeout,
        read_timeout=timeout,
        max_pool_connections=threads,
        tcp_keepalive=True,
    )
    try:
        session = boto3.Session()
        if session.get_credentials() is None and not os.environ.get("AWS_BEARER_TOKEN_BEDROCK"):
            raise InputError(f"bedrock: no AWS credentials; {CREDENTIALS}, or choose another --teacher")
        # boto3 itself reads AWS_DEFAULT_REGION alone.
        return session.client("bedrock-runtime", region_name=os.environ.get("AWS_REGION") or None, config=config)
    except NoRegionError:
        raise InputError("bedrock: no region; set AWS_REGION to one that offers the model") from None
    except BotoCoreError as error:
        raise InputError(f"bedrock: boto3 cannot start ({type(error).__name__}); {CREDENTIALS}") from None


def _refused(error: Exception, sent: set[str]) -> str | None:
    """Which of the names that were ``sent`` the model says it does not take."""
    if _code(error) not in ("ValidationException", "AccessDeniedException"):
        return None
    message = error.response["Error"].get("Message", "")
    return next((name for name in NAMED if name in sent and re.search(NAMED[name], message, re.IGNORECASE)), None)


def _code(error: Exception) -> str:
    response = getattr(error, "response", None)
    return response["Error"].get("Code", "") if isinstance(response, dict) and "Error" in response else ""


def _answer(response: dict[str, Any], request: Request) -> Answer:
    usage, end = response["usage"], response["stopReason"]
    text = "".join(part.get("text", "") for part in response["output"]["message"]["content"]).strip()
    read, written = usage.get("cacheReadInputTokens", 0), usage.get("cacheWriteInputTokens", 0)
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


def _elsewhere() -> str:
    """``@host`` of an endpoint that is not Amazon's own: it may serve other weights by the same name."""
    url = os.environ.get("AWS_ENDPOINT_URL_BEDROCK_RUNTIME") or os.environ.get("AWS_ENDPOINT_URL") or ""
    host = urlsplit(url).netloc.rpartition("@")[2].lower()
    return f"@{host}" if host and not host.endswith((".amazonaws.com", ".amazonaws.com.cn", ".api.aws")) else ""
