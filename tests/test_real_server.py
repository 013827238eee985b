"""Our teachers against a real server: llama-server with the embedded teacher's weights, through the providers' SDKs.

Left out unless asked for: `make test-real` builds the server and runs them.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from commands import distill
from llama_server import serving
from loopback import answers, with_teacher

from implementations import record
from implementations.errors import InputError
from implementations.teachers import embedded
from implementations.teachers.collect import Collected, Collector
from implementations.teachers.ledger import Ledger, Outcome
from implementations.teachers.open import open_remote
from implementations.teachers.spending import Spending
from implementations.teachers.teacher import Answer, Dropped, Kind, Rejected, RemoteTeacher, Request

pytestmark = pytest.mark.real_server

KEY = "sk-of-the-real-server-0123456789"
OPENAI, CLAUDE = "langchain:openai:smollm2", "claude:smollm2"
CAPITAL = Request("You answer in one short sentence.", "What is the capital of France?", 32)
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "size": {"enum": ["small", "large"]}},
    "required": ["city", "size"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def url(tmp_path_factory) -> Iterator[str]:
    with serving(embedded.gguf(), KEY, tmp_path_factory.mktemp("server")) as url:
        yield url


@pytest.fixture(autouse=True)
def environment(url, monkeypatch, tmp_path):
    for name in ("OPENAI_API_BASE", "ANTHROPIC_API_URL", "ANTHROPIC_AUTH_TOKEN", "LANGSMITH_TRACING"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    point(monkeypatch, url)


def point(monkeypatch: pytest.MonkeyPatch, url: str, key: str = KEY) -> None:
    """Send the SDKs to the server at ``url``."""
    monkeypatch.setenv("OPENAI_BASE_URL", f"{url}/v1")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", url)
    monkeypatch.setenv("OPENAI_API_KEY", key)
    monkeypatch.setenv("ANTHROPIC_API_KEY", key)


@pytest.fixture(params=[OPENAI, CLAUDE, "langchain:anthropic:smollm2"])
def teacher(request) -> str:
    """What --teacher says: the teacher is opened once a test has said where the server is."""
    return request.param


def ask(teacher: str, request: Request) -> Answer:
    """The answer of a teacher that is closed afterwards."""
    [answer] = answers(open_remote(teacher), request)
    return answer


def metric(url: str, name: str) -> int:
    """One of the server's own counts."""
    connection = HTTPConnection(urlsplit(url).netloc)
    connection.request("GET", "/metrics", headers={"Authorization": f"Bearer {KEY}"})
    metrics = connection.getresponse().read().decode()
    return int(re.search(rf"^llamacpp:{name} (\d+)", metrics, re.MULTILINE)[1])


def written(url: str) -> int:
    """How many tokens the server has written in all."""
    return metric(url, "tokens_predicted_total")


def test_an_answer_with_its_usage(teacher, url):
    before = written(url)
    answer = ask(teacher, CAPITAL)
    assert answer.kind is Kind.COMPLETE and "Paris" in answer.text
    assert answer.completion_tokens == written(url) - before
    assert answer.prompt_tokens == with_teacher(open_remote(CLAUDE), lambda claude: claude.count_tokens(CAPITAL))


def test_an_answer_cut_off_by_the_limit(teacher):
    answer = ask(teacher, replace(CAPITAL, prompt="Tell me a long story.", max_new_tokens=5))
    assert answer.kind is Kind.TRUNCATED and answer.text and answer.completion_tokens == 5


def test_what_requests_share_is_read_from_the_cache(teacher):
    shared = f"Answer briefly. {teacher} " * 20
    first, second = answers(open_remote(teacher), Request(shared, "What is snow?", 4), times=2)
    assert second.prompt_tokens == first.prompt_tokens
    assert first.cache_read_tokens < second.cache_read_tokens < second.prompt_tokens


def test_log_probabilities():
    answer = ask(OPENAI, replace(CAPITAL, top_logprobs=20))
    assert "".join(row[0][0] for row in answer.top_logprobs).strip() == answer.text
    for row in answer.top_logprobs:
        values = [value for _, value in row]
        assert values == sorted(values, reverse=True)  # the server is greedy, so the chosen token is the likeliest
        assert 0.5 < sum(map(math.exp, values)) < 1.001


def test_an_answer_follows_a_schema():
    asked = replace(CAPITAL, schema=json.dumps(SCHEMA), max_new_tokens=64)
    answer = ask(OPENAI, asked)
    assert answer.kind is Kind.COMPLETE and json.loads(answer.text)["size"] in ("small", "large")


def test_an_answer_that_does_not_follow_the_schema_is_malformed():
    """On its Messages API the server takes `output_config` and does not keep it."""
    answer = ask(CLAUDE, replace(CAPITAL, schema=json.dumps(SCHEMA)))
    assert answer.kind is Kind.MALFORMED and "Paris" in answer.text


def test_a_prompt_that_is_too_long_is_rejected(teacher):
    with pytest.raises(Rejected, match=r"^HTTP 400: .*context size"):
        ask(teacher, replace(CAPITAL, prompt="so " * 3000))


def test_a_wrong_key(teacher, url, monkeypatch):
    wrong = "sk-wrong-0123456789abcdefghij"
    point(monkeypatch, url, wrong)
    with pytest.raises(InputError, match="HTTP 401") as caught:
        ask(teacher, CAPITAL)
    assert wrong not in str(caught.value)


def test_a_wrong_path(teacher, url, monkeypatch):
    point(monkeypatch, f"{url}/nowhere")
    with pytest.raises(InputError, match=r"no such model.*HTTP 404.*BASE_URL"):
        ask(teacher, CAPITAL)


def test_a_server_that_ends_while_it_answers(monkeypatch, tmp_path):
    """What was under way may have been charged; what could not be sent was not."""

    long = Request("You tell long stories.", "Tell me a very long story about every day of a year.", 1500)

    async def end_it(teacher: RemoteTeacher, servers: ExitStack, url: str) -> None:
        answering = asyncio.create_task(teacher.ask(long))
        while not metric(url, "requests_processing"):
            await asyncio.sleep(0.02)
        servers.close()
        with pytest.raises(Dropped) as caught:
            await answering
        assert caught.value.billed
        with pytest.raises(Dropped) as caught:
            await teacher.ask(CAPITAL)
        assert not caught.value.billed

    with ExitStack() as servers:
        point(monkeypatch, url := servers.enter_context(serving(embedded.gguf(), KEY, tmp_path)))
        with_teacher(open_remote(OPENAI), lambda teacher: end_it(teacher, servers, url))


def test_a_collection_asks_each_prompt_once(teacher, url, tmp_path):
    requests = [replace(CAPITAL, prompt=f"Say a word that begins with {i:c}.") for i in range(65, 91)]
    requests += [replace(CAPITAL, prompt=f"What is {i} plus {i}?") for i in range(14)]
    before = written(url)
    got = collect(tmp_path, teacher, requests)
    assert got.outcomes == {Outcome.ANSWERED: 40} and not got.why_pending
    assert all(answer.text for answer in got.answers)
    assert sum(answer.completion_tokens for answer in got.answers) == written(url) - before
    again = collect(tmp_path, teacher, requests)
    assert again.answers == got.answers and again.from_ledger == 40
    assert sum(answer.completion_tokens for answer in got.answers) == written(url) - before


def collect(folder: Path, teacher: str, requests: list[Request]) -> Collected:
    with Ledger(folder / "ledger.sqlite") as ledger, Collector(ledger, Spending(concurrency=4)) as collector:
        return collector.collect(open_remote(teacher), requests)


def test_a_run_from_end_to_end(tmp_path, monkeypatch, capsys):
    command = ("run", "sequence-level", "--teacher", OPENAI, "--smoke", "--skip-empty", "--workdir", tmp_path)
    assert distill(monkeypatch, *command) == 0, capsys.readouterr().err
    [path] = tmp_path.glob("sequence-level-langchain-smoke-*/record.json")
    measured = record.load(path)
    assert measured.teacher.name == OPENAI and measured.collection.asked == 8
    assert measured.collection.completion_tokens > 0
