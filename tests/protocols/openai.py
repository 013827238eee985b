"""OpenAI's chat completions, as OpenAI, vLLM, TGI and llama-server speak them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from loopback import Call, Model, Reply, Written

PATH = "/v1/chat/completions"


def respond(model: Model) -> Callable[[Call], Reply]:
    """Answers what ``model`` writes, with its log-probabilities where they are asked for."""

    def reply(call: Call) -> Reply:
        if call.path != PATH:
            return error(404, f"Invalid URL ({call.method} {call.path})", "invalid_request_error")
        if not call.headers.get("authorization", "").startswith("Bearer "):
            return error(401, "You didn't provide an API key.", "invalid_request_error")
        body = call.json
        said = {message["role"]: message["content"] for message in body["messages"]}
        limit = body.get("max_completion_tokens") or body.get("max_tokens") or 1000
        written = model(said.get("system", ""), said["user"], limit)
        return Reply(completion(written, body["model"], body.get("top_logprobs", 0) if body.get("logprobs") else None))

    return reply


def completion(
    written: Written, model: str = "m", top: int | None = None, finish: str | None = None, refusal: str | None = None
) -> dict[str, Any]:
    """The body of a chat completion; ``top`` is how many log-probabilities a token has, None for none at all."""
    tokens = [{**_token(row[0]), "top_logprobs": [_token(pair) for pair in row[:top]]} for row in written.top_logprobs]
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": None if refusal else written.text, "refusal": refusal},
                "logprobs": None if top is None else {"content": tokens, "refusal": None},
                "finish_reason": finish or ("length" if written.truncated else "stop"),
            }
        ],
        "usage": {
            "prompt_tokens": written.prompt_tokens,
            "completion_tokens": written.completion_tokens,
            "total_tokens": written.prompt_tokens + written.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": 1, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0},
        },
    }


def _token(pair: tuple[str, float]) -> dict[str, Any]:
    return {"token": pair[0], "logprob": pair[1], "bytes": list(pair[0].encode())}


def error(
    status: int, message: str, type: str, code: str | None = None, headers: dict[str, str] | None = None
) -> Reply:
    return Reply({"error": {"message": message, "type": type, "param": None, "code": code}}, status, headers or {})
