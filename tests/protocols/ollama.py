"""The API of Ollama's server, by the official SDK 0.6: chat, tags, version, pull, blobs, create, show and delete.

A word is a token, but of a model that was created here: that one answers from its GGUF file, one token at a time.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from loopback import Call, Model, Reply

DIGEST = "a80c4f17acd55265feec403c7aef86be0c25983ab279d83f3bcd3abbcb5b8b72"
CREATED = "2026-11-21T10:00:00.000000Z"


def error(status: int, message: str, headers: dict[str, str] | None = None) -> Reply:
    """An error in the server's own shape."""
    return Reply({"error": message}, status, headers or {})


def respond(
    model: Model,
    name: str = "tiny:latest",
    version: str = "0.40.12",
    family: str = "llama",
    context: int = 4096,
    digest: str = DIGEST,
    store: Path | None = None,
) -> Callable[[Call], Reply]:
    """A server of ``version`` that has one model, ``name``, of ``context`` tokens; any other can be pulled.

    With a folder ``store`` for their files, models can be created.
    """
    about = {"parent_model": "", "format": "gguf", "family": family, "families": [family], "parameter_size": "1B"}
    models = {
        name: {"name": name, "model": name, "modified_at": CREATED, "size": 1, "digest": digest, "details": about}
    }

    created: dict[str, dict[str, Any]] = {}

    def reply(call: Call) -> Reply:
        match call.method, call.path:
            case "GET", "/api/version":
                return Reply({"version": version})
            case "GET", "/api/tags":
                made = [{**models[name], "name": full, "model": full} for full in created]
                return Reply({"models": [*models.values(), *made]})
            case "POST", "/api/pull":
                return _pull(call.json["model"])
            case "POST", "/api/chat":
                return _ask_created(call.json) if _full(call.json["model"]) in created else _chat(call.json)
            case "POST", path if path.startswith("/api/blobs/sha256:") and store:
                return _keep(path.rpartition(":")[2], call.body)
            case "POST", "/api/create" if store:
                return _create(call.json)
            case "POST", "/api/show" if _full(call.json["model"]) in created:
                return Reply({"template": created[_full(call.json["model"])]["template"], "model_info": {}})
            case "DELETE", "/api/delete":
                return Reply({}, 200 if created.pop(_full(call.json["model"]), None) else 404)
        return Reply(b"404 page not found", 404)

    def _keep(sha256: str, body: bytes) -> Reply:
        if hashlib.sha256(body).hexdigest() != sha256:
            return error(400, "digest does not match body")
        (store / sha256).write_bytes(body)
        return Reply(b"", 201)

    def _create(body: dict[str, Any]) -> Reply:
        for digest in body["files"].values():
            if not (store / digest.removeprefix("sha256:")).is_file():
                return error(400, f"blob {digest} does not exist")
        created[_full(body["model"])] = body
        return Reply({"status": "success"})

    def _ask_created(body: dict[str, Any]) -> Reply:
        """The first token of an answer, from the file that was sent, read by llama.cpp."""
        from implementations.delivery.readers import LlamaCpp

        made = created[_full(body["model"])]
        [digest] = made["files"].values()
        llama = LlamaCpp(store / digest.removeprefix("sha256:"), context)
        messages = [{"role": "system", "content": made["system"]}] * bool(made["system"]) + body["messages"]
        text = execute(made["template"], messages)
        ids = llama.ask("POST", "/tokenize", {"content": text, "add_special": True, "parse_special": True})["tokens"]
        top = [{"token": t["token"], "logprob": t["logprob"]} for t in llama.likeliest(ids)[: body["top_logprobs"]]]
        message = {"role": "assistant", "content": top[0]["token"]}
        answer = {"model": body["model"], "created_at": CREATED, "message": message, "done": True}
        counts = {"prompt_eval_count": len(ids), "eval_count": 1, "done_reason": "length"}
        return Reply({**answer, **counts, "logprobs": [{**top[0], "top_logprobs": top}]})

    def _pull(wanted: str) -> Reply:
        steps: list[dict[str, Any]] = [{"status": "pulling manifest"}]
        if wanted.startswith("unknown"):
            return _lines([*steps, {"error": "pull model manifest: file does not exist"}])
        models[_full(wanted)] = {**models[name], "name": _full(wanted), "model": _full(wanted)}
        for layer, total in (("sha256:aa", 100), ("sha256:bb", 50)):
            steps.append({"status": f"pulling {layer}", "digest": layer, "total": total})
            steps.append({"status": f"pulling {layer}", "digest": layer, "total": total, "completed": total})
        return _lines([*steps, {"status": "verifying sha256 digest"}, {"status": "success"}])

    def _chat(body: dict[str, Any]) -> Reply:
        if _full(body["model"]) not in models:
            return error(404, f"model '{body['model']}' not found")
        if not 0 <= body.get("top_logprobs", 0) <= 20:
            return error(400, "top_logprobs must be between 0 and 20")
        if isinstance(body.get("think"), str) and family != "gptoss":
            return error(400, f'think value "{body["think"]}" is not supported for this model')
        if body.get("think") is True:
            return error(400, f'"{body["model"]}" does not support thinking')
        said = {message["role"]: message["content"] for message in body["messages"]}
        written = model(said.get("system", ""), said["user"], body["options"]["num_predict"])
        if written.prompt_tokens > context and body.get("truncate") is False:
            return error(400, "the input length exceeds the context length")
        answer = {
            "model": body["model"],
            "created_at": CREATED,
            "message": {"role": "assistant", "content": written.text},
            "done": True,
            "done_reason": "length" if written.truncated else "stop",
            "total_duration": 2,
            "load_duration": 1,
            "prompt_eval_count": min(written.prompt_tokens, context),
            "eval_count": written.completion_tokens,
        }
        if body.get("logprobs"):
            rows = [(row[0], row[: body["top_logprobs"]]) for row in written.top_logprobs]
            answer["logprobs"] = [{**_token(chosen), "top_logprobs": [*map(_token, top)]} for chosen, top in rows]
        return Reply(answer)

    return reply


def execute(template: str, messages: list[dict[str, str]]) -> str:
    """Go's text/template, as far as: range over .Messages, if and else if eq .Role, .Content."""
    head, body, tail = re.fullmatch(r"(.*?)\{\{ range \.Messages }}(.*)\{\{ end }}(.*)", template, re.S).groups()
    roles = dict(re.findall(r'\{\{ (?:else )?if eq \.Role "(\w+)" }}(.*?)(?=\{\{ (?:else|end))', body, re.S))
    return head + "".join(roles[m["role"]].replace("{{ .Content }}", m["content"]) for m in messages) + tail


def _full(name: str) -> str:
    return name if ":" in name else f"{name}:latest"


def _token(pair: tuple[str, float]) -> dict[str, Any]:
    return {"token": pair[0], "logprob": pair[1], "bytes": list(pair[0].encode())}


def _lines(steps: list[dict[str, Any]]) -> Reply:
    body = "".join(json.dumps(step) + "\n" for step in steps).encode()
    return Reply(body, headers={"Content-Type": "application/x-ndjson"})
