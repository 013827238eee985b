"""Models on Amazon Bedrock as teachers, through boto3 and a server of the tests' own."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time

import pytest
from loopback import Break, Loopback, Reply, Written, answers, echo
from protocols import bedrock as protocol

from implementations.errors import InputError
from implementations.teachers.bedrock import BedrockTeacher, open_teacher
from implementations.teachers.teacher import Busy, Dropped, Kind, Rejected, RemoteTeacher, Request

MODEL = "mistral.small-v1:0"
CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
SECRET = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY01"
REQUEST = Request("say it loudly", "a b c", 8)
SCHEMA = '{"type": "object", "properties": {"label": {"enum": ["yes", "no"]}}, "required": ["label"]}'


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    """Credentials of one kind, and no search for others in files or on the network."""
    for name in ("AWS_PROFILE", "AWS_DEFAULT_REGION", "AWS_SESSION_TOKEN", "AWS_BEARER_TOKEN_BEDROCK"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_BEDROCK_RUNTIME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)


@pytest.fixture
def serve(start, monkeypatch):
    """Starts a server that speaks Bedrock's protocol, and points the environment there."""

    def serve(model=echo, fault=lambda n, call: None) -> Loopback:
        server = start(protocol.respond(model), fault)
        monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", server.url)
        return server

    return serve


def ask(request=REQUEST, model=MODEL, **options):
    """One answer from a teacher that is closed afterwards."""
    [answer] = ask_again(1, request, model, **options)
    return answer


def ask_again(times, request=REQUEST, model=MODEL, **options):
    """Answers to one request, asked again and again."""
    return answers(BedrockTeacher(model, threads=4, **options), request, times)


def test_an_answer_with_its_usage(serve):
    server = serve()
    answer = ask()
    assert (answer.text, answer.kind, answer.reason) == ("A B C", Kind.COMPLETE, "")
    assert (answer.prompt_tokens, answer.completion_tokens) == (6, 3)
    [call] = server.calls
    assert (call.method, protocol.model_id(call)) == ("POST", MODEL)
    assert call.json == {
        "messages": [{"role": "user", "content": [{"text": "a b c"}]}],
        "system": [{"text": "say it loudly"}],
        "inferenceConfig": {"maxTokens": 8, "temperature": 0.0},
    }
    assert "/eu-west-1/bedrock/" in call.headers["authorization"]


def test_it_is_a_remote_teacher(serve, monkeypatch):
    serve()
    teacher = open_teacher(MODEL)
    assert isinstance(teacher, RemoteTeacher)
    assert (teacher.name, teacher.platform, teacher.model) == (f"bedrock:{MODEL}", "bedrock", MODEL)
    assert teacher.identity.startswith(f"bedrock:{MODEL}@127.0.0.1:")
    monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "https://bedrock-runtime.us-east-1.amazonaws.com")
    assert BedrockTeacher(MODEL).identity == f"bedrock:{MODEL}"


def test_kinds(serve):
    nothing = Written("", 4, 0, False, [])
    bodies = [
        (protocol.answer(echo("", "a b c", 2)), Kind.TRUNCATED, ""),
        (protocol.answer(nothing), Kind.EMPTY, ""),
        (protocol.answer(Written("I cannot.", 4, 2, False, []), "guardrail_intervened"), Kind.REFUSED, "guardrail_"),
        (protocol.answer(nothing, "content_filtered"), Kind.REFUSED, "content_filtered"),
        (protocol.answer(echo("", "a b", 9), "malformed_model_output"), Kind.MALFORMED, ""),
        (protocol.answer(echo("", "a b", 9), "tool_use"), Kind.FAILED, "generation stopped for a reason unknown"),
    ]
    server = serve(fault=lambda n, call: Reply(bodies[n][0]))
    for answer, (_, kind, reason) in zip(ask_again(len(bodies)), bodies, strict=True):
        assert answer.kind == kind and answer.reason.startswith(reason)
    assert len(server.calls) == len(bodies)


def test_thoughts_are_left_out_and_the_cache_is_counted(serve):
    counts = {"cacheReadInputTokens": 100, "cacheWriteInputTokens": 20}
    bodies = [
        protocol.answer(echo("", "a b", 9), thought="Let me see.", **counts),
        protocol.answer(Written("", 4, 8, True, []), thought="Let me"),
    ]
    serve(fault=lambda n, call: Reply(bodies[n]))
    answer, empty = ask_again(2)
    assert (answer.text, answer.prompt_tokens) == ("A B", 122)
    assert (answer.cache_read_tokens, answer.cache_write_tokens) == (100, 20)
    assert (empty.kind, empty.completion_tokens) == (Kind.EMPTY, 8)
    assert empty.reason.startswith("the token limit was spent before any text")


def test_claude_thinks_least_and_reads_the_instruction_from_the_cache(serve):
    server = serve()
    ask(model=CLAUDE)
    body = server.calls[0].json
    assert body["additionalModelRequestFields"] == {"thinking": {"type": "disabled"}}
    assert body["system"] == [{"text": "say it loudly"}, {"cachePoint": {"type": "default"}}]


def test_a_schema_is_enforced_where_the_model_allows_it(serve):
    asked = Request("label", "x", 20, schema=SCHEMA)
    for text, kind in (('{"label": "yes"}', Kind.COMPLETE), ("yes", Kind.MALFORMED)):
        server = serve(lambda *_, text=text: Written(text, 4, 3, False, []))
        assert ask(asked).kind == kind
    body = server.calls[0].json
    form = {"type": "json_schema", "structure": {"jsonSchema": {"name": "answer", "schema": SCHEMA}}}
    assert body["outputConfig"] == {"textFormat": form} and body["system"] == [{"text": "label"}]


def test_what_a_model_refuses_is_left_out_from_then_on(serve):
    """Each refusal in the words of a real one."""

    def refuse(n, call):
        body = call.json
        if "temperature" in body["inferenceConfig"]:
            message = "The model returned the following errors: `temperature` is deprecated for this model."
        elif "additionalModelRequestFields" in body:
            message = "The model returned the following errors: thinking.type.disabled is not supported on this model"
        elif "effort" in body.get("outputConfig", {}):
            message = "The model returned the following errors: output_config.effort: Extra inputs are not permitted"
        elif "outputConfig" in body:
            message = "Malformed input request: #: extraneous key [outputConfig] is not permitted"
        elif len(body["system"]) > 1:
            message = "You invoked an unsupported model or your request did not allow prompt caching."
            return protocol.error(403, "AccessDeniedException", message)
        else:
            return None
        return protocol.error(400, "ValidationException", message)

    server = serve(lambda *_: Written('{"label": "no"}', 4, 3, False, []), refuse)
    asked = Request("label", "x", 20, schema=SCHEMA)

    async def twice():
        teacher = open_teacher(CLAUDE)
        first = await teacher.ask(asked)
        refusals = len(server.calls) - 1
        second = await teacher.ask(Request("label", "y", 20, schema=SCHEMA))
        await teacher.close()
        return first, refusals, second

    first, refusals, second = asyncio.run(twice())
    assert first.kind == second.kind == Kind.COMPLETE
    assert (refusals, len(server.calls)) == (6, 8)
    body = server.calls[-1].json
    assert set(body) == {"messages", "system", "inferenceConfig"} and body["inferenceConfig"] == {"maxTokens": 20}
    [system] = body["system"]
    assert system["text"].startswith("label") and system["text"].endswith(json.dumps(json.loads(SCHEMA)))


def test_no_log_probabilities(serve):
    server = serve()
    with pytest.raises(InputError, match=rf"^bedrock:{MODEL}: Bedrock returns no log-probabilities"):
        ask(Request("say", "a b", 8, top_logprobs=1))
    assert not server.calls


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (429, "ThrottlingException"),
        (400, "ServiceQuotaExceededException"),
        (429, "ModelNotReadyException"),
        (503, "ServiceUnavailableException"),
    ],
)
def test_busy(serve, status, code):
    server = serve(fault=lambda n, call: protocol.error(status, code, "Too many requests", {"retry-after": "7"}))
    with pytest.raises(Busy, match="Too many requests") as caught:
        ask()
    assert caught.value.retry_after == 7
    assert len(server.calls) == 1  # the SDK does not retry


@pytest.mark.parametrize(
    ("fault", "billed"),
    [
        (protocol.error(500, "InternalServerException", "Internal error"), False),
        (protocol.error(408, "ModelTimeoutException", "The model took too long"), False),
        (protocol.error(424, "ModelErrorException", "The model failed"), False),
        (Reply(b"<html>Bad gateway</html>", 502), False),
        (Break.RESET, True),
        (Break.GARBAGE, True),
        (Reply({"hello": "world"}), True),
        (Reply(b"<html>welcome</html>"), True),
    ],
)
def test_dropped(serve, fault, billed):
    server = serve(fault=lambda n, call: fault)
    with pytest.raises(Dropped) as caught:
        ask()
    assert caught.value.billed is billed
    assert len(server.calls) == 1


@pytest.mark.parametrize("fault", [Break.DRIP, Break.SILENCE])
def test_an_answer_that_takes_too_long(serve, fault):
    serve(fault=lambda n, call: fault)
    started = time.monotonic()
    with pytest.raises(Dropped, match="Timeout"):
        ask(timeout=0.5)
    assert time.monotonic() - started < 10  # the whole body would take half a minute


def test_no_server_there(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "http://127.0.0.1:9")
    with pytest.raises(Dropped) as caught:
        ask()
    assert caught.value.billed is False


def test_rejected_without_repeating_the_request(serve):
    serve(fault=lambda n, call: protocol.error(400, "ValidationException", "Input is too long for requested model."))
    with pytest.raises(Rejected, match=r"^HTTP 400: Input is too long for requested model\.$"):
        ask()
    echoing = Request("say", "the patient of 1953 has pneumonia", 8)
    serve(fault=lambda n, call: protocol.error(400, "ValidationException", f"Bad value: {echoing.prompt}"))
    with pytest.raises(Rejected, match=r"^HTTP 400: ValidationException$"):
        ask(echoing)


@pytest.mark.parametrize(
    ("status", "code", "text", "message"),
    [
        (403, "AccessDeniedException", "no", r"access denied \(HTTP 403\); allow the identity bedrock:InvokeModel"),
        (403, "UnrecognizedClientException", "no", r"AWS refused the credentials .*aws configure"),
        (403, "ExpiredTokenException", "no", r"AWS refused the credentials \(HTTP 403, ExpiredTokenException\)"),
        (404, "ResourceNotFoundException", "no", r"no such model in eu-west-1 .*check its id and AWS_REGION"),
        (400, "ValidationException", "The provided model identifier is invalid.", "no such model in eu-west-1"),
        (
            400,
            "ValidationException",
            "Invocation of model ID x with on-demand throughput isn’t supported.",
            rf"inference profile, such as bedrock:us\.{MODEL}",
        ),
        (429, "ThrottlingException", "Too many tokens per day, please wait.", "run the same command tomorrow"),
    ],
)
def test_what_no_other_request_mends(serve, status, code, text, message):
    server = serve(fault=lambda n, call: protocol.error(status, code, f"{text} {SECRET}"))
    with pytest.raises(InputError, match=message) as caught:
        ask()
    assert str(caught.value).startswith(f"bedrock:{MODEL}: ") and SECRET not in str(caught.value)
    assert len(server.calls) == 1


def test_the_secret_is_in_no_reason(serve):
    for status, code in ((400, "ValidationException"), (429, "ThrottlingException"), (500, "InternalServerException")):
        reply = protocol.error(status, code, f"bad secret {SECRET}")
        serve(fault=lambda n, call, reply=reply: reply)
        with pytest.raises((Busy, Dropped, Rejected)) as caught:
            ask()
        assert str(caught.value) == f"HTTP {status}: bad secret …" and caught.value.__cause__ is None


def test_no_credentials(serve, monkeypatch):
    server = serve()
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(InputError, match=r"bedrock: no AWS credentials; run: aws configure.* or choose another --teac"):
        open_teacher(MODEL)
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", SECRET)
    open_teacher(MODEL)
    # boto3 sends such a key over https alone.
    with pytest.raises(InputError, match="boto3 cannot ask") as caught:
        ask()
    assert SECRET not in str(caught.value) and not server.calls


def test_half_a_key_and_an_unknown_profile(serve, monkeypatch):
    server = serve()
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(InputError, match=r"boto3 cannot start \(PartialCredentialsError\); run: aws configure"):
        open_teacher(MODEL)
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(InputError, match=r"bedrock: boto3 cannot start \(ProfileNotFound\)"):
        open_teacher(MODEL)
    assert not server.calls


def test_no_region(monkeypatch):
    monkeypatch.delenv("AWS_REGION")
    with pytest.raises(InputError, match="bedrock: no region; set AWS_REGION"):
        open_teacher(MODEL)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-2")
    assert open_teacher(MODEL).client.meta.region_name == "us-west-2"


def test_a_missing_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(InputError, match=r"bedrock needs the package boto3; run: pip install -e '.\[bedrock\]'"):
        open_teacher(MODEL)


def test_many_at_once_and_again_after_closing(serve):
    all_there = threading.Barrier(32)

    def meet(n, call):
        all_there.wait(60)

    server = serve(fault=meet)
    teacher = open_teacher(MODEL)

    async def many():
        answers = await asyncio.gather(*(teacher.ask(Request("say", f"word {i}", 8)) for i in range(32)))
        await teacher.close()
        return [answer.text for answer in answers]

    for _ in range(2):
        assert asyncio.run(many()) == [f"WORD {i}" for i in range(32)]
    assert len(server.calls) == 64


def test_tokens_are_counted_by_the_platform_or_estimated(serve):
    replies = [
        None,
        protocol.error(400, "ValidationException", "The provided model doesn't support counting tokens."),
        protocol.error(429, "ThrottlingException", "slow down"),
    ]
    server = serve(fault=lambda n, call: replies[n])

    async def count():
        teacher = open_teacher(CLAUDE)
        try:
            return await teacher.count_tokens(Request("x" * 40, "y" * 40, 8))
        finally:
            await teacher.close()

    assert asyncio.run(count()) == 2
    assert 15 <= asyncio.run(count()) <= 30
    with pytest.raises(Busy):
        asyncio.run(count())
    assert all(call.path.endswith("/count-tokens") for call in server.calls)
