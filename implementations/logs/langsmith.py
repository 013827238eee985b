"""LangSmith's runs: JSON lines of ``client.list_runs(…)``, or the Parquet files of its bulk export.

Fields are those of langsmith.schemas.Run (0.15): ``run_type``, ``start_time``, ``inputs``, ``outputs``, ``error``,
``extra.metadata.ls_model_name``, ``prompt_tokens``, ``completion_tokens``; the export has the same
(https://docs.langchain.com/langsmith/data-export), with objects as JSON text. Runs of type "llm" are calls of a model;
chains around them are not. What langchain_core's tracer puts into one: ``inputs.messages[0]`` is a list of messages,
``outputs.generations[0][0].message`` the answer, each a serialized object with its fields in ``kwargs``
(langchain_core/tracers/langchain.py). What langsmith's wrapper of the OpenAI client puts there are OpenAI's bodies.
"""

from __future__ import annotations

from typing import Any

from ..teachers.teacher import Kind
from . import openai
from .logged import Left, Logged, Skipped, kind_of, opened, question, text_of, time_of

ROLES = {"SystemMessage": "system", "HumanMessage": "user", "AIMessage": "assistant", "ToolMessage": "tool"}
ENDS = openai.ENDS


def recognises(row: dict[str, Any]) -> bool:
    """Whether ``row`` is a run."""
    return {"run_type", "inputs", "start_time"} <= set(row)


def asked(row: dict[str, Any]) -> bool:
    """Never: a run has both request and answer."""
    return False


def parse(row: dict[str, Any], request: None = None) -> Logged:
    """``row`` as a call. Raises Skipped."""
    if row["run_type"] != "llm":
        raise Skipped(Left.NO_CALL)
    inputs, outputs = opened(row["inputs"]), opened(row.get("outputs")) or {}
    id, when = str(row.get("id", "")), time_of(row["start_time"])
    model = ((opened(row.get("extra")) or {}).get("metadata") or {}).get("ls_model_name") or ""
    messages = inputs["messages"]
    messages = messages[0] if messages and isinstance(messages[0], list) else messages
    instruction, prompt = question([_plain(message) for message in messages])
    if row.get("error"):
        return Logged(id, when, model, instruction, prompt, "", Kind.FAILED)
    if "choices" in outputs:
        call = openai.exchange({"messages": [{"role": "user", "content": ""}]}, outputs)
        return Logged(id, when, model or call.model, instruction, prompt, call.answer, call.kind, *_tokens(row, {}))
    if not outputs:
        raise Skipped(Left.PARTIAL)
    generation = outputs["generations"][0][0]
    message = generation["message"]["kwargs"]
    if message.get("tool_calls"):
        raise Skipped(Left.TOOL_USE)
    told = (generation.get("generation_info") or {}) | (message.get("response_metadata") or {})
    text = text_of(message["content"])
    end = next((told[name] for name in ("finish_reason", "stop_reason", "done_reason") if told.get(name)), "")
    model = model or told.get("model_name") or told.get("model") or ""
    kind, tokens = kind_of(text, end), _tokens(row, message.get("usage_metadata") or {})
    return Logged(id, when, model, instruction, prompt, text, kind, *tokens)


def _plain(message: dict[str, Any]) -> dict[str, Any]:
    """A message with role and content, from that or from LangChain's serialized form."""
    if "kwargs" not in message:
        return message
    return {"role": ROLES[message["id"][-1]], "content": message["kwargs"]["content"]}


def _tokens(row: dict[str, Any], usage: dict[str, Any]) -> tuple[int, int]:
    return (
        row.get("prompt_tokens") or usage.get("input_tokens") or 0,
        row.get("completion_tokens") or usage.get("output_tokens") or 0,
    )


def write(call: Logged) -> dict[str, Any]:
    """``call`` as the run that LangChain's tracer makes of it."""
    asked = [_message("SystemMessage", call.instruction)] if call.instruction else []
    row = {
        "id": call.id,
        "name": "ChatModel",
        "run_type": "llm",
        "start_time": call.when.isoformat() if call.when else None,
        "extra": {"metadata": {"ls_model_name": call.model, "ls_model_type": "chat"}},
        "inputs": {"messages": [[*asked, _message("HumanMessage", call.prompt)]]},
        "outputs": None,
        "error": None,
        "prompt_tokens": call.prompt_tokens,
        "completion_tokens": call.completion_tokens,
    }
    if call.kind is Kind.FAILED:
        return row | {"error": "RateLimitError('overloaded')"}
    answer = _message("AIMessage", call.answer, response_metadata={"finish_reason": ENDS[call.kind]})
    return row | {"outputs": {"generations": [[{"text": call.answer, "type": "ChatGeneration", "message": answer}]]}}


def _message(kind: str, content: str, **more: Any) -> dict[str, Any]:
    name = ["langchain", "schema", "messages", kind]
    return {"lc": 1, "type": "constructor", "id": name, "kwargs": {"content": content, **more}}
