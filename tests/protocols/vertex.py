"""Vertex AI's REST interface to Gemini, and the token exchange of workload identity federation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from loopback import Call, Model, Reply, Written

TOKEN = "ya29.a0Af0123456789-secret-0123456789"


def respond(model: Model) -> Callable[[Call], Reply]:
    """Answers what ``model`` writes, with its log-probabilities where they are asked for."""

    def reply(call: Call) -> Reply:
        if call.path == "/token":
            return token()
        if call.headers.get("authorization") != f"Bearer {TOKEN}":
            return error(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.")
        body = call.json
        instruction = "".join(part["text"] for part in body.get("systemInstruction", {}).get("parts", []))
        [prompt] = [part["text"] for content in body["contents"] for part in content["parts"]]
        if call.path.endswith(":countTokens"):
            return Reply({"totalTokens": len(f"{instruction} {prompt}".split()), "totalBillableCharacters": 1})
        if not call.path.endswith(":generateContent"):
            return error(404, "NOT_FOUND", "Publisher Model was not found.")
        config = body["generationConfig"]
        written = model(instruction, prompt, config["maxOutputTokens"])
        return Reply(response(written, config.get("logprobs") if config.get("responseLogprobs") else None))

    return reply


def response(
    written: Written, top: int | None = None, finish: str | None = None, thought: str = "", **usage: int
) -> dict[str, Any]:
    """The body of a GenerateContentResponse; ``top`` is how many log-probabilities a token has, None for none."""
    parts = [{"text": thought, "thought": True}] if thought else []
    parts += [{"text": written.text}] if written.text else []
    candidate: dict[str, Any] = {
        "content": {"role": "model", **({"parts": parts} if parts else {})},
        "finishReason": finish or ("MAX_TOKENS" if written.truncated else "STOP"),
        "avgLogprobs": -0.1,
    }
    if top is not None:
        candidate["logprobsResult"] = {
            "chosenCandidates": [_token(row[0]) for row in written.top_logprobs],
            "topCandidates": [{"candidates": [_token(pair) for pair in row[:top]]} for row in written.top_logprobs],
        }
    return {
        "candidates": [candidate],
        "usageMetadata": {
            "promptTokenCount": written.prompt_tokens,
            "candidatesTokenCount": written.completion_tokens,
            "totalTokenCount": written.prompt_tokens + written.completion_tokens,
            "trafficType": "ON_DEMAND",
            **usage,
        },
        "modelVersion": "gemini",
        "responseId": "1",
    }


def blocked(reason: str) -> Reply:
    """A prompt that the platform did not let through to the model."""
    return Reply({"promptFeedback": {"blockReason": reason}, "usageMetadata": {"promptTokenCount": 4}})


def _token(pair: tuple[str, float]) -> dict[str, Any]:
    return {"token": pair[0], "tokenId": 1, "logProbability": pair[1]}


def token() -> Reply:
    """Google's security token service."""
    kind = "urn:ietf:params:oauth:token-type:access_token"
    return Reply({"access_token": TOKEN, "issued_token_type": kind, "token_type": "Bearer", "expires_in": 3600})


def error(
    status: int, code: str, message: str, details: list | None = None, headers: dict[str, str] | None = None
) -> Reply:
    body = {"code": status, "message": message, "status": code}
    return Reply({"error": body | ({"details": details} if details else {})}, status, headers or {})
