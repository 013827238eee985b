"""Vertex AI's request-response logging: rows of its BigQuery table, exported as JSON lines.

Columns: ``logging_time``, ``request_id``, ``endpoint``, ``deployed_model_id``, ``request_payload`` and
``response_payload``, lists of JSON texts, and in newer tables ``model``, ``full_request`` and ``full_response``
(https://docs.cloud.google.com/vertex-ai/generative-ai/docs/multimodal/request-response-logging; the older ones are seen
in queries of others, the newer ones were not tried against a table of Google's). The bodies are those
of generateContent (``contents``, ``systemInstruction``; ``candidates[].{content, finishReason}``, ``usageMetadata``:
the names of google.genai.types), or a list of such answers where it was streamed; for a Claude model those of the
Messages API. JSON columns come as objects or as text, by the way of exporting.
"""

from __future__ import annotations

from typing import Any

from ..teachers.teacher import Kind
from . import anthropic
from .logged import Logged, kind_of, opened, question, text_of, time_of

ENDS = {Kind.COMPLETE: "STOP", Kind.EMPTY: "STOP", Kind.TRUNCATED: "MAX_TOKENS", Kind.REFUSED: "SAFETY"}


def recognises(row: dict[str, Any]) -> bool:
    """Whether ``row`` is one of that table."""
    return "logging_time" in row and bool({"full_request", "request_payload"} & set(row))


def asked(row: dict[str, Any]) -> bool:
    """Never: a row has both request and answer."""
    return False


def parse(row: dict[str, Any], request: None = None) -> Logged:
    """``row`` as a call. Raises Skipped."""
    body, answer = _body(row, "request"), _body(row, "response") or {}
    id, when = str(row.get("request_id", "")), time_of(row["logging_time"])
    model = next((row[name] for name in ("model", "deployed_model_id", "endpoint") if row.get(name)), "")
    if "contents" not in body:
        call = anthropic.exchange(body, answer, id, when)
        return call if call.model else Logged(**{**vars(call), "model": model})
    instruction, prompt = question(
        [{"role": c.get("role") or "user", "content": c["parts"]} for c in body["contents"]],
        (_either(body, "systemInstruction") or {}).get("parts"),
    )
    parts = answer if isinstance(answer, list) else [answer]
    if parts and any(_either(part, "promptFeedback") for part in parts):
        return Logged(id, when, model, instruction, prompt, "", Kind.REFUSED)
    candidates = [part["candidates"][0] for part in parts if part.get("candidates")]
    if not candidates:
        return Logged(id, when, model, instruction, prompt, "", Kind.FAILED)
    text = "".join(_text(candidate) for candidate in candidates).strip()
    usage = _either(parts[-1], "usageMetadata") or {}
    tokens = (_either(usage, name) or 0 for name in ("promptTokenCount", "candidatesTokenCount"))
    return Logged(
        id, when, model, instruction, prompt, text, kind_of(text, _either(candidates[-1], "finishReason")), *tokens
    )


def _body(row: dict[str, Any], what: str) -> Any:
    """The request or the response, from whichever column has it; a list where it was streamed."""
    if row.get(f"full_{what}"):
        return opened(row[f"full_{what}"])
    parts = [opened(part) for part in row.get(f"{what}_payload") or []]
    return parts[0] if len(parts) == 1 else parts


def _text(candidate: dict[str, Any]) -> str:
    """The text of one answer, with the spaces at its ends: streamed ones are joined."""
    parts = (candidate.get("content") or {}).get("parts") or []
    text_of(parts)  # raises Skipped where it is more than text
    return "".join(part.get("text", "") for part in parts if not part.get("thought"))


def _either(value: dict[str, Any], name: str) -> Any:
    """A field by its name in JSON, ``finishReason``, or in Python and protocol buffers, ``finish_reason``."""
    return value.get(name, value.get("".join(f"_{c.lower()}" if c.isupper() else c for c in name)))


def write(call: Logged) -> dict[str, Any]:
    """``call`` as a row of a call of generateContent."""
    request: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": call.prompt}]}]}
    if call.instruction:
        request["systemInstruction"] = {"parts": [{"text": call.instruction}]}
    row = {
        "logging_time": call.when.isoformat() if call.when else None,
        "request_id": call.id,
        "model": call.model,
        "api_method": "generateContent",
        "full_request": request,
    }
    if call.kind is Kind.FAILED:
        return row | {"full_response": None}
    content = {"role": "model", "parts": [{"text": call.answer}] if call.answer else []}
    used = {"promptTokenCount": call.prompt_tokens, "candidatesTokenCount": call.completion_tokens}
    candidate = {"content": content, "finishReason": ENDS[call.kind]}
    return row | {"full_response": {"candidates": [candidate], "usageMetadata": used}}
