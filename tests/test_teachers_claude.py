"""Claude as a teacher, through Anthropic's own SDK and a server of the tests' own."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest
from loopback import Break, Loopback, Reply, Written, echo, with_teacher
from protocols import claude as protocol

from implementations.errors import InputError
from implementations.teachers.claude import ClaudeTeacher, open_teacher
from implementations.teachers.teacher import BatchTeacher, Busy, Dropped, Kind, Rejected, RemoteTeacher, Request

KEY = "sk-ant-api03-secret-0123456789"
MODEL = "claude-haiku-5-5"
REQUEST = Request("say it loudly", "a b c", 8)
SCHEMA = json.dumps(
    {"type": "object", "properties": {"label": {"type": "string"}, "n": {"type": "integer"}}, "required": ["label"]}
)
MESSAGES = "/v1/messages"


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    for name in ("AUTH_TOKEN", "BASE_URL", "PROFILE", "CUSTOM_HEADERS", "CONFIG_DIR", "IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(f"ANTHROPIC_{name}", raising=False)
    for name in ("HOME", "XDG_CONFIG_HOME", "APPDATA"):  # no profile of whoever runs the tests
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)


@pytest.fixture
def serve(start, monkeypatch):
    """Starts a server that speaks Anthropic's protocol, and points ANTHROPIC_BASE_URL at it."""

    def serve(model=echo, fault=lambda n, call: None, delay=0.0, **how) -> Loopback:
        server = start(protocol.respond(model, **how), fault, delay)
        monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url)
        return server

    return serve


def run(act, **options):
    """What ``act(teacher)`` comes to, with a teacher that is closed afterwards."""
    return with_teacher(ClaudeTeacher(MODEL, **options), act)


def ask(request=REQUEST, **options):
    return run(lambda teacher: teacher.ask(request), **options)


def asked(server: Loopback) -> list[dict]:
    """The bodies of the requests for a message."""
    return [call.json for call in server.calls if call.path == MESSAGES]


def spoil(fault, path=MESSAGES):
    """A fault for every request to ``path``; what is asked about the model before goes through."""
    return lambda n, call: fault if call.path == path else None


def says(text: str):
    """A model with one thing to say."""
    return lambda instruction, prompt, limit: Written(text, 5, len(text.split()), False, [])


def test_an_answer_with_its_usage(serve):
    server = serve()

    async def twice(teacher):
        return [await teacher.ask(REQUEST), await teacher.ask(REQUEST)]

    first, second = run(twice)
    assert (first.text, first.kind, first.reason) == ("A B C", Kind.COMPLETE, "")
    # Three words of instruction go into the cache and come out of it; they are prompt tokens either way.
    assert (first.prompt_tokens, first.completion_tokens) == (second.prompt_tokens, second.completion_tokens) == (6, 3)
    assert (first.cache_write_tokens, first.cache_read_tokens) == (3, 0)
    assert (second.cache_write_tokens, second.cache_read_tokens) == (0, 3)
    assert asked(server)[0] == {
        "model": MODEL,
        "max_tokens": 8,
        "system": [{"type": "text", "text": "say it loudly", "cache_control": {"type": "ephemeral"}}],
        "messages": [{"role": "user", "content": "a b c"}],
        "thinking": {"type": "disabled"},
    }
    assert server.calls[-1].headers["authorization"] == f"Bearer {KEY}"


def test_it_is_a_remote_teacher_and_takes_batches(serve):
    server = serve()
    teacher = open_teacher(MODEL)
    assert isinstance(teacher, RemoteTeacher) and isinstance(teacher, BatchTeacher)
    assert (teacher.name, teacher.platform, teacher.model) == (f"claude:{MODEL}", "claude", MODEL)
    # Another endpoint may serve another model by that name.
    assert teacher.identity == f"claude:{MODEL}@{server.url.removeprefix('http://')}"
    assert not server.calls


def test_the_identity_at_anthropic_is_the_model_alone(monkeypatch):
    assert ClaudeTeacher(MODEL).identity == f"claude:{MODEL}"
    monkeypatch.setenv("ANTHROPIC_BASE_URL", f"https://user:{KEY}@Gateway.example:8080/claude/")
    assert ClaudeTeacher(MODEL).identity == f"claude:{MODEL}@gateway.example:8080/claude"


def test_without_an_instruction_there_is_no_system_block(serve):
    server = serve()
    assert ask(Request("", "a b c", 8)).text == "A B C"
    assert "system" not in asked(server)[0]


def test_truncated_empty_refused(serve):
    serve()
    assert ask(Request("", "a b c", 2)).kind is Kind.TRUNCATED
    serve(says(" \n "))
    assert ask().kind is Kind.EMPTY
    serve(says("I would"), stop=lambda prompt: "refusal")
    refused = ask()
    assert (refused.kind, refused.reason) == (Kind.REFUSED, "bio")
    serve(stop=lambda prompt: "model_context_window_exceeded")
    assert ask().kind is Kind.TRUNCATED
    serve(stop=lambda prompt: "pause_turn")
    unknown = ask()
    assert (unknown.kind, unknown.completion_tokens) == (Kind.FAILED, 3) and "pause_turn" in unknown.reason


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('{"label": "yes", "n": 2}', Kind.COMPLETE),
        ('{"n": 2}', Kind.MALFORMED),
        ('{"label": "yes"', Kind.MALFORMED),
        ("yes", Kind.MALFORMED),
    ],
)
def test_a_schema_is_sent_and_checked(serve, text, kind):
    server = serve(says(text))
    assert ask(Request("", "p", 8, schema=SCHEMA)).kind is kind
    form = asked(server)[0]["output_config"]["format"]
    # The API takes closed objects only, which the server of the tests insists on too.
    assert form == {"type": "json_schema", "schema": {**json.loads(SCHEMA), "additionalProperties": False}}


@pytest.mark.parametrize("thinking", [("between_tools", "adaptive"), ("disabled",), ()])
def test_thinking_is_off_where_the_model_allows_it(serve, thinking):
    server = serve(thinking=thinking or ("adaptive",))
    limit = 8 if thinking else 2048
    assert ask(Request("", "a b c", limit, schema=SCHEMA)).text == "A B C"
    [body] = asked(server)
    assert body["thinking"] == {"type": thinking[0] if thinking else "adaptive"}
    assert body["output_config"].get("effort") == (None if thinking else "low")
    assert body["output_config"]["format"]["type"] == "json_schema"


def test_a_model_that_always_thinks_needs_room_for_it(serve):
    server = serve(thinking=("adaptive",))
    with pytest.raises(
        InputError, match=r"cannot answer without thinking, .* limit of 8 tokens; give --max-new-tokens"
    ):
        ask()
    assert not asked(server)
    serve(lambda *_: Written("", 5, 2048, True, []), thinking=("adaptive",))
    answer = ask(Request("", "p", 2048))
    assert (answer.kind, answer.reason) == (Kind.EMPTY, "the token limit was reached before any text")


def test_a_server_that_says_nothing_of_its_models(serve):
    server = serve(fault=spoil(protocol.error("not_found_error"), f"/v1/models/{MODEL}"))
    assert ask().text == "A B C"
    assert "thinking" not in asked(server)[0]


def test_tokens_are_counted_by_the_api(serve):
    server = serve()
    assert run(lambda teacher: teacher.count_tokens(REQUEST)) == 6
    assert not asked(server)


BUSY = {"retry-after": "7"}


@pytest.mark.parametrize(
    ("reply", "kind", "retry_after"),
    [
        (protocol.error("rate_limit_error", "slow down", BUSY), Busy, 7.0),
        (protocol.error("overloaded_error", "Overloaded"), Busy, None),
        (Reply({"error": {"type": "overloaded_error"}}, 503), Busy, None),
        (protocol.error("api_error", "Internal server error"), Dropped, None),
        (Reply(b"<html>bad gateway</html>", 502), Dropped, None),
        (protocol.error("invalid_request_error", "prompt is too long: 9 tokens > 8 maximum"), Rejected, None),
        (protocol.error("request_too_large", "Request exceeds the maximum size"), Rejected, None),
    ],
)
def test_what_the_platform_refuses(serve, reply, kind, retry_after):
    server = serve(fault=spoil(reply))
    with pytest.raises(kind) as raised:
        ask()
    assert str(reply.status) in str(raised.value) and getattr(raised.value, "retry_after", None) == retry_after
    assert not getattr(raised.value, "billed", False)
    assert len(asked(server)) == 1  # the SDK's own retries are off


def test_a_retry_after_may_be_a_date(serve):
    when = datetime.now(UTC) + timedelta(seconds=30)
    header = {"retry-after": when.strftime("%a, %d %b %Y %H:%M:%S GMT")}
    serve(fault=spoil(protocol.error("rate_limit_error", "", header)))
    with pytest.raises(Busy) as raised:
        ask()
    assert 20 < raised.value.retry_after <= 30


@pytest.mark.parametrize(
    "fault",
    [
        Break.RESET,
        Break.GARBAGE,
        Break.DRIP,
        Break.SILENCE,
        Reply({"id": "msg_1"}),
        Reply([]),
        Reply(b"hello", headers={"Content-Type": "text/plain"}),
        Reply({"content": [{"type": "text", "text": "hi"}], "stop_reason": "end_turn"}),
        Reply({"content": None, "stop_reason": "end_turn", "usage": {"input_tokens": 1, "output_tokens": 1}}),
    ],
)
def test_what_gets_lost(serve, fault):
    server = serve(fault=spoil(fault))
    started = time.monotonic()
    with pytest.raises(Dropped) as raised:
        ask(timeout=1.0 if fault in (Break.DRIP, Break.SILENCE) else 5.0)
    assert raised.value.billed  # for all that is known here, it was answered
    assert len(asked(server)) <= 1 and time.monotonic() - started < 8  # the drip would take a minute


def test_nobody_there(serve, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:9")
    with pytest.raises(Dropped) as raised:
        ask()
    assert not raised.value.billed
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "localhost:8080")
    with pytest.raises(InputError, match="ANTHROPIC_BASE_URL is no URL"):
        ask()


@pytest.mark.parametrize(
    ("reply", "mend"),
    [
        (protocol.error("authentication_error", f"invalid x-api-key: {KEY}"), "check ANTHROPIC_API_KEY"),
        (protocol.error("permission_error"), "check the key's workspace"),
        (protocol.error("not_found_error"), "check the model's name and ANTHROPIC_BASE_URL"),
        (protocol.error("billing_error"), r"settings/billing"),
        (protocol.error("invalid_request_error", "Your credit balance is too low to access …"), "settings/billing"),
        (protocol.error("rate_limit_error", code="enforced_spend_limit_reached"), "settings/billing"),
        (protocol.error("invalid_request_error", code="organization_on_hold"), "on hold"),
    ],
)
def test_what_the_user_can_mend(serve, reply, mend):
    serve(fault=spoil(reply))
    with pytest.raises(InputError, match=mend) as raised:
        ask()
    assert KEY not in str(raised.value)


def test_a_wrong_key_is_said_at_the_first_question(serve):
    server = serve(key="another")
    with pytest.raises(InputError, match="HTTP 401"):
        ask()
    assert not asked(server)


def test_reasons_repeat_neither_the_request_nor_the_key(serve):
    request = Request("", "the patient Jane Example, born 1 May 1950, was admitted", 8)
    for message in (f"messages.0.content: {request.prompt}", f"x-api-key {KEY} is odd", "max_tokens: 8 is odd"):
        serve(fault=spoil(protocol.error("invalid_request_error", message)))
        with pytest.raises(Rejected) as raised:
            ask(request)
        assert "Jane" not in str(raised.value) and KEY not in str(raised.value)
        assert len(str(raised.value).splitlines()) == 1
    assert "max_tokens: 8 is odd" in str(raised.value)


def test_no_key(serve, monkeypatch):
    server = serve()
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    with pytest.raises(
        InputError, match=r"no API key; set ANTHROPIC_API_KEY \(https://\S+\) or choose another --teacher"
    ):
        open_teacher(MODEL)
    with pytest.raises(InputError, match="no API key"):
        ask()
    assert not server.calls
    monkeypatch.setenv("ANTHROPIC_PROFILE", "nobody")
    with pytest.raises(InputError, match=r"no usable credentials \(CredentialsError\); set ANTHROPIC_API_KEY"):
        ask()


def test_other_credentials_of_the_sdk(serve, monkeypatch):
    server = serve()
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "token")
    assert ask().text == "A B C" and server.calls[-1].headers["authorization"] == "Bearer token"


def test_a_missing_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "anthropic", None)
    with pytest.raises(InputError, match=r"claude needs the package anthropic; run: pip install -e '\.\[claude\]'"):
        open_teacher(MODEL)


def test_many_at_once_share_one_client(serve, monkeypatch):
    import anthropic

    made = []

    class Counted(anthropic.AsyncAnthropic):
        def __init__(self, **options):
            made.append(options)
            super().__init__(**options)

    monkeypatch.setattr(anthropic, "AsyncAnthropic", Counted)
    server = serve(delay=0.3)

    async def many(teacher):
        return await asyncio.gather(*(teacher.ask(Request("", f"a {i}", 8)) for i in range(32)))

    started = time.monotonic()
    answers = run(many)
    assert [answer.text for answer in answers] == [f"A {i}" for i in range(32)]
    assert time.monotonic() - started < 8  # one after the other they would take ten seconds
    assert len(made) == 1 and server.paths[f"GET /v1/models/{MODEL}"] == 1


def test_a_closed_teacher_opens_again(serve):
    serve()
    teacher = ClaudeTeacher(MODEL)

    async def many():
        try:
            return await asyncio.gather(*(teacher.ask(REQUEST) for _ in range(4)))
        finally:
            await teacher.close()

    assert len(asyncio.run(many()) + asyncio.run(many())) == 8


def keys(count: int) -> dict[str, Request]:
    requests = [Request("say", f"a {i}", 8) for i in range(count)]
    return {request.key("claude"): request for request in requests}


async def fetch(teacher, job: str) -> list:
    return [row async for row in teacher.results(job)]


def test_a_batch_from_start_to_end(serve):
    server = serve(polls=2)
    requests = keys(20)

    async def whole(teacher):
        job = await teacher.submit(requests)
        with pytest.raises(Dropped, match="has not ended"):
            await fetch(teacher, job)
        seen = [await teacher.progress(job) for _ in range(2)]
        return seen, await fetch(teacher, job)

    seen, rows = run(whole)
    assert seen == [(0, False), (20, True)]
    assert {key: answer.text for key, answer in rows} == {k: r.prompt.upper() for k, r in requests.items()}
    assert [key for key, _ in rows] != list(requests)  # in an order of their own
    assert all(answer.kind is Kind.COMPLETE and answer.prompt_tokens == 3 for _, answer in rows)
    [body] = [call.json for call in server.calls if call.method == "POST"]
    assert [row["custom_id"] for row in body["requests"]] == list(requests)
    assert body["requests"][0]["params"]["thinking"] == {"type": "disabled"}
    assert body["requests"][0]["params"]["system"][0]["cache_control"] == {"type": "ephemeral"}


def test_what_becomes_of_the_rows_of_a_batch(serve):
    outcomes = ["succeeded", "errored:invalid_request_error", "errored:overloaded_error", "canceled", "expired"]
    serve(outcome=lambda row, prompt: [*outcomes, "missing"][row])
    requests = keys(6)

    async def whole(teacher):
        job = await teacher.submit(requests)
        return await teacher.progress(job), dict(await fetch(teacher, job))

    progress, rows = run(whole)
    assert progress == (6, True)
    answered, rejected, overloaded, canceled, expired, missing = (rows.get(key) for key in requests)
    assert answered.text == "A 0" and missing is None
    assert isinstance(rejected, Rejected) and str(rejected) == "invalid_request_error"
    for error, reason in ((overloaded, "overloaded_error"), (canceled, "canceled"), (expired, "expired")):
        assert isinstance(error, Dropped) and str(error) == reason and not error.billed


def test_a_row_without_usage_is_dropped_and_the_others_stay(serve):
    serve()
    rows = [
        {"custom_id": "a", "result": {"type": "succeeded", "message": {"id": "msg_1", "content": []}}},
        {"custom_id": "b", "result": {"type": "expired"}},
    ]
    body = "\n".join(json.dumps(row) for row in rows).encode()

    async def whole(teacher):
        job = await teacher.submit(keys(1))
        await teacher.progress(job)
        return dict(await fetch(teacher, job))

    serve(fault=lambda n, call: Reply(body) if call.path.endswith("/results") else None)
    rows = run(whole)
    assert isinstance(rows["a"], Dropped) and str(rows["b"]) == "expired"


@pytest.mark.parametrize("fault", [Break.RESET, Break.GARBAGE, protocol.error("overloaded_error")])
def test_results_that_break_off(serve, fault):
    serve(fault=lambda n, call: fault if call.path.endswith("/results") else None)
    got = []

    async def whole(teacher):
        job = await teacher.submit(keys(40))
        await teacher.progress(job)
        async for row in teacher.results(job):
            got.append(row)

    with pytest.raises((Busy, Dropped)):
        run(whole)
    assert len(got) < 40


def test_a_batch_whose_results_have_expired(serve):
    server = serve()

    async def whole(teacher):
        job = await teacher.submit(keys(2))
        await teacher.progress(job)
        server.respond.__self__.batches[job].archived = True
        return await teacher.progress(job), await fetch(teacher, job)

    assert run(whole) == ((2, True), [])


def test_a_job_is_found_by_its_size_and_time(serve):
    server = serve()

    async def whole(teacher):
        before = datetime.now(UTC)
        jobs = [await teacher.submit(keys(size)) for size in (2, 3, 2)]
        after = datetime.now(UTC) + timedelta(seconds=1)
        return jobs, [await teacher.find(*when) for when in ((before, keys(2)), (before, keys(5)), (after, keys(2)))]

    jobs, found = run(whole)
    assert found == [[jobs[2], jobs[0]], [], []]
    assert server.paths["GET /v1/messages/batches"] == 3


def test_finding_goes_through_every_page(serve):
    server = serve()

    async def whole(teacher):
        before = datetime.now(UTC)
        first = await teacher.submit(keys(2))
        for _ in range(120):
            await teacher.submit(keys(1))
        return first, await teacher.find(before, keys(2))

    first, found = run(whole)
    assert found == [first] and server.paths["GET /v1/messages/batches"] == 2


def test_a_cancelled_job(serve):
    serve(polls=100)

    async def whole(teacher):
        job = await teacher.submit(keys(2))
        await teacher.cancel(job)
        return await teacher.progress(job), await fetch(teacher, job)

    progress, rows = run(whole)
    assert progress == (2, True) and [str(error) for _, error in rows] == ["canceled"] * 2


def test_what_a_batch_refuses(serve):
    serve()
    with pytest.raises(InputError, match="100001 requests are more than the 100000"):
        run(lambda teacher: teacher.submit(dict.fromkeys(map(str, range(100_001)), REQUEST)))
    with pytest.raises(Rejected, match="HTTP 400: invalid_request_error"):
        run(lambda teacher: teacher.submit({"not a custom id": REQUEST}))
    with pytest.raises(Rejected, match="HTTP 404"):
        run(lambda teacher: teacher.progress("msgbatch_gone"))


@pytest.mark.parametrize("fault", [Break.RESET, Break.GARBAGE, Reply([])])
def test_no_word_whether_a_job_was_taken(serve, fault):
    serve(fault=spoil(fault, "/v1/messages/batches"))
    with pytest.raises(Dropped) as raised:
        run(lambda teacher: teacher.submit(keys(1)))
    assert raised.value.billed
