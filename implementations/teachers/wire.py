"""What the teachers behind an API share: an answer's kind, a failure's class, a reason that gives nothing away."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from hashlib import sha256
from ipaddress import ip_address
from urllib.parse import urlsplit

from ..errors import InputError
from .teacher import Busy, Dropped, Kind, Rejected, Request

DIGITS = 16  # hexadecimal, of a digest of keys
LONGEST_REASON = 160  # characters
SHORTEST_ECHO = 16  # characters of a request that may not come back in a reason
TEMPLATE = 8  # tokens around instruction and prompt, for the estimate
# What each SDK raises when no connection was made: nothing went out, so nothing can have been charged.
NEVER_SENT = {
    "ConnectError",
    "ConnectTimeout",
    "ConnectTimeoutError",
    "EndpointConnectionError",
    "ConnectionRefusedError",
}


def digest(keys: Iterable[str]) -> str:
    """What the name of a job says of its requests: nobody else's job is taken for it, be it of the same size."""
    return sha256("".join(sorted(keys)).encode()).hexdigest()[:DIGITS]


def estimated_tokens(request: Request) -> int:
    """Tokens of instruction and prompt where no platform counts them: four characters each."""
    return -(-len(request.instruction + request.prompt) // 4) + TEMPLATE


def kind_of(text: str, request: Request, truncated: bool = False, refused: bool = False) -> Kind:
    """What ``text``, stripped, is as the answer to ``request``, when the platform says how generation ended."""
    if refused:
        return Kind.REFUSED
    if not text:
        return Kind.EMPTY
    if truncated:
        return Kind.TRUNCATED
    return Kind.COMPLETE if request.schema is None or _is_json(text, json.loads(request.schema)) else Kind.MALFORMED


def _is_json(text: str, schema: dict) -> bool:
    try:
        return follows(json.loads(text), schema)
    except ValueError:
        return False


TYPES = {"object": dict, "array": list, "string": str, "number": (int, float), "integer": int, "boolean": bool}


def follows(value: object, schema: dict) -> bool:
    """Whether ``value`` has the types, the required keys and the enumerated values that ``schema`` asks for.

    Other keywords, which platforms themselves support in part only, are taken as met.
    """
    if "enum" in schema and value not in schema["enum"]:
        return False
    kind = schema.get("type")
    if isinstance(kind, str) and kind in TYPES and not isinstance(value, TYPES[kind]):
        return False
    if isinstance(value, bool) and kind in ("number", "integer"):
        return False
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        return all(key in value for key in schema.get("required", [])) and all(
            follows(value[key], properties[key]) for key in properties if key in value
        )
    return not isinstance(value, list) or all(follows(item, schema.get("items", {})) for item in value)


def failure(status: int, reason: str, retry_after: str | None = None) -> Busy | Dropped | Rejected:
    """The exception for an HTTP status that is about this request or this moment, not about the key or the model.

    ``retry_after`` is the header of that name. What the platform returned as an error is not charged.
    """
    reason = f"HTTP {status}{f': {reason}' if reason else ''}"
    if status in (429, 503, 529):
        return Busy(reason, pause(retry_after))
    if status in (408, 409, 499) or status >= 500:  # 499: Google cancelled it
        return Dropped(reason, billed=False)
    return Rejected(reason)


def lost(error: BaseException) -> Dropped:
    """The exception for an answer that never came or could not be read, named by its type alone."""
    return Dropped(f"no usable answer ({type(error).__name__})", billed=not any(map(_never_sent, _chain(error))))


def _never_sent(error: BaseException) -> bool:
    return type(error).__name__ in NEVER_SENT


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def pause(retry_after: str | None) -> float | None:
    """Seconds to wait by a Retry-After header, given as seconds or as a date; None where it says neither."""
    if not retry_after:
        return None
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        until = parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    return max(0.0, (until.replace(tzinfo=until.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def said(message: object, request: Request) -> str:
    """A platform's message as one short line, or nothing where it repeats the request. Keys and tokens are cut out."""
    line = " ".join(str(message or "").split())
    content = " ".join(f"{request.instruction} {request.prompt}".split())
    echoes = any(line[i : i + SHORTEST_ECHO] in content for i in range(len(line) - SHORTEST_ECHO + 1))
    if echoes or (request.prompt.strip() and request.prompt.strip() in line):
        return ""
    line = re.sub(r"\bsk-\S+|(?=\S*\d)[\w+/=*-]{20,}", "…", line)
    return line if len(line) <= LONGEST_REASON else f"{line[: LONGEST_REASON - 1]}…"


def is_here(address: str) -> bool:
    """Whether ``address``, a URL or HOST:PORT, is on this machine."""
    host = urlsplit(address if "//" in address else f"//{address}").hostname or "localhost"
    try:
        return ip_address(host).is_loopback or ip_address(host).is_unspecified
    except ValueError:  # a name
        return host == "localhost"


def no_logprobs(name: str) -> InputError:
    """The error of a teacher whose model was asked for log-probabilities and gave none."""
    return InputError(
        f"{name}: the model returns no log-probabilities; choose another --teacher, or a pattern that needs text alone"
    )


@contextmanager
def needs(platform: str, package: str) -> Iterator[None]:
    """Turn a failing import of ``package`` into an InputError that says how to install it."""
    try:
        yield
    except ImportError as error:
        raise InputError(f"{platform} needs the package {package}; run: pip install -e '.[{platform}]'") from error
