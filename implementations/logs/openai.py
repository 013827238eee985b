"""OpenAI's chat completions, from OpenAI or from any server that speaks its API (Ollama, vLLM, llama-server).

Three shapes, one JSON object a line:

- ``{"request": {"model", "messages"}, "response": {"object": "chat.completion", …}}``, as a gateway of one's own logs
  it; a failed call has ``{"error": …}`` as its response;
- a stored completion, the object that ``client.chat.completions.list()`` gives, with what
  ``client.chat.completions.messages.list(id)`` gives added as ``"messages"``;
- files of the Batch API: lines of the input, ``{"custom_id", "method", "url", "body"}``, and of the output,
  ``{"custom_id", "response": {"status_code", "body"}, "error"}``; give both files.

Names are those of the openai package (3.57): types/chat/chat_completion.py (``choices[].message.{content, refusal,
tool_calls}``, ``finish_reason``, ``created`` in seconds, ``usage``), chat_completion_store_message.py; the batch lines
are those of https://platform.openai.com/docs/api-reference/batch/request-input and …/request-output.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ..teachers.teacher import Kind
from .logged import Left, Logged, Skipped, kind_of, question, text_of, time_of

ENDS = {Kind.COMPLETE: "stop", Kind.EMPTY: "stop", Kind.TRUNCATED: "length", Kind.REFUSED: "content_filter"}


def recognises(row: dict[str, Any]) -> bool:
    """Whether ``row`` is one of the three shapes."""
    response = row.get("response")
    if asked(row) or row.get("object") == "chat.completion":
        return True
    if not isinstance(response, dict):
        return False
    failed = "error" in response and response.get("type") != "error" and "messages" in row.get("request", {})
    return failed or response.get("object") == "chat.completion" or {"status_code", "body"} <= set(response)


def asked(row: dict[str, Any]) -> bool:
    """Whether ``row`` is a request that waits for the line with its answer."""
    return {"custom_id", "method", "url", "body"} <= set(row)


def parse(row: dict[str, Any], request: dict[str, Any] | None = None) -> Logged:
    """``row`` as a call; ``request`` is the line that asked for it, where it is another one. Raises Skipped."""
    if "custom_id" in row:
        if request is None:
            raise Skipped(Left.NO_REQUEST)
        response = row.get("response") or {}
        failed = row.get("error") or response.get("status_code") != 200
        return exchange(request["body"], {"error": "failed"} if failed else response["body"], row["custom_id"])
    if "request" in row:
        return exchange(row["request"], row.get("response") or {"error": row.get("error")}, "", row.get("timestamp"))
    if row["object"] == "chat.completion" and "messages" not in row:
        raise Skipped(Left.NO_REQUEST)
    return exchange(row, row)


def exchange(request: dict[str, Any], response: dict[str, Any], id: str = "", when: Any = None) -> Logged:
    """A request body and the chat completion that came back. Raises Skipped."""
    instruction, prompt = question(request["messages"])
    if "choices" not in response:
        return Logged(id, time_of(when), request.get("model", ""), instruction, prompt, "", Kind.FAILED)
    choice, usage = response["choices"][0], response.get("usage") or {}
    message = choice["message"]
    if message.get("tool_calls") or message.get("function_call"):
        raise Skipped(Left.TOOL_USE)
    text = text_of(message.get("content"))
    kind = Kind.REFUSED if message.get("refusal") else kind_of(text, choice["finish_reason"])
    when = time_of(when if when is not None else response.get("created"))
    model, tokens = response.get("model") or request.get("model", ""), ("prompt_tokens", "completion_tokens")
    id = id or response.get("id", "")
    return Logged(id, when, model, instruction, prompt, text, kind, *(usage.get(name) or 0 for name in tokens))


def write(call: Logged) -> dict[str, Any]:
    """``call`` as a line of the first shape."""
    system = [{"role": "system", "content": call.instruction}] if call.instruction else []
    request = {"model": call.model, "messages": [*system, {"role": "user", "content": call.prompt}]}
    seconds = call.when.timestamp() if isinstance(call.when, datetime) else None
    if call.kind is Kind.FAILED:
        return {"timestamp": seconds, "request": request, "response": {"error": {"message": "overloaded"}}}
    message = {"role": "assistant", "content": call.answer, "refusal": None}
    used = {"prompt_tokens": call.prompt_tokens, "completion_tokens": call.completion_tokens}
    return {
        "request": request,
        "response": {
            "id": call.id,
            "object": "chat.completion",
            "created": None if seconds is None else int(seconds),
            "model": call.model,
            "choices": [{"index": 0, "message": message, "finish_reason": ENDS[call.kind]}],
            "usage": used | {"total_tokens": call.prompt_tokens + call.completion_tokens},
        },
    }
