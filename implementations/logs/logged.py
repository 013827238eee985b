"""One logged call of a model, whichever platform logged it, and what makes a record of a log useless."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from ..teachers.endings import REFUSED, TRUNCATED
from ..teachers.teacher import Kind


class Left(StrEnum):
    """Why a record was left out."""

    BROKEN = "not JSON"
    TOO_LONG = "a line of more than 16 MiB"
    UNKNOWN = "not of this format"
    NO_CALL = "no call of a model"
    ELSEWHERE = "its text is kept in another file"
    NO_REQUEST = "an answer without its request"
    NO_ANSWER = "a request without its answer"
    SEVERAL_TURNS = "several turns"
    NOT_TEXT = "more than text"
    TOOL_USE = "tool use"
    PARTIAL = "a stream that broke off"
    ERROR = "error"
    REFUSED = "refused"
    TRUNCATED = "cut off at the token limit"
    EMPTY = "empty"
    OTHER_MODEL = "another model"
    OTHER_INSTRUCTION = "another instruction"
    DUPLICATE = "the same prompt again"
    NEAR_DUPLICATE = "nearly the same prompt"


OF_KIND = {
    Kind.FAILED: Left.ERROR,
    Kind.REFUSED: Left.REFUSED,
    Kind.TRUNCATED: Left.TRUNCATED,
    Kind.EMPTY: Left.EMPTY,
}


class Skipped(Exception):
    """A record that is no question with its answer in text; its only argument says why."""

    @property
    def why(self) -> Left:
        return self.args[0]


@dataclass(frozen=True)
class Logged:
    """A question and its answer. ``when`` is None where the format has no time; of users nothing is kept.

    ``kind`` is complete, truncated, empty, refused or failed; tokens are 0 where the log does not tell.
    """

    id: str
    when: datetime | None
    model: str
    instruction: str
    prompt: str
    answer: str
    kind: Kind
    prompt_tokens: int = 0
    completion_tokens: int = 0


# More of these than a teacher meets: a log holds calls of other kinds too.
COMPLETE = {"stop", "end_turn", "stop_sequence", "eos", "eos_token", "complete", "completed"}
TOOL_USE = {"tool_calls", "tool_use", "function_call", "malformed_tool_use", "malformed_function_call"}
TOOL_USE |= {"unexpected_tool_call", "too_many_tool_calls"}
UNFINISHED = {"", "pause_turn", "continuation"}


def kind_of(text: str, end: str | None) -> Kind:
    """What an answer is by the platform's word for how it ended. Raises Skipped: tool use, a broken stream."""
    end = (end or "").lower()
    if end in TOOL_USE:
        raise Skipped(Left.TOOL_USE)
    if end in UNFINISHED:
        raise Skipped(Left.PARTIAL)
    if end in REFUSED:
        return Kind.REFUSED
    if end in TRUNCATED:
        return Kind.TRUNCATED if text else Kind.EMPTY
    if end not in COMPLETE:
        return Kind.FAILED
    return Kind.COMPLETE if text else Kind.EMPTY


TOOLS = {"toolUse", "toolResult", "functionCall", "functionResponse", "function_call", "function_response"}
THOUGHTS = {"reasoningContent", "cachePoint", "thoughtSignature"}


def text_of(content: str | list[Any] | None) -> str:
    """The text of a message: a string, or parts of which each is text; thoughts are left out.

    Raises Skipped: tool calls and their results, images, documents.
    """
    if content is None or isinstance(content, str):
        return (content or "").strip()
    texts = []
    for part in content:
        if isinstance(part, str):
            texts.append(part)
            continue
        kind = part.get("type", "")
        if kind.startswith(("tool", "function", "server_tool")) or TOOLS & set(part):
            raise Skipped(Left.TOOL_USE)
        if kind in ("thinking", "redacted_thinking", "reasoning") or part.get("thought"):
            continue
        if isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif not THOUGHTS & set(part):
            raise Skipped(Left.NOT_TEXT)
    return "".join(texts).strip()


def question(messages: list[dict[str, Any]], system: str | list[Any] | None = None) -> tuple[str, str]:
    """(Instruction, prompt) of ``messages``, each with a role and a content. Raises Skipped where it is no one turn."""
    instructions = [text_of(system)] + [text_of(m["content"]) for m in messages if m["role"] in ("system", "developer")]
    turns = [m for m in messages if m["role"] not in ("system", "developer")]
    if any(m["role"] in ("tool", "function") for m in turns):
        raise Skipped(Left.TOOL_USE)
    if len(turns) != 1 or turns[0]["role"] != "user":
        raise Skipped(Left.SEVERAL_TURNS)
    return "\n".join(filter(None, instructions)), text_of(turns[0]["content"])


def time_of(value: str | float | datetime | None) -> datetime | None:
    """A time in UTC from ISO 8601, from BigQuery's "2026-01-31 10:00:00 UTC", or from seconds since 1970."""
    if value is None:
        return None
    if isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC)
    when = value if isinstance(value, datetime) else datetime.fromisoformat(value.replace(" UTC", "+00:00"))
    return when.replace(tzinfo=when.tzinfo or UTC).astimezone(UTC)


def opened(value: Any) -> Any:
    """JSON that was logged as text, read; anything else as it is."""
    return json.loads(value) if isinstance(value, str) else value
