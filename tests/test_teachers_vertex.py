"""Gemini on Vertex AI as a teacher, through Google's SDK and a server of the tests' own."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time

import pytest
from loopback import Break, Loopback, Reply, Written, answers, echo, one_authority
from protocols import vertex as protocol

from implementations.errors import InputError
from implementations.teachers.teacher import Busy, Dropped, Kind, Rejected, RemoteTeacher, Request
from implementations.teachers.vertex import VertexTeacher, open_teacher

MODEL = "gemini-2.5-flash"
REQUEST = Request("say it loudly", "a b c", 8)
SCHEMA = '{"type": "object", "properties": {"label": {"enum": ["yes", "no"]}}, "required": ["label"]}'


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    """No credentials anywhere, and no search for them on the network."""
    monkeypatch.setenv("SSL_CERT_FILE", str(one_authority(tmp_path)))
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_LOCATION", "GOOGLE_API_KEY", "GOOGLE_VERTEX_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "proj")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "gcloud"))
    monkeypatch.setenv("NO_GCE_CHECK", "true")


@pytest.fixture
def serve(start, monkeypatch, tmp_path):
    """Starts a server that speaks Vertex AI's protocol; the environment points there, with credentials it takes."""

    def serve(model=echo, fault=lambda n, call: None) -> Loopback:
        def asked(n, call):
            return None if call.path == "/token" else fault(n, call)

        server = start(protocol.respond(model), asked)
        monkeypatch.setenv("GOOGLE_VERTEX_BASE_URL", server.url)
        (tmp_path / "subject").write_text("who this machine is")
        (tmp_path / "credentials.json").write_text(
            json.dumps(
                {
                    "type": "external_account",
                    "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q",
                    "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
                    "token_url": f"{server.url}/token",
                    "credential_source": {"file": str(tmp_path / "subject")},
                }
            )
        )
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "credentials.json"))
        return server

    return serve


def ask(request=REQUEST, model=MODEL, **options):
    """One answer from a teacher that is closed afterwards."""
    [answer] = ask_again(1, request, model, **options)
    return answer


def ask_again(times, request=REQUEST, model=MODEL, **options):
    """Answers to one request, asked again and again."""
    return answers(VertexTeacher(model, **options), request, times)


def generated(server: Loopback) -> list:
    return [call for call in server.calls if call.path.endswith(":generateContent")]


def test_an_answer_with_its_usage(serve):
    server = serve()
    answer = ask()
    assert (answer.text, answer.kind, answer.reason) == ("A B C", Kind.COMPLETE, "")
    assert (answer.prompt_tokens, answer.completion_tokens, answer.top_logprobs) == (6, 3, None)
    [call] = generated(server)
    assert call.path == f"/v1beta1/projects/proj/locations/global/publishers/google/models/{MODEL}:generateContent"
    body = call.json
    assert body["systemInstruction"]["parts"] == [{"text": "say it loudly"}]
    assert body["contents"] == [{"role": "user", "parts": [{"text": "a b c"}]}]
    config = body["generationConfig"]
    assert (config["maxOutputTokens"], config["temperature"], config["seed"]) == (8, 0, 0)


def test_it_is_a_remote_teacher(serve, monkeypatch):
    serve()
    teacher = open_teacher(MODEL)
    assert isinstance(teacher, RemoteTeacher)
    assert (teacher.name, teacher.platform, teacher.model) == (f"vertex:{MODEL}", "vertex", MODEL)
    assert teacher.identity.startswith(f"vertex:{MODEL}@127.0.0.1:")
    monkeypatch.setenv("GOOGLE_VERTEX_BASE_URL", "https://eu-aiplatform.googleapis.com")
    assert VertexTeacher(MODEL).identity == f"vertex:{MODEL}"


def test_the_location(serve, monkeypatch):
    monkeypatch.setenv("GOOGLE_CLOUD_LOCATION", "europe-west4")
    server = serve()
    ask()
    assert "/locations/europe-west4/" in generated(server)[0].path


@pytest.mark.parametrize(
    ("model", "temperature", "thinking"),
    [
        ("gemini-2.0-flash", 0, None),
        ("gemini-2.5-flash", 0, {"thinking_budget": 0}),
        ("gemini-2.5-pro", 0, {"thinking_budget": 128}),
        ("gemini-3.5-flash", None, {"thinking_level": "LOW"}),
        ("gemini-flash-latest", None, {"thinking_level": "LOW"}),
        ("publishers/mistral/models/small", 0, None),
    ],
)
def test_as_little_thinking_and_randomness_as_the_model_takes(serve, model, temperature, thinking):
    server = serve()
    ask(model=model)
    config = generated(server)[0].json["generationConfig"]
    assert (config.get("temperature"), config.get("thinkingConfig")) == (temperature, thinking)


def test_kinds(serve):
    nothing = Written("", 4, 0, False, [])
    more = protocol.response(echo("", "a b c", 9), finish="CONTINUATION")
    more["candidates"][0]["continuationToken"] = "dG9rZW4="
    replies = [
        (Reply(protocol.response(echo("", "a b c", 2))), Kind.TRUNCATED, ""),
        (Reply(more), Kind.TRUNCATED, ""),
        (Reply(protocol.response(nothing)), Kind.EMPTY, ""),
        (Reply(protocol.response(nothing, finish="SAFETY")), Kind.REFUSED, "SAFETY"),
        (Reply(protocol.response(nothing, finish="RECITATION")), Kind.REFUSED, "RECITATION"),
        (protocol.blocked("PROHIBITED_CONTENT"), Kind.REFUSED, "the prompt was blocked: PROHIBITED_CONTENT"),
    ]
    server = serve(fault=lambda n, call: replies[len(generated(server)) - 1][0])
    for answer, (_, kind, reason) in zip(ask_again(len(replies)), replies, strict=True):
        assert (answer.kind, answer.reason, answer.prompt_tokens >= 3) == (kind, reason, True)
    assert len(generated(server)) == len(replies)


def test_thoughts_are_paid_for_and_left_out(serve):
    counts = {"thoughtsTokenCount": 40, "cachedContentTokenCount": 2}
    serve(fault=lambda n, call: Reply(protocol.response(echo("", "a b", 9), thought="Let me see.", **counts)))
    answer = ask()
    assert (answer.text, answer.completion_tokens, answer.cache_read_tokens) == ("A B", 42, 2)
    spent = protocol.response(Written("", 4, 0, True, []), thoughtsTokenCount=8)
    serve(fault=lambda n, call: Reply(spent))
    answer = ask()
    assert (answer.kind, answer.completion_tokens) == (Kind.EMPTY, 8)
    assert answer.reason.startswith("the token limit was spent before any text")


def test_a_schema_is_sent_and_the_answer_held_to_it(serve):
    asked = Request("label", "x", 20, schema=SCHEMA)
    for text, kind in {
        '{"label": "yes"}': Kind.COMPLETE,
        '{"label": 1}': Kind.MALFORMED,
        "yes": Kind.MALFORMED,
    }.items():
        server = serve(lambda *_, text=text: Written(text, 4, 3, False, []))
        assert ask(asked).kind == kind
    config = generated(server)[0].json["generationConfig"]
    assert (config["responseMimeType"], config["responseJsonSchema"]) == ("application/json", json.loads(SCHEMA))


def test_log_probabilities(serve):
    server = serve()
    answer = ask(Request("say", "a b", 8, top_logprobs=2))
    assert answer.top_logprobs == ((("A ", -0.1), ("other ", -2.4)), (("B ", -0.1), ("other ", -2.4)))
    config = generated(server)[0].json["generationConfig"]
    assert (config["responseLogprobs"], config["logprobs"]) == (True, 2)


def test_a_chosen_token_that_is_not_among_the_likeliest_comes_first(serve):
    body = protocol.response(Written("A", 4, 1, False, [[("A", -3.0), ("B", -0.1)]]), 2)
    body["candidates"][0]["logprobsResult"]["topCandidates"][0]["candidates"].pop(0)
    serve(fault=lambda n, call: Reply(body))
    assert ask(Request("say", "a", 8, top_logprobs=1)).top_logprobs == ((("A", -3.0), ("B", -0.1)),)


def test_log_probabilities_that_cannot_be_had(serve):
    server = serve()
    with pytest.raises(InputError, match="21 log-probabilities for each token are more than the 20"):
        ask(Request("say", "a b", 8, top_logprobs=21))
    assert not generated(server)
    asked = Request("say", "a b", 8, top_logprobs=2)
    serve(fault=lambda n, call: Reply(protocol.response(echo("", "a b", 8))))
    with pytest.raises(InputError, match=rf"^vertex:{MODEL}: the model returns no log-probabilities"):
        ask(asked)
    serve(fault=lambda n, call: protocol.error(400, "INVALID_ARGUMENT", "Logprobs is not enabled for this model"))
    with pytest.raises(InputError, match="returns no log-probabilities"):
        ask(asked)


@pytest.mark.parametrize("status", [429, 503])
def test_busy(serve, status):
    info = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34s"}]
    faults = [
        protocol.error(status, "RESOURCE_EXHAUSTED", "Resource exhausted.", headers={"retry-after": "7"}),
        protocol.error(status, "RESOURCE_EXHAUSTED", "Resource exhausted.", info),
        protocol.error(status, "RESOURCE_EXHAUSTED", "Resource exhausted."),
    ]
    server = serve(fault=lambda n, call: faults[len(generated(server)) - 1])
    for seconds in (7, 34, None):
        with pytest.raises(Busy, match=f"HTTP {status}: Resource exhausted") as caught:
            ask()
        assert caught.value.retry_after == seconds
    assert len(generated(server)) == 3  # the SDK does not retry


@pytest.mark.parametrize(
    ("fault", "billed"),
    [
        (protocol.error(500, "INTERNAL", "Internal error."), False),
        (protocol.error(504, "DEADLINE_EXCEEDED", "Deadline expired."), False),
        (protocol.error(499, "CANCELLED", "The operation was cancelled."), False),
        (Reply(b"<html>Bad gateway</html>", 502), False),
        (Break.RESET, True),
        (Break.GARBAGE, True),
        (Reply({"hello": "world"}), True),
        (Reply({"candidates": "none"}), True),
        (Reply({"candidates": [{"finishReason": "STOP", "content": {"parts": "none"}}]}), True),
        (Reply({**protocol.response(echo("", "a", 9)), "usageMetadata": None}), True),
    ],
)
def test_dropped(serve, fault, billed):
    server = serve(fault=lambda n, call: fault)
    with pytest.raises(Dropped) as caught:
        ask()
    assert caught.value.billed is billed
    assert len(generated(server)) == 1


@pytest.mark.parametrize("fault", [Break.DRIP, Break.SILENCE])
def test_an_answer_that_takes_too_long(serve, fault):
    serve(fault=lambda n, call: fault)
    started = time.monotonic()
    with pytest.raises(Dropped, match="Timeout"):
        ask(timeout=0.5)
    assert time.monotonic() - started < 10  # the whole body would take a minute


def test_no_server_there(serve, monkeypatch):
    serve()
    monkeypatch.setenv("GOOGLE_VERTEX_BASE_URL", "http://127.0.0.1:9")
    with pytest.raises(Dropped) as caught:
        ask()
    assert caught.value.billed is False


def test_rejected_without_repeating_the_request(serve):
    message = "The input token count exceeds the maximum number of tokens allowed."
    serve(fault=lambda n, call: protocol.error(400, "INVALID_ARGUMENT", message))
    with pytest.raises(Rejected, match=f"^HTTP 400: {message}$"):
        ask()
    echoing = Request("say", "the patient of 1953 has pneumonia", 8)
    serve(fault=lambda n, call: protocol.error(400, "INVALID_ARGUMENT", f"Invalid value: {echoing.prompt}"))
    with pytest.raises(Rejected, match=r"^HTTP 400$"):
        ask(echoing)


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (401, "UNAUTHENTICATED", r"^vertex:gemini-2.5-flash: .*HTTP 401.*gcloud auth application-default login"),
        (403, "PERMISSION_DENIED", r"HTTP 403.*roles/aiplatform.user"),
        (400, "FAILED_PRECONDITION", r"HTTP 400.*billing"),
        (404, "NOT_FOUND", r"no such model in global \(HTTP 404\); check its name and GOOGLE_CLOUD_LOCATION"),
    ],
)
def test_what_no_other_request_mends(serve, status, code, message):
    serve(fault=lambda n, call: protocol.error(status, code, f"Bad token {protocol.TOKEN}"))
    with pytest.raises(InputError, match=message) as caught:
        ask()
    assert protocol.TOKEN not in str(caught.value)


def test_the_token_is_in_no_reason(serve):
    for status in (400, 429, 500):
        serve(fault=lambda n, call, status=status: protocol.error(status, "X", f"Bad token {protocol.TOKEN}"))
        with pytest.raises((Busy, Dropped, Rejected)) as caught:
            ask()
        assert "Bad token" in str(caught.value) and "secret" not in str(caught.value)
        assert caught.value.__cause__ is None


def test_no_credentials():
    with pytest.raises(InputError, match=r"vertex: no Google Cloud credentials; run: gcloud auth application-default"):
        open_teacher(MODEL)


def test_no_project(serve, monkeypatch):
    server = serve()
    monkeypatch.delenv("GOOGLE_CLOUD_PROJECT")
    from google.oauth2.credentials import Credentials

    with pytest.raises(InputError, match="vertex: no project; set GOOGLE_CLOUD_PROJECT"):
        ask(credentials=Credentials(token="t"))
    assert not server.calls


def test_credentials_that_are_refused(serve, monkeypatch):
    server = serve()
    server.fault = lambda n, call: Reply({"error": "invalid_grant", "error_description": "expired"}, 400)
    with pytest.raises(InputError, match="Google Cloud refused the credentials; run: gcloud auth"):
        ask()
    assert not generated(server)


def test_credentials_given_to_the_class(serve, monkeypatch):
    server = serve()
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    from google.oauth2.credentials import Credentials

    assert ask(credentials=Credentials(token=protocol.TOKEN)).text == "A B C"
    assert server.paths["POST /token"] == 0


def test_a_missing_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "google.genai", None)
    monkeypatch.delattr("google.genai", raising=False)
    with pytest.raises(InputError, match=r"needs the package google-genai; run: pip install -e '.\[vertex\]'"):
        open_teacher(MODEL)


def test_many_at_once_and_again_in_another_event_loop(serve):
    all_there = threading.Barrier(32)

    def meet(n, call):
        all_there.wait(60)

    server = serve(fault=meet)
    teacher = open_teacher(MODEL)

    async def many():
        answers = await asyncio.gather(*(teacher.ask(Request("say", f"word {i}", 8)) for i in range(32)))
        http = teacher._http
        await teacher.close()
        assert http.is_closed
        return [answer.text for answer in answers]

    for _ in range(2):
        assert asyncio.run(many()) == [f"WORD {i}" for i in range(32)]
    assert len(generated(server)) == 64


def test_tokens_are_counted_by_the_platform(serve):
    server = serve()

    async def count(request):
        teacher = open_teacher(MODEL)
        try:
            return await teacher.count_tokens(request)
        finally:
            await teacher.close()

    assert asyncio.run(count(REQUEST)) == 6
    assert asyncio.run(count(Request("", "a b", 8))) == 2
    assert not generated(server)
