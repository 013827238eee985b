"""LangChain's chat models as teachers, through the providers' own SDKs and a server of the tests' own."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time

import pytest
from loopback import Break, Loopback, Reply, Written, answers, echo, one_authority, with_teacher
from protocols import openai as protocol

from implementations.errors import InputError
from implementations.teachers.langchain import SPENT, LangChainTeacher, open_teacher
from implementations.teachers.teacher import Busy, Dropped, Kind, Rejected, RemoteTeacher, Request

KEY = "sk-secret-0123456789"
NAME = "openai:gpt-4.1"
REQUEST = Request("say it loudly", "a b c", 8)
SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {"label": {"enum": ["yes", "no"]}},
        "required": ["label"],
        "additionalProperties": False,
    }
)


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    monkeypatch.setenv("SSL_CERT_FILE", str(one_authority(tmp_path)))
    for name in ("OPENAI_API_BASE", "OPENAI_BASE_URL", "ANTHROPIC_API_URL", "ANTHROPIC_BASE_URL", "OLLAMA_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)


@pytest.fixture
def serve(start, monkeypatch):
    """Starts a server that speaks OpenAI's protocol, and points OPENAI_BASE_URL at it."""

    def serve(model=echo, fault=lambda n, call: None) -> Loopback:
        server = start(protocol.respond(model), fault)
        monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
        return server

    return serve


def ask(request=REQUEST, name=NAME, **options):
    """One answer from a teacher that is closed afterwards."""
    [answer] = ask_again(1, request, name, **options)
    return answer


def ask_again(times, request=REQUEST, name=NAME, **options):
    """Answers to one request, asked again and again."""
    return answers(LangChainTeacher(name, **options), request, times)


def says(text: str):
    """A model with one thing to say."""
    words = text.split()
    return lambda instruction, prompt, limit: Written(text, 5, len(words), False, [[(w, -0.5)] for w in words])


def test_an_answer_with_its_usage(serve):
    server = serve()
    answer = ask()
    assert (answer.text, answer.kind) == ("A B C", Kind.COMPLETE)
    assert (answer.prompt_tokens, answer.completion_tokens, answer.cache_read_tokens) == (6, 3, 1)
    assert answer.top_logprobs is None
    [call] = server.calls
    body = call.json
    assert body["messages"] == [
        {"role": "system", "content": "say it loudly"},
        {"role": "user", "content": "a b c"},
    ]
    assert (body["model"], body["temperature"]) == ("gpt-4.1", 0)
    # A server of one's own may know only one of the two names of the limit.
    assert (body["max_completion_tokens"], body["max_tokens"]) == (8, 8)
    assert call.headers["authorization"] == f"Bearer {KEY}"


def test_it_is_a_remote_teacher(serve):
    serve()
    teacher = open_teacher(NAME)
    assert isinstance(teacher, RemoteTeacher)
    assert (teacher.name, teacher.platform, teacher.model) == (f"langchain:{NAME}", "langchain", NAME)


@pytest.mark.parametrize(
    ("model", "temperature", "effort"),
    [("gpt-4.1", 0, None), ("gpt-5", None, "minimal"), ("gpt-5.4", 0, "none"), ("o3", None, None), ("mine", 0, None)],
)
def test_as_little_thinking_and_randomness_as_the_model_takes(serve, model, temperature, effort):
    server = serve()
    ask(name=f"openai:{model}")
    body = server.calls[0].json
    assert (body.get("temperature"), body.get("reasoning_effort")) == (temperature, effort)


def test_kinds(serve):
    server = serve(fault=lambda n, call: Reply(bodies[n]))
    bodies = [
        protocol.completion(echo("", "a b c", 2)),
        protocol.completion(Written(" \n", 1, 1, False, [])),
        protocol.completion(Written("", 1, 8, True, [])),
        protocol.completion(Written("", 1, 1, False, []), refusal="I can't help with that."),
        protocol.completion(Written("half of", 1, 1, False, []), finish="content_filter"),
    ]
    answers = ask_again(len(bodies))
    assert [answer.kind for answer in answers] == [
        Kind.TRUNCATED,
        Kind.EMPTY,
        Kind.EMPTY,
        Kind.REFUSED,
        Kind.REFUSED,
    ]
    assert [answer.reason for answer in answers] == ["", "", SPENT, "", ""]
    assert len(server.calls) == len(bodies)


def test_a_schema_is_sent_and_the_answer_held_to_it(serve):
    asked = Request("label", "x", 20, schema=SCHEMA)
    answers = {
        '{"label": "yes"}': Kind.COMPLETE,
        '{"label": "maybe"}': Kind.MALFORMED,
        '{"other": 1}': Kind.MALFORMED,
        "yes": Kind.MALFORMED,
    }
    for text, kind in answers.items():
        server = serve(says(text))
        assert ask(asked).kind == kind
    assert server.calls[0].json["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": json.loads(SCHEMA), "strict": True},
    }


def test_a_truncated_or_filtered_answer_to_a_schema_is_an_answer(serve):
    asked = Request("label", "x", 3, schema=SCHEMA)
    serve(lambda *_: Written('{"lab', 4, 3, True, []))
    assert (ask(asked).kind, ask(asked).completion_tokens) == (Kind.TRUNCATED, 3)
    serve(fault=lambda n, call: Reply(protocol.completion(echo("", "a", 9), finish="content_filter")))
    assert ask(asked).kind == Kind.REFUSED


def test_log_probabilities(serve):
    server = serve()
    answer = ask(Request("say", "a b", 8, top_logprobs=2))
    assert answer.top_logprobs == ((("A ", -0.1), ("other ", -2.4)), (("B ", -0.1), ("other ", -2.4)))
    body = server.calls[0].json
    assert (body["logprobs"], body["top_logprobs"]) == (True, 2)


def test_log_probabilities_of_another_shape(serve):
    body = protocol.completion(echo("", "a b", 8), top=1)
    del body["choices"][0]["logprobs"]["content"][0]["logprob"]
    serve(fault=lambda n, call: Reply(body))
    with pytest.raises(Dropped):
        ask(Request("say", "a b", 8, top_logprobs=1))


def test_log_probabilities_that_do_not_come_are_an_error_that_names_the_model(serve):
    serve(fault=lambda n, call: Reply(protocol.completion(echo("", "a b", 8))))
    with pytest.raises(InputError, match=r"^langchain:openai:gpt-4.1: the model returns no log-probabilities"):
        ask(Request("say", "a b", 8, top_logprobs=2))
    serve(fault=lambda n, call: protocol.error(400, "This model does not support logprobs", "invalid_request_error"))
    with pytest.raises(InputError, match="returns no log-probabilities"):
        ask(Request("say", "a b", 8, top_logprobs=2))
    server = serve()
    with pytest.raises(InputError, match=r"anthropic:claude-x: the model returns no log-probabilities"):
        ask(Request("say", "a b", 8, top_logprobs=2), "anthropic:claude-x")
    assert not server.calls


@pytest.mark.parametrize("status", [429, 503, 529])
def test_busy(serve, status):
    server = serve(fault=lambda n, call: protocol.error(status, "slow down", "rate", headers={"retry-after": "7"}))
    with pytest.raises(Busy, match=f"HTTP {status}: slow down") as caught:
        ask()
    assert caught.value.retry_after == 7
    assert len(server.calls) == 1  # the SDK does not retry


def test_a_pause_given_as_a_date(serve):
    later = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 30))
    serve(fault=lambda n, call: protocol.error(429, "slow down", "rate", headers={"retry-after": later}))
    with pytest.raises(Busy) as caught:
        ask()
    assert 25 < caught.value.retry_after <= 30


@pytest.mark.parametrize(
    ("fault", "billed"),
    [
        (protocol.error(500, "oops", "server_error"), False),
        (protocol.error(409, "conflict", "conflict"), False),
        (Break.RESET, True),
        (Break.GARBAGE, True),
        (Reply({"hello": "world"}), True),
        (Reply(b"<html>welcome</html>"), True),
        (Reply({**protocol.completion(echo("", "a", 9)), "choices": []}), True),
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
    assert time.monotonic() - started < 10  # the whole body would take a minute


def test_no_server_there(monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    with pytest.raises(Dropped) as caught:
        ask()
    assert caught.value.billed is False


def test_rejected_without_repeating_the_request(serve):
    serve(fault=lambda n, call: protocol.error(400, "maximum context length is 8192 tokens", "invalid_request_error"))
    with pytest.raises(Rejected, match=r"^HTTP 400: maximum context length is 8192 tokens$"):
        ask()
    echoing = Request("say", "the patient of 1953 has pneumonia", 8)
    serve(fault=lambda n, call: protocol.error(422, f"cannot read '{echoing.prompt[4:25]}'", "invalid_request_error"))
    with pytest.raises(Rejected, match=r"^HTTP 422$"):
        ask(echoing)


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (401, "invalid_api_key", r"langchain:openai:gpt-4.1: .*HTTP 401.*OPENAI_API_KEY"),
        (403, None, r"HTTP 403.*OPENAI_API_KEY"),
        (429, "insufficient_quota", r"HTTP 429.*quota"),
        (404, "model_not_found", r"no such model .*OPENAI_BASE_URL"),
    ],
)
def test_what_no_other_request_mends(serve, status, code, message):
    serve(fault=lambda n, call: protocol.error(status, f"Incorrect API key provided: {KEY}", "auth", code))
    with pytest.raises(InputError, match=message) as caught:
        ask()
    assert KEY not in str(caught.value)


def test_the_key_is_in_no_reason(serve):
    for status in (400, 429, 500):
        serve(fault=lambda n, call, status=status: protocol.error(status, f"bad key {KEY}", "x"))
        with pytest.raises((Busy, Dropped, Rejected)) as caught:
            ask()
        assert str(caught.value) == f"HTTP {status}: bad key …" and caught.value.__cause__ is None


@pytest.mark.parametrize(("name", "variable"), [(NAME, "OPENAI_API_KEY"), ("anthropic:claude-x", "ANTHROPIC_API_KEY")])
def test_no_key(serve, monkeypatch, name, variable):
    server = serve()
    monkeypatch.delenv(variable)
    with pytest.raises(InputError, match=rf"langchain:{name}: no API key; set {variable}.* or choose"):
        open_teacher(name)
    assert not server.calls


def test_a_missing_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "langchain.chat_models", None)
    with pytest.raises(InputError, match=r"needs the package langchain; run: pip install -e '.\[langchain\]'"):
        open_teacher(NAME)


def test_a_missing_package_of_a_provider():
    with pytest.raises(InputError, match=r"langchain:groq:x needs the package langchain-groq; run: pip"):
        open_teacher("groq:x")


def test_an_unknown_provider():
    with pytest.raises(InputError, match=r"^langchain:nobody:x: LangChain cannot open it \(Unable to infer"):
        open_teacher("nobody:x")
    with pytest.raises(InputError, match=r"^langchain:gpt-4.1: which provider\? give langchain:PROVIDER:MODEL"):
        open_teacher("gpt-4.1")


def test_two_servers_share_no_answers(monkeypatch):
    plain = LangChainTeacher(NAME).identity
    monkeypatch.setenv("OPENAI_BASE_URL", "https://api.openai.com/v1")
    assert LangChainTeacher(NAME).identity == plain == f"langchain:{NAME}"
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://user:{KEY}@GPU:8000/v1/?token={KEY}")
    assert LangChainTeacher(NAME).identity == f"langchain:{NAME}@gpu:8000/v1"
    monkeypatch.setenv("OLLAMA_HOST", "10.0.0.7:11434")
    assert LangChainTeacher("ollama:llama3.1:8b").identity == "langchain:ollama:llama3.1:8b@10.0.0.7:11434"


def test_many_at_once_and_again_in_another_event_loop(serve):
    all_there = threading.Barrier(32)

    def meet(n, call):
        all_there.wait(60)

    server = serve(fault=meet)
    teacher = open_teacher(NAME)

    async def many():
        client = teacher.chat.root_async_client
        answers = await asyncio.gather(*(teacher.ask(Request("say", f"word {i}", 8)) for i in range(32)))
        await teacher.close()
        assert client.is_closed()
        return [answer.text for answer in answers]

    for _ in range(2):
        assert asyncio.run(many()) == [f"WORD {i}" for i in range(32)]
    assert len(server.calls) == 64


def test_tokens_are_estimated_where_the_provider_does_not_count(serve):
    server = serve()
    teacher = open_teacher(NAME)
    assert 10 <= asyncio.run(teacher.count_tokens(Request("x" * 20, "y" * 20, 8))) <= 20
    assert not server.calls


def test_a_server_that_counts_no_tokens(serve):
    body = protocol.completion(echo("", "a b c", 9))
    del body["usage"]
    serve(fault=lambda n, call: Reply(body))
    answer = ask()
    assert answer.prompt_tokens > 0 and answer.completion_tokens > 0


@pytest.mark.parametrize(
    ("name", "environment", "leaves"),
    [
        ("openai:m", {}, True),
        ("openai:m", {"OPENAI_BASE_URL": "http://127.0.0.1:8080/v1"}, False),
        ("openai:m", {"OPENAI_BASE_URL": "http://[::1]:8080/v1"}, False),
        ("openai:m", {"OPENAI_BASE_URL": "http://localhost.example:8080/v1"}, True),
        ("openai:m", {"OPENAI_BASE_URL": "http://localhost:8080/v1", "LANGSMITH_TRACING": "true"}, True),
        ("ollama:m", {}, False),
        ("ollama:m:120b-cloud", {}, True),
        ("ollama:m", {"OLLAMA_HOST": "gpu:11434"}, True),
        ("mistralai:m", {}, True),
    ],
)
def test_where_prompts_go(monkeypatch, name, environment, leaves):
    from langsmith.utils import get_env_var

    get_env_var.cache_clear()  # it reads a variable once in a process
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    assert LangChainTeacher(name).leaves_machine == leaves
    get_env_var.cache_clear()


def test_a_chat_model_of_the_users_own():
    from langchain_core.language_models import GenericFakeChatModel
    from langchain_core.messages import AIMessage
    from langchain_core.output_parsers import StrOutputParser
    from langchain_core.runnables import RunnableLambda

    def fake():
        return GenericFakeChatModel(messages=iter([AIMessage("hello")]))

    teacher = LangChainTeacher("mine", fake())
    assert (teacher.name, teacher.identity) == ("langchain:mine", "langchain:mine")
    assert asyncio.run(teacher.ask(REQUEST)).text == "hello"
    asyncio.run(teacher.close())
    assert ask(name="mine", chat=RunnableLambda(lambda messages: messages) | fake()).text == "hello"
    with pytest.raises(InputError, match="langchain:mine: its chain gives a TextAccessor, no AIMessage"):
        ask(name="mine", chat=fake() | StrOutputParser())


def test_a_rate_limiter_is_waited_for_and_its_wait_is_no_timeout(serve):
    from langchain_core.rate_limiters import InMemoryRateLimiter

    server = serve()
    limiter = InMemoryRateLimiter(requests_per_second=10, check_every_n_seconds=0.02, max_bucket_size=1)
    chat = LangChainTeacher(NAME).chat.model_copy(update={"rate_limiter": limiter})
    teacher = LangChainTeacher("mine", chat, timeout=0.5)

    async def many(teacher):
        return await asyncio.gather(*(teacher.ask(Request("say it loudly", f"a {i}", 8)) for i in range(12)))

    started = time.monotonic()
    assert [answer.text for answer in with_teacher(teacher, many)] == [f"A {i}" for i in range(12)]
    assert time.monotonic() - started > 0.9 and len(server.calls) == 12


def test_the_tokens_of_every_model_in_a_chain_are_counted(serve):
    from langchain_core.messages import HumanMessage

    serve()
    chat = LangChainTeacher(NAME).chat
    twice = chat | (lambda message: [HumanMessage(message.text)]) | chat
    answer = ask(name="mine", chat=twice)
    assert (answer.text, answer.prompt_tokens, answer.completion_tokens) == ("A B C", 6 + 3, 3 + 3)


def test_an_answer_from_langchains_cache_costs_nothing(serve):
    from langchain_core.caches import InMemoryCache

    server = serve()
    chat = LangChainTeacher(NAME).chat.model_copy(update={"cache": InMemoryCache()})
    first, second = ask_again(2, name="mine", chat=chat)
    assert first.text == second.text == "A B C" and len(server.calls) == 1
    assert (first.prompt_tokens, first.completion_tokens) == (6, 3)
    assert (second.prompt_tokens, second.completion_tokens) == (0, 0)


def anthropic_message(text: str, stop: str = "end_turn", **usage) -> Reply:
    return Reply(
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "claude-x",
            "content": [{"type": "text", "text": text}] if text else [],
            "stop_reason": stop,
            "stop_sequence": None,
            "usage": {"input_tokens": 10, "output_tokens": 3, **usage},
        }
    )


def test_claude_through_langchain(monkeypatch):
    cached = {
        "cache_read_input_tokens": 5,
        "cache_creation_input_tokens": 7,
        "cache_creation": {"ephemeral_5m_input_tokens": 7, "ephemeral_1h_input_tokens": 0},
    }
    replies = {
        Kind.COMPLETE: anthropic_message('{"label": "no"}', **cached),
        Kind.TRUNCATED: anthropic_message('{"lab', "max_tokens"),
        Kind.REFUSED: anthropic_message("", "refusal"),
    }
    asked = Request("label", "x", 9, schema=SCHEMA)
    for kind, reply in replies.items():
        with Loopback(lambda call, reply=reply: reply) as server:
            monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url)
            answer = ask(asked, "anthropic:claude-x")
        assert answer.kind == kind
        body = server.calls[0].json
        assert body["max_tokens"] == 9 and "temperature" not in body
        assert body["system"] == [{"type": "text", "text": "label", "cache_control": {"type": "ephemeral"}}]
        assert body["output_config"]["format"]["type"] == "json_schema"
        if kind is Kind.COMPLETE:
            assert (answer.prompt_tokens, answer.cache_read_tokens, answer.cache_write_tokens) == (22, 5, 7)


def test_claudes_failures_and_count_through_langchain(monkeypatch):
    def reply(call):
        if call.path.endswith("count_tokens"):
            return Reply({"input_tokens": 42})
        kind = "overloaded_error" if len(server.calls) == 1 else "authentication_error"
        status = 529 if len(server.calls) == 1 else 401
        return Reply({"type": "error", "error": {"type": kind, "message": "Overloaded"}}, status)

    with Loopback(reply) as server:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url)
        with pytest.raises(Busy, match="HTTP 529: Overloaded"):
            ask(name="anthropic:claude-x")
        with pytest.raises(InputError, match="ANTHROPIC_API_KEY"):
            ask(name="anthropic:claude-x")
        assert asyncio.run(open_teacher("anthropic:claude-x").count_tokens(REQUEST)) == 42


def ollama_chat(text: str, done: dict | None = None, logprobs: list | None = None) -> Reply:
    """Two lines of a stream: a piece of the text, and its end."""
    message = {"model": "m", "created_at": "2026-01-01T00:00:00Z"}
    first = {**message, "message": {"role": "assistant", "content": text}, "done": False, "logprobs": logprobs}
    last = {**message, "message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop"}
    last |= {"prompt_eval_count": 4, "eval_count": 2, **(done or {})}
    return Reply("".join(f"{json.dumps(line)}\n" for line in (first, last)).encode())


def test_ollama_through_langchain(monkeypatch):
    logprobs = [{"token": "hi", "logprob": -0.2, "top_logprobs": [{"token": "hi", "logprob": -0.2}]}]
    replies = [
        ollama_chat("hi", logprobs=logprobs),
        ollama_chat("hi", {"done_reason": "length"}),
        Reply({"error": "model 'm' not found"}, 404),
        Reply(b'{"model": "m", "message": {"role": "assistant", "content": "hal"}, "done": false}\n'),
    ]
    with Loopback(lambda call: replies[len(server.calls) - 1]) as server:
        monkeypatch.setenv("OLLAMA_HOST", server.url)
        answer = ask(Request("be brief", "hello", 5, top_logprobs=1), "ollama:m")
        assert (answer.text, answer.prompt_tokens, answer.completion_tokens) == ("hi", 4, 2)
        assert answer.top_logprobs == ((("hi", -0.2),),)
        assert ask(Request("", "hello", 5, schema=SCHEMA), "ollama:m").kind == Kind.TRUNCATED
        with pytest.raises(InputError, match="no such model"):
            ask(name="ollama:m")
        with pytest.raises(Dropped, match="breaks off"):
            ask(name="ollama:m")
    first, second = (call.json for call in server.calls[:2])
    assert (first["options"], first["think"]) == ({"num_predict": 5, "temperature": 0.0}, False)
    assert (first["logprobs"], first["top_logprobs"]) == (True, 1)
    assert [message["role"] for message in second["messages"]] == ["user"]
    assert second["format"] == json.loads(SCHEMA)
