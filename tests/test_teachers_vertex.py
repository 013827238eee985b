"""Gemini on Vertex AI as a teacher, through Google's SDK and a server of the tests' own."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from loopback import Break, Call, Loopback, Reply, Written, answers, echo, one_authority, with_teacher
from platforms import PLATFORMS
from protocols import vertex as protocol

from implementations import plan
from implementations.errors import InputError
from implementations.teachers import vertex_batch
from implementations.teachers.google_cloud import endpoint
from implementations.teachers.spending import BATCH_FROM, Spending
from implementations.teachers.teacher import BatchTeacher, Busy, Dropped, Kind, Rejected, RemoteTeacher, Request
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

    def serve(model=echo, fault=lambda n, call: None, **how) -> Loopback:
        def asked(n, call):
            return None if call.path == "/token" else fault(n, call)

        server = start(protocol.respond(model, **how), asked)
        for variable, value in PLATFORMS["vertex"].environment(server.url, tmp_path).items():
            monkeypatch.setenv(variable, value)
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
    assert isinstance(teacher, RemoteTeacher) and isinstance(teacher, BatchTeacher)
    assert (teacher.name, teacher.platform, teacher.model) == (f"vertex:{MODEL}", "vertex", MODEL)
    assert teacher.identity.startswith(f"vertex:{MODEL}@127.0.0.1:")
    monkeypatch.setenv("GOOGLE_VERTEX_BASE_URL", "https://eu-aiplatform.googleapis.com")
    assert VertexTeacher(MODEL).identity == f"vertex:{MODEL}"


def test_the_location(serve, monkeypatch):
    monkeypatch.setenv("GOOGLE_CLOUD_LOCATION", "europe-west4")
    server = serve()
    ask()
    assert "/locations/europe-west4/" in generated(server)[0].path


def test_a_location_whose_price_is_higher(monkeypatch):
    def planned() -> tuple[float, str]:
        teacher, options = VertexTeacher("gemini-3.5-flash"), SimpleNamespace(spending=Spending(), prompts=None)
        return Spending().price(teacher).cost(1_000_000, 0), plan._notes(teacher, [], options)[0]

    usd, line = planned()
    assert usd == 1.5 and line.endswith(
        "At the global endpoint; other locations cost 10% more. Thinking counts as output."
    )
    monkeypatch.setenv("GOOGLE_CLOUD_LOCATION", "europe-west4")
    usd, line = planned()
    assert usd == pytest.approx(1.65) and line.endswith("The price of europe-west4 is counted.")


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


# ------------------------------------------------------------------------------------------------- jobs


JOBS = "/batchPredictionJobs"


def run(act, model=MODEL, **options):
    return with_teacher(VertexTeacher(model, **options), act)


def keys(count: int) -> dict[str, Request]:
    requests = [Request("say", f"a {i}", 8) for i in range(count)]
    return {request.key("vertex"): request for request in requests}


async def fetch(teacher, job: str) -> list:
    return [row async for row in teacher.results(job)]


def through(requests: dict[str, Request], model=MODEL) -> dict:
    """What becomes of ``requests`` in a job of their own."""

    async def whole(teacher):
        job = await teacher.submit(requests)
        while not (await teacher.progress(job))[1]:
            pass
        return dict(await fetch(teacher, job))

    return run(whole, model)


def files(server: Loopback) -> dict[str, bytes]:
    """What is in the bucket, by the last part of the name."""
    return {name.rpartition("/")[2]: data for name, data in server.respond.__self__.files.items()}


def created(server: Loopback) -> list[Call]:
    return [call for call in server.calls if call.method == "POST" and call.path.endswith(JOBS)]


def on(method: str, end: str, fault):
    """The fault, for calls of that method whose path ends so."""
    return lambda n, call: fault if call.method == method and call.path.endswith(end) else None


def test_a_job_from_start_to_end(serve):
    server = serve(polls=2)
    requests = keys(20)

    async def whole(teacher):
        job = await teacher.submit(requests)
        with pytest.raises(Dropped, match="has not ended"):
            await fetch(teacher, job)
        seen = [await teacher.progress(job) for _ in range(2)]
        return job, seen, await fetch(teacher, job)

    job, seen, rows = run(whole)
    assert job == "projects/proj/locations/global/batchPredictionJobs/1" and seen == [(0, False), (20, True)]
    assert {key: answer.text for key, answer in rows} == {k: r.prompt.upper() for k, r in requests.items()}
    assert [key for key, _ in rows] != list(requests)  # in an order of their own
    assert all(answer.kind is Kind.COMPLETE and answer.prompt_tokens == 3 for _, answer in rows)
    [call] = created(server)
    assert call.path == "/v1/projects/proj/locations/global/batchPredictionJobs"
    body = call.json
    assert body["model"] == f"publishers/google/models/{MODEL}"
    [source] = body["inputConfig"]["gcsSource"]["uris"]
    assert source.startswith(f"gs://{protocol.BUCKET}/distillation-patterns/20")
    assert (body["inputConfig"]["instancesFormat"], body["outputConfig"]["predictionsFormat"]) == ("jsonl", "jsonl")
    assert set(files(server)) == {"requests.jsonl", "keys.json", "predictions.jsonl"}
    assert b"a 1" not in files(server)["keys.json"]


@pytest.mark.parametrize("model", ["gemini-2.0-flash", "gemini-2.5-flash", "gemini-2.5-pro", "gemini-3.5-flash"])
def test_a_row_is_the_body_of_a_single_request(serve, model):
    from google.genai.types import GenerationConfig

    schema = '{"type": "object", "properties": {"n": {"type": ["integer", "null"], "default": null}}}'
    for asked in (REQUEST, Request("", "è\n", 8), Request("a", "b", 9, schema), Request("a", "c", 9, top_logprobs=2)):
        server = serve()
        ask(asked, model)
        [single] = generated(server)
        through({asked.key("vertex"): asked}, model)
        [line] = files(server)["requests.jsonl"].splitlines()
        row, body = json.loads(line)["request"], single.json
        # The SDK sends some names in snake case, which the interface takes too.
        configs = [GenerationConfig.model_validate(part.pop("generationConfig")) for part in (row, body)]
        assert row == body and configs[0] == configs[1]


def test_what_becomes_of_the_rows_of_a_job(serve):
    outcomes = ["succeeded", "INVALID_ARGUMENT", "RESOURCE_EXHAUSTED", "INTERNAL", "missing"]
    serve(outcome=lambda row, prompt: outcomes[row])
    requests = keys(5)
    rows = through(requests)
    answered, rejected, exhausted, internal, missing = (rows.get(key) for key in requests)
    assert answered.text == "A 0" and missing is None
    assert isinstance(rejected, Rejected) and str(rejected) == "INVALID_ARGUMENT"
    for error, reason in ((exhausted, "RESOURCE_EXHAUSTED"), (internal, "INTERNAL")):
        assert isinstance(error, Dropped) and str(error) == reason and not error.billed


def test_log_probabilities_of_a_job(serve):
    serve()
    asked = Request("say", "a b", 8, top_logprobs=2)
    [answer] = through({"k": asked}).values()
    assert answer.top_logprobs == ((("A ", -0.1), ("other ", -2.4)), (("B ", -0.1), ("other ", -2.4)))


def test_rows_that_are_not_as_they_should_be(serve):
    """One that cannot be read costs its own answer and no other; what is new in one is passed over."""
    server = serve()
    requests = keys(5)
    unknown, blocked, empty, odd, whole = requests
    body = protocol.response(echo("", "a", 9))
    body["candidates"][0]["newField"] = body["newField"] = {"x": 1}

    async def act(teacher):
        job = await teacher.submit(requests)
        await teacher.progress(job)
        [name] = [name for name in server.respond.__self__.files if name.endswith("predictions.jsonl")]
        rows = [json.loads(line) for line in server.respond.__self__.files[name].splitlines()]
        rows.sort(key=lambda row: row["request"]["contents"][0]["parts"][0]["text"])
        rows[0]["request"] = {"contents": [{"parts": [{"text": "never asked"}]}]}
        rows[1]["response"] = protocol.blocked("PROHIBITED_CONTENT").body
        rows[2]["response"] = {}
        rows[3]["response"] = {"candidates": "none"}
        rows[4]["response"] = body
        rows.append({"status": "Something went wrong", "request": None, "response": None})
        server.respond.__self__.files[name] = "".join(json.dumps(row) + "\n" for row in rows).encode()
        return dict(await fetch(teacher, job))

    rows = run(act)
    assert unknown not in rows and len(rows) == 4
    assert (rows[blocked].kind, rows[blocked].reason) == (Kind.REFUSED, "the prompt was blocked: PROHIBITED_CONTENT")
    assert isinstance(rows[empty], Dropped) and isinstance(rows[odd], Dropped)
    assert rows[whole].text == "A"


def test_equal_prompts_are_told_apart_by_their_instructions(serve):
    serve(lambda instruction, prompt, limit: Written(f"{instruction}: {prompt}", 4, 3, False, []))
    requests = {f"{i}{j}": Request(f"do {i}", f"word {j}", 8) for i in range(3) for j in range(3)}
    requests["none"] = Request("", "word 0", 8)
    rows = through(requests)
    assert {key: answer.text for key, answer in rows.items()} == {
        key: f"{request.instruction}: {request.prompt}" for key, request in requests.items()
    }


def test_requests_that_differ_in_nothing_that_comes_back(serve):
    server = serve()
    with pytest.raises(InputError, match=r"the same instruction and prompt, .* cannot be told apart; give --no-batch"):
        through({"a": REQUEST, "b": replace(REQUEST, max_new_tokens=9)})
    assert not server.calls


def test_a_file_of_requests_too_large_for_one_upload(serve):
    server = serve()
    requests = {str(i): Request("", f"{i} {'x' * 3_000_000}", 1) for i in range(4)}
    assert {key: answer.text for key, answer in through(requests).items()} == {key: key for key in requests}
    uploads = Counter(call.query["uploadType"] for call in server.calls if call.path.startswith("/upload/"))
    assert uploads == {"multipart": 1, "resumable": 2} and len(files(server)["requests.jsonl"]) > 8 << 20


def test_an_upload_is_tried_again_and_the_job_started_once(serve):
    faults = iter([protocol.error(503, "UNAVAILABLE", "Try later."), Break.RESET])
    server = serve(fault=lambda n, call: next(faults, None) if call.path.startswith("/upload/") else None)
    assert len(through(keys(2))) == 2 and len(created(server)) == 1


def test_a_job_is_found_by_its_requests_time_and_model(serve):
    """Not by their number alone: another user may have as many."""
    serve()
    mine, theirs = keys(2), {request.key("theirs"): request for request in keys(2).values()}

    async def whole(teacher):
        before = datetime.now(UTC)
        jobs = [await teacher.submit(some) for some in (mine, keys(3), mine, theirs)]
        after = datetime.now(UTC) + timedelta(seconds=1)
        other = await VertexTeacher("gemini-2.5-pro").find(before, mine)
        lookups = ((before, mine), (before, list(mine)[::-1]), (before, keys(5)), (after, mine))
        return jobs, [*[await teacher.find(*lookup) for lookup in lookups], other]

    jobs, found = run(whole)
    assert found == [[jobs[2], jobs[0]], [jobs[2], jobs[0]], [], [], []]


def test_finding_goes_through_every_page(serve, monkeypatch):
    monkeypatch.setattr(protocol, "PAGE", 2)
    server = serve()

    async def whole(teacher):
        before = datetime.now(UTC)
        return [await teacher.submit(keys(1)) for _ in range(5)], await teacher.find(before, keys(1))

    jobs, found = run(whole)
    assert found == jobs[::-1] and server.paths["GET /v1/projects/proj/locations/global/batchPredictionJobs"] == 3


def test_a_cancelled_job(serve):
    serve(polls=100)

    async def whole(teacher):
        job = await teacher.submit(keys(2))
        await teacher.cancel(job)
        return await teacher.progress(job), await fetch(teacher, job)

    progress, rows = run(whole)
    assert progress == (0, True) and [str(error) for _, error in rows] == ["cancelled"] * 2


def test_a_job_that_fails_says_where_to_look(serve):
    serve(ends="FAILED")
    rows = through(keys(3))
    assert rows.keys() == keys(3).keys()
    for error in rows.values():
        assert isinstance(error, Dropped) and not error.billed
        assert str(error) == (
            "the job failed (PERMISSION_DENIED); see projects/proj/locations/global/batchPredictionJobs/1 in the "
            "Google Cloud console"
        )


def test_a_job_that_expires_gives_what_it_has(serve):
    serve(ends="EXPIRED", outcome=lambda row, prompt: ("succeeded", "missing")[row % 2])
    requests = keys(4)
    rows = through(requests)
    assert [getattr(rows[key], "text", str(rows[key])) for key in requests] == ["A 0", "expired", "A 2", "expired"]


def test_a_job_whose_files_are_gone(serve):
    server = serve()

    async def whole(teacher):
        job = await teacher.submit(keys(2))
        await teacher.progress(job)
        server.respond.__self__.files.clear()
        return await fetch(teacher, job)

    assert run(whole) == []


def test_a_disk_too_full_for_the_answers_of_a_job(serve, monkeypatch):
    serve()
    monkeypatch.setattr(vertex_batch, "TemporaryFile", partial(Path("/dev/full").open, "wb", buffering=0))
    with pytest.raises(InputError, match=r"the disk is full; free some space \(or give TMPDIR on another disk\)"):
        through(keys(2))


def test_without_a_bucket_there_are_no_jobs(serve, monkeypatch):
    server = serve()
    assert VertexTeacher(MODEL).why_no_jobs == ""
    assert Spending().in_jobs(VertexTeacher(MODEL), BATCH_FROM)
    monkeypatch.delenv("GOOGLE_CLOUD_STORAGE_BUCKET")
    assert not Spending().in_jobs(VertexTeacher(MODEL), BATCH_FROM)
    with pytest.raises(InputError, match=r"^--batch: vertex: no bucket .*; set GOOGLE_CLOUD_STORAGE_BUCKET to "):
        Spending(batch=True).check(VertexTeacher(MODEL))
    monkeypatch.setenv("GOOGLE_CLOUD_STORAGE_BUCKET", f"gs://{protocol.BUCKET}/")
    assert len(through(keys(2))) == 2 and len(created(server)) == 1
    assert "Google's own models" in VertexTeacher("publishers/mistral/models/small").why_no_jobs


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (
            on("POST", "/o", protocol.error(403, "PERMISSION_DENIED", f"No, {protocol.TOKEN}")),
            "objectUser on it",
        ),
        (on("POST", JOBS, protocol.error(403, "PERMISSION_DENIED", f"No, {protocol.TOKEN}")), "roles/aiplatform.user"),
        (on("POST", JOBS, protocol.error(401, "UNAUTHENTICATED", f"No, {protocol.TOKEN}")), "HTTP 401"),
    ],
)
def test_access_that_a_job_does_not_have(serve, fault, message):
    serve(fault=fault)
    with pytest.raises(InputError, match=rf"^vertex:{MODEL}: Google Cloud refused access .*{message}") as caught:
        through(keys(1))
    assert protocol.TOKEN not in str(caught.value)


def test_a_bucket_that_is_not_there(serve, monkeypatch):
    server = serve()
    monkeypatch.setenv("GOOGLE_CLOUD_STORAGE_BUCKET", "nowhere")
    with pytest.raises(InputError, match=r"no bucket gs://nowhere .*GOOGLE_CLOUD_STORAGE_BUCKET, or run: gcloud"):
        through(keys(1))
    assert not created(server)


@pytest.mark.parametrize(
    ("fault", "kind", "reason"),
    [
        (protocol.error(429, "RESOURCE_EXHAUSTED", "Quota exceeded."), Busy, "HTTP 429: Quota exceeded."),
        (protocol.error(503, "UNAVAILABLE", "Try later."), Busy, "HTTP 503: Try later."),
        (protocol.error(400, "INVALID_ARGUMENT", "No batches: a model."), Rejected, "HTTP 400: No batches: a model."),
        (protocol.error(404, "NOT_FOUND", "No such model."), Rejected, "HTTP 404: No such model."),
        (protocol.error(500, "INTERNAL", "Internal error."), Dropped, "HTTP 500: Internal error."),
        (Break.RESET, Dropped, "no usable answer"),
        (Break.GARBAGE, Dropped, "no usable answer"),
        (Break.SILENCE, Dropped, "no usable answer"),
    ],
)
def test_a_job_that_is_not_taken(serve, fault, kind, reason):
    server = serve(fault=on("POST", JOBS, fault))
    with pytest.raises(kind) as caught:
        run(lambda teacher: teacher.submit(keys(1)), timeout=1.0)
    assert str(caught.value).startswith(reason)
    assert len(created(server)) == 1  # the SDK does not ask again


@pytest.mark.parametrize("end", ["keys.json", "predictions.jsonl", "/o", "/1"])
@pytest.mark.parametrize("fault", [Break.RESET, Break.GARBAGE, protocol.error(503, "UNAVAILABLE", "Later.")])
def test_results_that_break_off(serve, end, fault):
    server = serve()
    got = []

    async def whole(teacher):
        job = await teacher.submit(keys(40))
        await teacher.progress(job)
        server.fault = on("GET", end, fault)
        async for row in teacher.results(job):
            got.append(row)

    with pytest.raises((Busy, Dropped)):
        run(whole)
    assert not got


def test_a_jobs_teacher_opens_again(serve):
    serve()
    teacher = VertexTeacher(MODEL)

    async def once():
        job = await teacher.submit(keys(1))
        await teacher.close()
        seen = await teacher.progress(job)
        await teacher.close()
        return seen

    assert asyncio.run(once()) == (1, True)


def test_a_missing_package_for_jobs(serve, monkeypatch):
    serve()
    monkeypatch.setitem(sys.modules, "google.cloud.aiplatform_v1.services.job_service", None)
    with pytest.raises(InputError, match=r"the package google-cloud-aiplatform; run: pip install -e '.\[vertex\]'"):
        through(keys(1))


def test_credentials_that_are_refused_for_jobs(serve):
    server = serve()
    server.fault = lambda n, call: Reply({"error": "invalid_grant", "error_description": "expired"}, 400)
    with pytest.raises(InputError, match="Google Cloud refused the credentials; run: gcloud auth"):
        through(keys(1))


def test_where_jobs_go(monkeypatch):
    places = {location: endpoint(location) for location in ("global", "us", "europe-west4")}
    assert places == {
        "global": "aiplatform.googleapis.com",
        "us": "aiplatform.us.rep.googleapis.com",
        "europe-west4": "europe-west4-aiplatform.googleapis.com",
    }
    monkeypatch.setenv("GOOGLE_VERTEX_BASE_URL", "https://eu-aiplatform.googleapis.com/")
    assert endpoint("global") == "https://eu-aiplatform.googleapis.com"
