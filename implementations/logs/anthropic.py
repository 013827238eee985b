"""Anthropic's Messages API, whose provider keeps no list of past messages: what a gateway of one's own wrote.

Two shapes, one JSON object a line:

- ``{"timestamp", "request": {"model", "system", "messages", …}, "response": {"type": "message", …}}``: the bodies as
  they went over the wire, and when; a failed call has ``{"type": "error", …}`` as its response;
- Message Batches: requests, ``{"custom_id", "params"}``, and results, ``{"custom_id", "result": {"type": "succeeded",
  "message"}}``; give both files. Results bear no time, so their order is taken for it.

Names are those of the anthropic package (2.12): types/message.py (``content``, ``stop_reason``, ``usage``),
types/stop_reason.py, types/messages/message_batch_individual_response.py, and for streams types/raw_*_event.py.
"""

from __future__ import annotations

from typing import Any

from ..teachers.teacher import Kind
from .logged import Left, Logged, Skipped, kind_of, question, text_of, time_of

ENDS = {Kind.COMPLETE: "end_turn", Kind.EMPTY: "end_turn", Kind.TRUNCATED: "max_tokens", Kind.REFUSED: "refusal"}


def recognises(row: dict[str, Any]) -> bool:
    """Whether ``row`` is one of the two shapes."""
    response = row.get("response")
    if isinstance(response, dict) and response.get("type") in ("message", "error"):
        return True
    return asked(row) or {"custom_id", "result"} <= set(row)


def asked(row: dict[str, Any]) -> bool:
    """Whether ``row`` is a request that waits for the line with its answer."""
    return {"custom_id", "params"} <= set(row)


def parse(row: dict[str, Any], request: dict[str, Any] | None = None) -> Logged:
    """``row`` as a call; ``request`` is the line that asked for it, where it is another one. Raises Skipped."""
    if "custom_id" in row:
        if request is None:
            raise Skipped(Left.NO_REQUEST)
        return exchange(request["params"], row["result"].get("message") or {}, row["custom_id"])
    return exchange(row["request"], row["response"], when=row.get("timestamp"))


def exchange(request: dict[str, Any], response: dict[str, Any] | list, id: str = "", when: Any = None) -> Logged:
    """A request body and the Message that came back, whole or as the events of its stream. Raises Skipped."""
    instruction, prompt = question(request["messages"], request.get("system"))
    if isinstance(response, list):
        response = joined(response)
    if "content" not in response:
        return Logged(id, time_of(when), request.get("model", ""), instruction, prompt, "", Kind.FAILED)
    text, usage = text_of(response["content"]), response.get("usage") or {}
    read = sum(usage.get(f"{name}input_tokens") or 0 for name in ("", "cache_creation_", "cache_read_"))
    return Logged(
        id=id or response.get("id", ""),
        when=time_of(when),
        model=response.get("model") or request.get("model", ""),
        instruction=instruction,
        prompt=prompt,
        answer=text,
        kind=kind_of(text, response.get("stop_reason")),
        prompt_tokens=read,
        completion_tokens=usage.get("output_tokens") or 0,
    )


def joined(events: list[dict[str, Any]]) -> dict[str, Any]:
    """The Message that the events of a stream make; without its last one it has no ``stop_reason``."""
    message: dict[str, Any] = {"content": [], "usage": {}}
    text = ""
    for event in events:
        match event.get("type"):
            case "message_start":
                message |= {name: event["message"].get(name) for name in ("id", "model", "usage")}
            case "content_block_start" if event["content_block"].get("type") not in ("text", "thinking"):
                message["content"].append(event["content_block"])
            case "content_block_delta":
                text += event["delta"].get("text", "")
            case "message_delta":
                message["stop_reason"] = event["delta"].get("stop_reason")
                message["usage"] = (message["usage"] or {}) | event.get("usage", {})
    message["content"].append({"type": "text", "text": text})
    return message


def write(call: Logged) -> dict[str, Any]:
    """``call`` as a line of the first shape."""
    request = {"model": call.model, "messages": [{"role": "user", "content": call.prompt}]}
    if call.instruction:
        request["system"] = [{"type": "text", "text": call.instruction}]
    when = call.when.isoformat() if call.when else None
    if call.kind is Kind.FAILED:
        error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
        return {"timestamp": when, "request": request, "response": error}
    return {"timestamp": when, "request": request, "response": message(call)}


def message(call: Logged) -> dict[str, Any]:
    """The Message that answered ``call``."""
    return {
        "id": call.id,
        "type": "message",
        "role": "assistant",
        "model": call.model,
        "content": [{"type": "text", "text": call.answer}] if call.answer else [],
        "stop_reason": ENDS[call.kind],
        "usage": {"input_tokens": call.prompt_tokens, "output_tokens": call.completion_tokens},
    }
