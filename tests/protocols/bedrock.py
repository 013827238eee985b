"""Amazon Bedrock's runtime: Converse and CountTokens, with the errors of its service model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from loopback import Call, Model, Reply, Written


def respond(model: Model) -> Callable[[Call], Reply]:
    """Answers what ``model`` writes."""

    def reply(call: Call) -> Reply:
        if not call.headers.get("authorization", "").startswith(("AWS4-HMAC-SHA256 ", "Bearer ")):
            return error(403, "MissingAuthenticationTokenException", "Missing Authentication Token")
        *_, action = call.path.split("/")
        body = call.json if action == "converse" else call.json["input"]["converse"]
        instruction = " ".join(part["text"] for part in body.get("system", []) if "text" in part)
        [prompt] = [part["text"] for message in body["messages"] for part in message["content"]]
        if action == "count-tokens":
            return Reply({"inputTokens": len(f"{instruction} {prompt}".split())})
        return Reply(answer(model(instruction, prompt, body["inferenceConfig"]["maxTokens"])))

    return reply


def model_id(call: Call) -> str:
    return unquote(call.path.split("/")[2])


def answer(written: Written, stop: str | None = None, thought: str = "", **usage: int) -> dict[str, Any]:
    """The body of a ConverseResponse. A guardrail's text stands in for the model's."""
    content: list[dict] = [{"reasoningContent": {"reasoningText": {"text": thought}}}] if thought else []
    content += [{"text": written.text}] if written.text else []
    return {
        "output": {"message": {"role": "assistant", "content": content}},
        "stopReason": stop or ("max_tokens" if written.truncated else "end_turn"),
        "usage": {
            "inputTokens": written.prompt_tokens,
            "outputTokens": written.completion_tokens,
            "totalTokens": written.prompt_tokens + written.completion_tokens,
            **usage,
        },
        "metrics": {"latencyMs": 1},
    }


def error(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> Reply:
    return Reply({"message": message}, status, {"x-amzn-errortype": f"{code}:http://internal/", **(headers or {})})
