"""Anthropic's Messages API and its Message Batches, as the official SDK 2.12 speaks them. A word is a token."""

from __future__ import annotations

import itertools
import json
import random
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from loopback import Call, Model, Reply

ERRORS = {
    "invalid_request_error": 400, "authentication_error": 401, "billing_error": 402, "permission_error": 403,
    "not_found_error": 404, "request_too_large": 413, "rate_limit_error": 429, "api_error": 500,
    "overloaded_error": 529,
}  # fmt: skip


def error(kind: str, message: str = "", headers: dict[str, str] | None = None, code: str = "") -> Reply:
    """An error in the API's own shape."""
    details = {"details": {"error_code": code}} if code else {}
    about = {"type": kind, "message": message, **details}
    return Reply({"type": "error", "error": about, "request_id": "req_1"}, ERRORS[kind], headers or {})


def respond(
    model: Model,
    key: str = "",
    thinking: tuple[str, ...] = ("disabled", "adaptive"),
    stop: Callable[[str], str] = lambda prompt: "",
    outcome: Callable[[int, str], str] = lambda row, prompt: "succeeded",
    polls: int = 0,
) -> Callable[[Call], Reply]:
    """The API with ``model`` behind it by any name of ``claude-…``, for whoever has ``key`` or, without it, any key.

    ``thinking`` is what the model takes as ``thinking.type``. ``stop(prompt)`` may name a stop_reason to give in place
    of the true one. ``outcome(row, prompt)`` is what becomes of each request of a batch: succeeded, errored or
    errored:TYPE, canceled, expired, or missing, that is, without a row in the results. A batch ends after ``polls``
    more questions about it.
    """
    return _Api(model, key, thinking, stop, outcome, polls).respond


@dataclass
class _Batch:
    id: str
    rows: list[dict[str, Any]]
    polls: int
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    cancelled: bool = False
    archived: bool = False  # 29 days later
    results: list[dict[str, Any]] | None = None  # once it has ended


@dataclass
class _Api:
    model: Model
    key: str
    thinking: tuple[str, ...]
    stop: Callable[[str], str]
    outcome: Callable[[int, str], str]
    polls: int
    batches: dict[str, _Batch] = field(default_factory=dict)  # oldest first
    cached: set[str] = field(default_factory=set)
    lock: threading.RLock = field(default_factory=threading.RLock)
    numbers: itertools.count = field(default_factory=lambda: itertools.count(1))

    def respond(self, call: Call) -> Reply:
        given = call.headers.get("authorization", "").removeprefix("Bearer ") or call.headers.get("x-api-key", "")
        if not given or (self.key and given != self.key):
            return error("authentication_error", f"invalid x-api-key: {given}")
        if "anthropic-version" not in call.headers:
            return error("invalid_request_error", "anthropic-version: header is required")
        match call.method, call.path.strip("/").split("/")[1:]:
            case "GET", ["models", name]:
                return self._describe(name)
            case "POST", ["messages"]:
                return self._message(call.json)
            case "POST", ["messages", "count_tokens"]:
                counted = {"input_tokens": len(f"{_system(call.json)} {_prompt(call.json)}".split())}
                return self._invalid({**call.json, "max_tokens": 1}) or Reply(counted)
            case method, ["messages", "batches", *rest]:
                with self.lock:
                    return self._batches(method, rest, call)
        return error("not_found_error", f"{call.method} {call.path}")

    def _describe(self, name: str) -> Reply:
        if not name.startswith("claude-"):
            return error("not_found_error", f"model: {name}")
        kinds = {kind: {"supported": kind in self.thinking} for kind in KINDS}
        about = {"id": name, "type": "model", "display_name": name, "created_at": "2026-10-01T00:00:00Z"}
        thinking = {"supported": "adaptive" in self.thinking, "types": kinds}
        return Reply({**about, "lifecycle": "active", "capabilities": {"thinking": thinking}})

    def _message(self, body: dict[str, Any]) -> Reply:
        return self._invalid(body) or Reply(self._write(body))

    def _invalid(self, body: dict[str, Any]) -> Reply | None:
        if not body.get("model", "").startswith("claude-"):
            return error("not_found_error", f"model: {body.get('model')}")
        if refused := {"temperature", "top_p", "top_k"} & set(body):
            return error("invalid_request_error", f"{min(refused)}: not supported for this model")
        if not isinstance(body.get("max_tokens"), int) or body["max_tokens"] < 1:
            return error("invalid_request_error", "max_tokens: must be greater than or equal to 1")
        if not all(block["text"] for block in body.get("system", [])):
            return error("invalid_request_error", "system: text content blocks must be non-empty")
        kind = body.get("thinking", {}).get("type", "adaptive")
        if "thinking" in body and kind not in self.thinking:
            return error("invalid_request_error", f'"thinking.type.{kind}" is not supported for this model.')
        if not _closed(body.get("output_config", {}).get("format", {}).get("schema", {})):
            return error("invalid_request_error", "output_config.format.schema: 'additionalProperties' must be false")
        return None

    def _write(self, body: dict[str, Any]) -> dict[str, Any]:
        """A Message, its instruction written to the cache the first time and read from there after that."""
        prompt, system = _prompt(body), _system(body)
        written = self.model(system, prompt, body["max_tokens"])
        tokens = len(system.split()) if body.get("system", [{}])[-1].get("cache_control") else 0
        with self.lock:
            known = system in self.cached
            self.cached.add(system)
        stop = self.stop(prompt) or ("max_tokens" if written.truncated else "end_turn")
        thinks = body.get("thinking", {}).get("type", "adaptive") == "adaptive" and "adaptive" in self.thinking
        thought = [{"type": "thinking", "thinking": "", "signature": "c2ln"}] * thinks
        return {
            "id": f"msg_{next(self.numbers)}",
            "type": "message",
            "role": "assistant",
            "model": body["model"],
            "content": thought + [{"type": "text", "text": written.text}] * bool(written.text),
            "stop_reason": stop,
            "stop_sequence": None,
            "stop_details": {"type": "refusal", "category": "bio", "explanation": None} if stop == "refusal" else None,
            "usage": {
                "input_tokens": written.prompt_tokens - tokens,
                "cache_creation_input_tokens": 0 if known else tokens,
                "cache_read_input_tokens": tokens if known else 0,
                "output_tokens": written.completion_tokens,
            },
        }

    def _batches(self, method: str, rest: list[str], call: Call) -> Reply:
        if method == "POST" and not rest:
            return self._create(call)
        if method == "GET" and not rest:
            return self._list(call)
        batch = self.batches.get(rest[0])
        if batch is None:
            return error("not_found_error", f"batch: {rest[0]}")
        match method, rest[1:]:
            case "GET", []:
                batch.polls -= 1
                return Reply(self._shown(batch, call))
            case "POST", ["cancel"]:
                batch.cancelled, batch.polls = True, 0
                return Reply(self._shown(batch, call))
            case "GET", ["results"] if batch.results is not None and not batch.archived:
                lines = [json.dumps(row) for row in batch.results]
                return Reply("\n".join(lines).encode() + b"\n", headers={"Content-Type": "application/x-jsonl"})
        return error("not_found_error", f"{method} {call.path}")

    def _create(self, call: Call) -> Reply:
        rows = call.json["requests"]
        ids = [row["custom_id"] for row in rows]
        if len(set(ids)) < len(ids) or not all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name) for name in ids):
            return error("invalid_request_error", "requests: custom_id must be unique and match ^[a-zA-Z0-9_-]{1,64}$")
        batch = _Batch(f"msgbatch_{next(self.numbers)}", rows, self.polls)
        self.batches[batch.id] = batch
        return Reply(self._shown(batch, call))

    def _list(self, call: Call) -> Reply:
        newest = list(reversed(self.batches))
        start = newest.index(call.query["after_id"]) + 1 if "after_id" in call.query else 0
        page = newest[start : start + int(call.query.get("limit", 20))]
        return Reply(
            {
                "data": [self._shown(self.batches[name], call) for name in page],
                "has_more": start + len(page) < len(newest),
                "first_id": page[0] if page else None,
                "last_id": page[-1] if page else None,
            }
        )

    def _shown(self, batch: _Batch, call: Call) -> dict[str, Any]:
        if batch.results is None and batch.polls < 0:
            self._end(batch)
        ended = batch.results is not None
        counts = dict.fromkeys(("succeeded", "errored", "canceled", "expired"), 0)
        for at, row in enumerate(batch.rows):
            if ended:
                outcome = self._outcome(batch, at, row)
                counts["succeeded" if outcome == "missing" else outcome.partition(":")[0]] += 1
        when = batch.created.isoformat()
        return {
            "id": batch.id,
            "type": "message_batch",
            "processing_status": "ended" if ended else "canceling" if batch.cancelled else "in_progress",
            "request_counts": {"processing": 0 if ended else len(batch.rows), **counts},
            "created_at": when,
            "expires_at": (batch.created + timedelta(hours=24)).isoformat(),
            "ended_at": when if ended else None,
            "archived_at": when if batch.archived else None,
            "cancel_initiated_at": when if batch.cancelled else None,
            "results_url": f"http://{call.headers['host']}/v1/messages/batches/{batch.id}/results"
            if ended and not batch.archived
            else None,
        }

    def _outcome(self, batch: _Batch, at: int, row: dict[str, Any]) -> str:
        return "canceled" if batch.cancelled else self.outcome(at, _prompt(row["params"]))

    def _end(self, batch: _Batch) -> None:
        """Answer every request, in an order of its own."""
        batch.results = []
        for at, row in enumerate(batch.rows):
            kind, _, which = self._outcome(batch, at, row).partition(":")
            result: dict[str, Any] = {"type": kind}
            if kind == "succeeded" and (invalid := self._invalid(row["params"])):
                result = {"type": "errored", "error": invalid.body}
            elif kind == "succeeded":
                result["message"] = self._write(row["params"])
            elif kind == "errored":
                result["error"] = error(which or "api_error", "it went wrong").body
            if kind != "missing":
                batch.results.append({"custom_id": row["custom_id"], "result": result})
        random.Random(len(batch.rows)).shuffle(batch.results)


KINDS = ("adaptive", "between_tools", "disabled", "enabled")


def _system(body: dict[str, Any]) -> str:
    return " ".join(block["text"] for block in body.get("system", []))


def _prompt(body: dict[str, Any]) -> str:
    return body["messages"][0]["content"]


def _closed(schema: dict[str, Any]) -> bool:
    """Whether every object in ``schema`` forbids other properties, as the API demands."""
    parts = [*schema.get("properties", {}).values(), *([schema["items"]] if "items" in schema else [])]
    return (schema.get("type") != "object" or schema.get("additionalProperties") is False) and all(map(_closed, parts))
