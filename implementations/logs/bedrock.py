"""Amazon Bedrock's model invocation logs, as they lie in S3: gzipped, one JSON object a line.

Fields: ``schemaType`` "ModelInvocationLog", ``timestamp``, ``requestId``, ``operation``, ``modelId``, ``input.
{inputBodyJson, inputTokenCount}``, ``output.{outputBodyJson, outputTokenCount}``
(https://docs.aws.amazon.com/bedrock/latest/userguide/model-invocation-logging.html). Bodies are those of Converse and
ConverseStream, which are logged alike (``messages``, ``system``; ``output.message``, ``stopReason``, ``usage``, the
names of botocore's bedrock-runtime model), and of InvokeModel with a Claude model, streamed or not. The bodies of
InvokeModel with other models are each their own, often with the chat template in the prompt: they are left out.
Long bodies lie in files of their own (``inputBodyS3Path``) and are left out too. A call without an answer, or with an
``errorCode``, counts as an error.
"""

from __future__ import annotations

from typing import Any

from ..teachers.teacher import Kind
from . import anthropic
from .logged import Left, Logged, Skipped, kind_of, opened, question, text_of, time_of

ENDS = anthropic.ENDS | {Kind.REFUSED: "guardrail_intervened"}


def recognises(row: dict[str, Any]) -> bool:
    """Whether ``row`` is an invocation."""
    return row.get("schemaType") == "ModelInvocationLog"


def asked(row: dict[str, Any]) -> bool:
    """Never: a line has both request and answer."""
    return False


def parse(row: dict[str, Any], request: None = None) -> Logged:
    """``row`` as a call. Raises Skipped."""
    given, came = row["input"], row.get("output") or {}
    if "inputBodyJson" not in given or ("outputBodyJson" not in came and "outputBodyS3Path" in came):
        raise Skipped(Left.ELSEWHERE)
    body, answer = opened(given["inputBodyJson"]), opened(came.get("outputBodyJson")) or {}
    failed = "errorCode" in row or not answer
    id, when, model = row.get("requestId", ""), time_of(row.get("timestamp")), row["modelId"]
    if "anthropic_version" in body and not failed:
        call = anthropic.exchange(body, answer, id)
        text, kind, (instruction, prompt) = call.answer, call.kind, (call.instruction, call.prompt)
    else:
        instruction, prompt = question(body["messages"], body.get("system"))
        text = "" if failed else text_of(answer["output"]["message"]["content"])
        kind = Kind.FAILED if failed else kind_of(text, answer["stopReason"])
    tokens = given.get("inputTokenCount") or 0, came.get("outputTokenCount") or 0
    return Logged(id, when, model, instruction, prompt, text, kind, *tokens)


def write(call: Logged) -> dict[str, Any]:
    """``call`` as a line that Converse leaves."""
    body: dict[str, Any] = {"messages": [{"role": "user", "content": [{"text": call.prompt}]}]}
    if call.instruction:
        body["system"] = [{"text": call.instruction}]
    row = {
        "schemaType": "ModelInvocationLog",
        "schemaVersion": "1.0",
        "timestamp": call.when.strftime("%Y-%m-%dT%H:%M:%SZ") if call.when else None,
        "requestId": call.id,
        "operation": "Converse",
        "modelId": call.model,
        "input": {
            "inputContentType": "application/json",
            "inputBodyJson": body,
            "inputTokenCount": call.prompt_tokens,
        },
    }
    if call.kind is Kind.FAILED:
        return row | {"errorCode": "ThrottlingException"}
    content = [{"text": call.answer}] if call.answer else []
    answer = {"output": {"message": {"role": "assistant", "content": content}}, "stopReason": ENDS[call.kind]}
    tokens = {"inputTokens": call.prompt_tokens, "outputTokens": call.completion_tokens}
    return row | {
        "output": {
            "outputContentType": "application/json",
            "outputBodyJson": answer | {"usage": tokens},
            "outputTokenCount": call.completion_tokens,
        }
    }
