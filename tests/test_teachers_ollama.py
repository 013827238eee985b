"""Ollama as a teacher, through its own SDK and a server of the tests' own."""

from __future__ import annotations

import asyncio
import io
import json
import sys
import time

import pytest
from commands import distill
from loopback import Break, Loopback, Reply, Written, answers, echo
from protocols import ollama as protocol
from rich.console import Console

from implementations import cli
from implementations.errors import InputError
from implementations.teachers.ollama import OllamaTeacher, open_teacher, pull
from implementations.teachers.teacher import Busy, Dropped, Kind, Rejected, RemoteTeacher, Request

MODEL = "tiny"
KEY = "secret-0123456789abcdef"
REQUEST = Request("say it loudly", "a b c", 8)
SCHEMA = json.dumps({"type": "object", "properties": {"label": {"type": "string"}}, "required": ["label"]})
CHAT = "/api/chat"


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.delenv("OLLAMA_HOST", raising=False)
    monkeypatch.setenv("OLLAMA_API_KEY", KEY)


@pytest.fixture
def serve(start, monkeypatch):
    """Starts a server that speaks Ollama's protocol, and points OLLAMA_HOST at it."""

    def serve(model=echo, fault=lambda n, call: None, delay=0.0, **how) -> Loopback:
        server = start(protocol.respond(model, **how), fault, delay)
        monkeypatch.setenv("OLLAMA_HOST", server.url)
        return server

    return serve


def ask(request=REQUEST, model=MODEL, **options):
    """One answer from a teacher that is closed afterwards."""
    [answer] = answers(OllamaTeacher(model, **options), request)
    return answer


def asked(server: Loopback) -> list[dict]:
    return [call.json for call in server.calls if call.path == CHAT]


def spoil(fault, path=CHAT):
    """A fault for every request to ``path``; others go through."""
    return lambda n, call: fault if call.path == path else None


def says(text: str):
    """A model with one thing to say."""
    return lambda instruction, prompt, limit: Written(text, 5, len(text.split()), False, [])


def test_an_answer_with_its_usage(serve):
    server = serve()
    answer = ask()
    assert (answer.text, answer.kind, answer.top_logprobs) == ("A B C", Kind.COMPLETE, None)
    assert (answer.prompt_tokens, answer.completion_tokens) == (6, 3)
    assert asked(server) == [
        {
            "model": MODEL,
            "messages": [
                {"role": "system", "content": "say it loudly"},
                {"role": "user", "content": "a b c"},
            ],
            "stream": False,
            "think": False,
            "truncate": False,
            "shift": False,
            "options": {"num_predict": 8, "temperature": 0, "seed": 0},
        }
    ]
    assert server.paths["GET /api/version"] == 0


def test_it_is_a_remote_teacher(serve):
    server = serve()
    teacher = open_teacher(MODEL)
    assert isinstance(teacher, RemoteTeacher)
    assert (teacher.name, teacher.platform, teacher.model) == ("ollama:tiny", "ollama", "tiny")
    assert not asked(server)


def test_the_identity_is_the_weights(serve):
    serve()
    first = open_teacher("tiny").identity
    assert first == f"ollama:tiny:latest@{protocol.DIGEST}" == open_teacher("Tiny:latest").identity
    serve(digest="b" * 64)  # the tag was pulled again
    assert open_teacher("tiny").identity != first


def test_where_prompts_go(serve, monkeypatch):
    server = serve(name="big:120b-cloud")
    assert open_teacher("big:120b-cloud").leaves_machine  # this server sends them on
    server = serve()
    for host in (server.url, server.url.removeprefix("http://"), server.url.replace("127.0.0.1", "localhost")):
        monkeypatch.setenv("OLLAMA_HOST", host)
        assert not open_teacher(MODEL).leaves_machine
    # Another host, as far as its name goes; a proxy on this one stands in for the way there.
    monkeypatch.setenv("OLLAMA_HOST", "http://gpu.example:11434")
    monkeypatch.setenv("HTTP_PROXY", server.url)
    assert open_teacher(MODEL).leaves_machine


def test_log_probabilities(serve):
    server = serve()

    async def twice():
        teacher = OllamaTeacher(MODEL)
        try:
            return [await teacher.ask(Request("", "a b", 8, top_logprobs=2)) for _ in range(2)]
        finally:
            await teacher.close()

    [answer, _] = asyncio.run(twice())
    assert answer.top_logprobs == ((("A ", -0.1), ("other ", -2.4)), (("B ", -0.1), ("other ", -2.4)))
    assert (asked(server)[0]["logprobs"], asked(server)[0]["top_logprobs"]) == (True, 2)
    assert server.paths["GET /api/version"] == 1


def test_the_chosen_token_comes_first_even_when_it_is_not_likely(serve):
    rows = [[("rare", -5.0), ("likely", -0.1), ("rare", -5.0)]]
    serve(lambda *_: Written("rare", 1, 1, False, rows))
    assert ask(Request("", "p", 8, top_logprobs=3)).top_logprobs == ((("rare", -5.0), ("likely", -0.1)),)


@pytest.mark.parametrize("version", ["0.12.10", "0.9.0-rc1"])
def test_a_server_too_old_for_log_probabilities(serve, version):
    server = serve(version=version)
    with pytest.raises(InputError, match=rf"is version {version}, and log-probabilities need 0\.12\.11; update it"):
        ask(Request("", "a b", 8, top_logprobs=2))
    assert not asked(server)
    assert ask(Request("", "a b", 8)).text == "A B"


@pytest.mark.parametrize("version", ["0.12.11", "0.12.11-rc0", "0.40.0", "1.0", "0.0.0"])
def test_a_server_new_enough(serve, version):
    serve(version=version)
    assert ask(Request("", "a b", 8, top_logprobs=2)).top_logprobs


def test_a_server_that_leaves_log_probabilities_out(serve):
    serve(says("text without any"))
    with pytest.raises(InputError, match="returns no log-probabilities"):
        ask(Request("", "a b", 8, top_logprobs=2))


def test_a_model_that_cannot_stop_thinking_thinks_least(serve):
    server = serve(lambda *_: Written("", 3, 8, True, []), family="gptoss")
    answer = ask()
    assert asked(server)[0]["think"] == "low"
    assert (answer.kind, answer.reason) == (Kind.EMPTY, "the token limit was reached before any text")


def test_truncated_and_empty(serve):
    server = serve()
    assert ask(Request("", "a b c", 2)).kind is Kind.TRUNCATED
    assert asked(server)[0]["messages"] == [{"role": "user", "content": "a b c"}]
    serve(says(" \n"))
    assert ask().kind is Kind.EMPTY


@pytest.mark.parametrize(
    ("text", "kind"), [('{"label": "yes"}', Kind.COMPLETE), ("{}", Kind.MALFORMED), ('{"label"', Kind.MALFORMED)]
)
def test_a_schema_is_sent_and_checked(serve, text, kind):
    server = serve(says(text))
    assert ask(Request("", "p", 8, schema=SCHEMA)).kind is kind
    assert asked(server)[0]["format"] == json.loads(SCHEMA)


def test_a_prompt_too_long_is_rejected_and_not_cut(serve):
    serve(context=3)
    with pytest.raises(Rejected, match="does not fit the server's context; set OLLAMA_CONTEXT_LENGTH"):
        ask(Request("", "a b c d", 8))
    # The same as newer servers say it, around an error of llama.cpp's.
    detail = {"code": 400, "message": "request (2622 tokens) exceeds the available context size (512 tokens)"}
    serve(fault=spoil(protocol.error(400, json.dumps({"error": detail}))))
    with pytest.raises(Rejected, match="does not fit the server's context"):
        ask()


@pytest.mark.parametrize(
    ("reply", "kind", "retry_after"),
    [
        (protocol.error(503, "server busy, please try again.  maximum pending requests exceeded"), Busy, None),
        (protocol.error(429, "too many requests", {"retry-after": "7"}), Busy, 7.0),
        (protocol.error(429, "", {"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}), Busy, 0.0),
        (protocol.error(500, "llama runner process has terminated"), Dropped, None),
        (protocol.error(500, "context canceled"), Dropped, None),
        (Reply(b"<html>bad gateway</html>", 502), Dropped, None),
        (Reply([], 502), Dropped, None),
        (protocol.error(400, "invalid options"), Rejected, None),
    ],
)
def test_what_the_server_refuses(serve, reply, kind, retry_after):
    server = serve(fault=spoil(reply))
    with pytest.raises(kind) as raised:
        ask()
    assert getattr(raised.value, "retry_after", None) == retry_after
    assert len(asked(server)) == 1


@pytest.mark.parametrize(
    "fault",
    [
        Break.RESET,
        Break.GARBAGE,
        Break.DRIP,
        Break.SILENCE,
        Reply({"done": True}),
        Reply([]),
        Reply({"message": {"role": "assistant", "content": "half"}, "done": False}),
    ],
)
def test_what_gets_lost(serve, fault):
    server = serve(fault=spoil(fault))
    started = time.monotonic()
    with pytest.raises(Dropped):
        ask(timeout=1.0 if fault in (Break.DRIP, Break.SILENCE) else 5.0)
    assert len(asked(server)) <= 1 and time.monotonic() - started < 8  # the drip would take a minute


@pytest.mark.parametrize(
    ("reply", "mend"),
    [
        (protocol.error(404, "model 'tiny' not found"), r"no model tiny at .*; run: ollama pull tiny"),
        (protocol.error(401, "unauthorized"), "run: ollama signin"),
        (protocol.error(403, "forbidden"), "run: ollama signin"),
        (
            protocol.error(500, "model requires more system memory (5.6 GiB) than is available (3.1 GiB)"),
            r"requires more system memory \(5\.6 GiB\).*; choose another model",
        ),
        (protocol.error(400, '"tiny" does not support chat'), "does not support chat; choose another model"),
    ],
)
def test_what_the_user_can_mend(serve, reply, mend):
    serve(fault=spoil(reply))
    with pytest.raises(InputError, match=mend) as raised:
        ask()
    assert KEY not in str(raised.value)


def test_reasons_repeat_neither_the_request_nor_the_key(serve):
    request = Request("", "the patient Jane Example, born 1 May 1950, was admitted", 8)
    for message in (f"template: {request.prompt}", f"authorization: Bearer {KEY}"):
        serve(fault=spoil(protocol.error(400, message)))
        with pytest.raises(Rejected) as raised:
            ask(request)
        assert "Jane" not in str(raised.value) and KEY not in str(raised.value)


def test_a_model_that_is_not_there(serve):
    server = serve()
    with pytest.raises(InputError, match=rf"ollama: no model tiny:3b at {server.url}; run: ollama pull tiny:3b"):
        open_teacher("tiny:3b")


def test_no_server(serve, monkeypatch):
    monkeypatch.setenv("OLLAMA_HOST", f"http://user:{KEY}@127.0.0.1:9")
    gone = r"no Ollama server at 127\.0\.0\.1:9; start one: ollama serve \(https://ollama\.com/download\)"
    for act in (lambda: open_teacher(MODEL), lambda: pull(MODEL, lambda *_: None)):
        with pytest.raises(InputError, match=gone) as raised:
            act()
        assert KEY not in str(raised.value)
    server = serve()
    teacher = open_teacher(MODEL)
    server.__exit__()

    async def once():
        try:
            await teacher.ask(REQUEST)
        finally:
            await teacher.close()

    with pytest.raises(Dropped) as raised:  # it was there before: it may come back
        asyncio.run(once())
    assert not raised.value.billed


@pytest.mark.parametrize("fault", [Break.GARBAGE, Break.RESET, Reply(b"<html>"), Reply({"models": 3}), Reply({}, 500)])
def test_something_else_answers_there(serve, fault):
    serve(fault=lambda n, call: fault)
    with pytest.raises(InputError, match=r"ollama: "):
        open_teacher(MODEL)


def test_a_host_that_is_none(monkeypatch):
    monkeypatch.setenv("OLLAMA_HOST", "http://localhost:port")
    with pytest.raises(InputError, match="check OLLAMA_HOST"):
        open_teacher(MODEL)


def test_a_missing_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "ollama", None)
    with pytest.raises(InputError, match=r"ollama needs the package ollama; run: pip install -e '\.\[ollama\]'"):
        open_teacher(MODEL)


def test_tokens_are_estimated_without_asking(serve):
    server = serve()
    teacher = open_teacher(MODEL)
    before = len(server.calls)
    assert asyncio.run(teacher.count_tokens(Request("abcd", "efghi", 8))) == 3 + 8
    assert len(server.calls) == before


def test_many_at_once_share_one_client(serve, monkeypatch):
    import ollama

    made = []

    class Counted(ollama.AsyncClient):
        def __init__(self, **options):
            made.append(options)
            super().__init__(**options)

    monkeypatch.setattr(ollama, "AsyncClient", Counted)
    serve(delay=0.3)

    async def many(teacher):
        try:
            return await asyncio.gather(*(teacher.ask(Request("", f"a {i}", 8)) for i in range(32)))
        finally:
            await teacher.close()

    teacher = open_teacher(MODEL)
    started = time.monotonic()
    answers = asyncio.run(many(teacher))
    assert [answer.text for answer in answers] == [f"A {i}" for i in range(32)]
    assert time.monotonic() - started < 8  # one after the other they would take ten seconds
    assert len(made) == 1
    assert len(asyncio.run(many(teacher))) == 32  # closed, it opens again


def test_a_model_is_pulled_with_its_progress(serve):
    serve()
    steps = []
    pull("big", lambda *step: steps.append(step))
    assert steps[0] == (0, 0) and (100, 150) in steps and steps[-1] == (150, 150)
    assert open_teacher("big").identity.startswith("ollama:big:latest@")


@pytest.mark.parametrize(("said", "asked"), [("y\n", 1), ("n\n", 0)])
def test_the_command_line_offers_to_download_a_missing_model(serve, monkeypatch, tmp_path, capsys, said, asked):
    server = serve()
    monkeypatch.setattr(cli, "console", Console(force_terminal=True, file=io.StringIO(), highlight=False, width=200))
    monkeypatch.setattr(sys, "stdin", Typed(said))
    status = distill(monkeypatch, "plan", "sequence-level", "--teacher", "ollama:big", "--workdir", tmp_path)
    assert server.paths["POST /api/pull"] == asked
    assert (status == 0) == bool(asked)
    assert ("sequence-level with ollama:big" in capsys.readouterr().out) == bool(asked)
    assert f"ollama: no model big at {server.url}; run: ollama pull big" in cli.console.file.getvalue()


class Typed(io.StringIO):
    """What somebody types at a terminal."""

    def isatty(self) -> bool:
        return True


def test_where_nobody_can_agree_nothing_is_downloaded(serve, monkeypatch, tmp_path):
    server = serve()
    assert distill(monkeypatch, "plan", "sequence-level", "--teacher", "ollama:big", "--workdir", tmp_path) == 2
    assert server.paths["POST /api/pull"] == 0


def test_a_pull_that_fails(serve):
    serve()
    with pytest.raises(InputError, match="file does not exist"):
        pull("unknown", lambda *_: None)
    serve(fault=lambda n, call: Break.RESET)
    with pytest.raises(InputError, match="the download of big broke off; run: ollama pull big"):
        pull("big", lambda *_: None)
