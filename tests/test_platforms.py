"""Every platform from end to end: its own SDK, its own protocol, a real model behind it, a real student."""

from __future__ import annotations

import random
import re
import sqlite3
import subprocess
import sys
from collections import Counter

import pytest
from commands import distill
from loopback import Break, Reply, TinyModel, echo
from platforms import KEY, PLATFORMS, serving
from test_run import ARMS

from implementations import record, registry
from implementations.privacy import Redactor
from implementations.progress import Stages
from implementations.recipes.arms import SMOKE_SIZES
from implementations.record import ArmKind
from implementations.tasks.clinical_production import ClinicalProduction
from implementations.teachers import gate, remote
from implementations.teachers.collect import Collector
from implementations.teachers.ledger import Ledger, Outcome
from implementations.teachers.local import content_hash
from implementations.teachers.open import open_remote
from implementations.teachers.prices import given
from implementations.teachers.spending import Spending
from implementations.teachers.teacher import Answer, Kind, Request
from implementations.workspace import Workspace

# Prompts of a smoke run that are asked beside its 8 transfer items.
ASKED = {"production-logs": len({item.prompt for item in ClinicalProduction().splits(SMOKE_SIZES, 0).served})}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(remote, "wait_random_exponential", lambda **_: lambda state: 0.0)
    monkeypatch.setattr(gate, "FIRST_PAUSE", 0.01)


@pytest.fixture(scope="module")
def small(tiny, tmp_path_factory):
    """A student of two layers, so that no test unpacks the embedded model."""
    from rich.console import Console

    return Workspace(tmp_path_factory.mktemp("small"), "test", Stages(Console(quiet=True)), "cpu").cut(tiny, 2)


def test_every_offered_platform_is_here():
    offered = {slug for slug, platform in registry.PLATFORMS.items() if platform.module and slug != "local"}
    assert offered == {platform.teacher.partition(":")[0] for platform in PLATFORMS.values()}


@pytest.mark.parametrize("pattern", registry.RECIPES)
@pytest.mark.parametrize("name", PLATFORMS)
def test_cell(pattern, name, tiny, small, tmp_path, monkeypatch, capsys):
    """`distill run PATTERN --teacher X --smoke`, and once more: nothing is asked twice."""
    teacher = PLATFORMS[name].teacher
    slug = teacher.partition(":")[0]
    command = ("run", pattern, "--teacher", teacher, "--smoke", "--skip-empty", "--student", small)
    command += ("--workdir", tmp_path / "work", "--price-input", 1, "--price-output", 5, "--budget-usd", 1)
    bridged = registry.cell(registry.RECIPES[pattern], registry.PLATFORMS[slug]) is registry.CellStatus.BRIDGED
    committee = registry.RECIPES[pattern].committee  # which an open model completes
    if bridged or committee:
        command += ("--assistant", tiny)
    before = content_hash(tiny)
    with serving(name, TinyModel(tiny), tmp_path, monkeypatch) as server:
        assert distill(monkeypatch, *command) == 0, capsys.readouterr().err
        calls = [call for call in server.calls if PLATFORMS[name].asks(call)]
        [folder] = (tmp_path / "work").glob(f"{pattern}-{slug}-smoke-*")
        (folder / "record.json").unlink()
        assert distill(monkeypatch, *command) == 0, capsys.readouterr().err
        assert len([call for call in server.calls if PLATFORMS[name].asks(call)]) == len(calls)
    measured = record.load(folder / "record.json")
    assert measured.platform == slug and measured.teacher.name == teacher
    arms = {arm.kind: arm for arm in measured.arms}
    bridge = {ArmKind.TEACHER_ASSISTANT} if bridged else set()
    assert set(arms) == (ARMS[pattern] if committee else ARMS[pattern] - {ArmKind.TEACHER_TUNED} | bridge)
    names = [member.name.partition(", ")[0] for member in measured.members]
    assert names == ([teacher, tiny.name, tiny.name, tiny.name] if committee else [])
    # Of a committee, each of four answers the transfer set; two the whole gold, and two one half each.
    assert measured.collection.asked == (4 * 8 + 3 * 4 if committee else 8 + ASKED.get(pattern, 0))
    assert measured.collection.usd > 0 and measured.collection.prompt_tokens > 0
    [curve] = arms[ArmKind.STUDENT_DISTILLED].training
    assert len(curve.loss) == 3 and measured.speedup is None
    assert bool(curve.terms) == bridged  # the assistant's distribution, and nothing but text from the platform
    assert content_hash(tiny) == before
    assert content_hash((folder / "student").resolve()) != content_hash(small)
    printed = capsys.readouterr()
    assert "terms" in printed.err and "not legal advice" in printed.err
    written = [path.read_bytes() for path in (tmp_path / "work").rglob("*") if path.is_file()]
    assert not any(KEY.encode() in text for text in written) and KEY not in printed.out + printed.err


def test_a_committee_on_two_platforms(tiny, small, tmp_path, monkeypatch, capsys):
    """Several --teacher in one run: who is refused a prompt abstains there, and each is paid at its own price."""
    model = TinyModel(tiny)
    too_long = Reply({"type": "error", "error": {"type": "invalid_request_error", "message": "too long"}}, 400)

    def fault(n, call):
        return too_long if n % 6 == 0 else None

    teachers = (PLATFORMS["claude"].teacher, PLATFORMS["ollama"].teacher)
    command = ["multi-teacher", "--smoke", "--student", small, "--assistant", tiny, "--workdir", tmp_path / "work"]
    for teacher in teachers:
        command += ["--teacher", teacher]
    with (
        serving("ollama", model, tmp_path, monkeypatch) as there,
        serving("claude", model, tmp_path, monkeypatch, fault) as here,
    ):
        assert distill(monkeypatch, "plan", *command) == 0, capsys.readouterr().err
        planned = capsys.readouterr().out
        assert all(f"multi-teacher with {teacher}" in planned for teacher in teachers)
        assert planned.count("16, of which 0 are answered already") == 2  # gold, transfer set and held-out items
        paid = ("--price-input", 1, "--price-output", 5, "--budget-usd", 1)
        assert distill(monkeypatch, "run", *command, *paid) == 0, capsys.readouterr().err
        for name, server in (("claude", here), ("ollama", there)):
            assert len({call.body for call in server.calls if PLATFORMS[name].asks(call)}) == 16
    measured = record.load(tmp_path / "work" / "latest" / "record.json")
    assert measured.platform == "claude" and measured.teacher.name == " and ".join(teachers)
    members = measured.members
    assert [member.name for member in members[:2]] == list(teachers) and len(members) == 5
    assert sum(member.weight for member in members) == pytest.approx(1)
    assert sum(member.won for member in members) == pytest.approx(1)
    assert members[0].competence.n < members[1].competence.n == 4
    ledger = sqlite3.connect(tmp_path / "work" / "ledger.sqlite")
    spent = dict(ledger.execute("SELECT teacher, sum(usd) FROM attempts GROUP BY teacher"))
    [usd] = [usd for teacher, usd in spent.items() if teacher.startswith(teachers[0])]
    assert 0 < measured.collection.usd < usd == sum(spent.values())  # held-out items are no part of a collection
    assert measured.collection.failed == 2
    report = (tmp_path / "work" / "latest" / "report.html").read_text()
    assert "The committee" in report and all(teacher in report for teacher in teachers)


FAULTS = {
    "429": Reply({"error": {"message": "slow down"}}, 429, {"retry-after": "0"}),
    "500": Reply({"error": {"message": "no"}}, 500),
    "529": Reply({"error": {"message": "overloaded"}}, 529, {"retry-after": "0"}),
    "reset": Break.RESET,
    "garbage": Break.GARBAGE,
    "drip": Break.DRIP,
}


@pytest.mark.parametrize("name", PLATFORMS)
def test_faults(name, tmp_path, monkeypatch):
    """Each prompt ends with one answer; what was asked beyond one a prompt is what failed; the sums agree."""
    rng, spoilt = random.Random(5), Counter()

    def fault(n, call):
        if rng.random() >= 0.3:
            return None
        spoilt[what := rng.choice(list(FAULTS))] += 1
        return FAULTS[what]

    requests = [Request("say it loudly", f"prompt number {i}", 8) for i in range(60)]
    with serving(name, echo, tmp_path, monkeypatch, fault) as server:
        teacher = open_remote(PLATFORMS[name].teacher)
        teacher.timeout = 2.0  # seconds, after which a body that drips counts as lost
        with (
            Ledger(tmp_path / "ledger.sqlite") as ledger,
            Collector(ledger, Spending(8, 10.0, given(1.0, 5.0), False)) as collector,
        ):
            got = collector.collect(teacher, requests)
            while got.why_pending:
                got = collector.collect(teacher, requests)
            assert len(ledger) == 60
        assert [answer.text for answer in got.answers] == [request.prompt.upper() for request in requests]
        asked = sum(map(PLATFORMS[name].asks, server.calls))
    assert {a.kind for a in got.answers} == {Kind.COMPLETE}
    assert asked == 60 + spoilt.total() and got.outcomes[Outcome.ANSWERED] == 60 and len(spoilt) == len(FAULTS)
    assert got.outcomes[Outcome.BUSY] == spoilt["429"] + spoilt["529"]
    assert got.outcomes[Outcome.DROPPED] == sum(spoilt[what] for what in ("500", "reset", "garbage", "drip"))
    usd = sum(given(1.0, 5.0).cost(len(f"{r.instruction} {r.prompt}".split()), 3) for r in requests)
    assert got.usd == pytest.approx(usd)


@pytest.fixture
def own_prompts(tmp_path):
    rows = [f'{{"id": "g{i}", "prompt": "note {i}", "reference": "x"}}' for i in range(8)]
    rows += [f'{{"id": "t{i}", "prompt": "call 415-555-26{i:02} or mail ann{i}@example.org"}}' for i in range(8)]
    (path := tmp_path / "notes.jsonl").write_text("\n".join(rows))
    return path


def test_own_prompts_stay_here_unless_allowed(own_prompts, tmp_path, monkeypatch, capsys):
    path = own_prompts
    command = ("--teacher", "claude:claude-haiku-5-5", "--prompts", path, "--workdir", tmp_path / "work")
    with serving("claude", echo, tmp_path, monkeypatch) as server:
        assert distill(monkeypatch, "run", "sequence-level", *command) == 2
        assert "your prompts would leave this machine" in capsys.readouterr().err
        assert distill(monkeypatch, "plan", "sequence-level", *command, "--price-input", 1, "--price-output", 5) == 0
        printed = capsys.readouterr().out
        assert "10 e-mail" in printed or "8 e-mail" in printed, printed
        assert not [call for call in server.calls if PLATFORMS["claude"].asks(call)]


@pytest.mark.parametrize("name", ["claude", "vertex", "bedrock"])
def test_a_plan_sends_no_prompts_that_must_stay(name, own_prompts, tmp_path, monkeypatch, capsys):
    command = ("plan", "sequence-level", "--teacher", PLATFORMS[name].teacher, "--prompts", own_prompts)
    command += ("--workdir", tmp_path / "work", "--redact")

    def sent() -> bytes:
        return b"".join(call.body for call in server.calls)

    with serving(name, echo, tmp_path, monkeypatch) as server:
        assert distill(monkeypatch, *command) == 0
        printed = " ".join(capsys.readouterr().out.split())
        assert b"call " not in sent() and b"note " not in sent()
        assert "estimated here at four characters a token" in printed and "the run needs --allow-cloud" in printed
        assert distill(monkeypatch, *command, "--allow-cloud") == 0
        assert "the platform's own count" in " ".join(capsys.readouterr().out.split())
        assert b"call " in sent() and b"415-555-26" not in sent() and b"@example.org" not in sent()


def test_a_plan_knows_the_answers_to_redacted_prompts(own_prompts, tmp_path, monkeypatch, capsys):
    """Which are in the ledger as they were sent."""
    teacher, work = PLATFORMS["claude"].teacher, tmp_path / "work"
    command = ("plan", "sequence-level", "--teacher", teacher, "--prompts", own_prompts, "--workdir", work)
    command += ("--instruction", "say it", "--max-new-tokens", 8, "--redact")
    with Redactor(work / "redacted.sqlite") as redactor, Ledger(work / "ledger.sqlite") as ledger:
        sent = Request("say it", redactor.redact("call 415-555-2603 or mail ann3@example.org"), 8)
        with serving("claude", echo, tmp_path, monkeypatch):
            ledger.add(open_remote(teacher).identity, [(sent, Answer("yes", Kind.COMPLETE, 9, 1))])
            assert distill(monkeypatch, *command) == 0
    assert "of which 1 are answered already" in " ".join(capsys.readouterr().out.split())


WITHOUT_TORCH = """
import sys
from implementations import cli
sys.argv = ["distill", *sys.argv[1:]]
try:
    cli.main()
except SystemExit as stop:
    assert not stop.code
assert not (heavy := {"torch", "transformers"} & set(sys.modules)), heavy
"""


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (FAULTS["429"], r"could not be counted \(HTTP 429: slow down\); check the network and run the same command"),
        (Break.RESET, r"could not be counted \(no usable answer .*run the same command again"),
        (Reply({"error": {"message": "long"}}, 400), r"whose tokens it was to count \(HTTP 400.*; shorten the prompts"),
    ],
)
def test_a_plan_whose_tokens_nobody_counts(fault, message, tmp_path, monkeypatch, capsys):
    counting = PLATFORMS["claude"]._replace(asks=lambda call: call.path.endswith("/count_tokens"))
    monkeypatch.setitem(PLATFORMS, "claude", counting)
    command = ("plan", "sequence-level", "--teacher", counting.teacher, "--workdir", tmp_path / "work")
    with serving("claude", echo, tmp_path, monkeypatch, lambda n, call: fault):
        assert distill(monkeypatch, *command) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert f"{counting.teacher}: " in said and re.search(message, said), said


@pytest.mark.parametrize("name", PLATFORMS)
def test_a_plan_starts_without_torch(name, tmp_path, monkeypatch):
    command = ("plan", "sequence-level", "--teacher", PLATFORMS[name].teacher, "--workdir", tmp_path / "work")
    with serving(name, echo, tmp_path, monkeypatch) as server:
        done = subprocess.run([sys.executable, "-c", WITHOUT_TORCH, *command], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert not any(map(PLATFORMS[name].asks, server.calls))
    assert "tokens to read" in done.stdout


def test_a_plan_knows_the_users_own_pace(tmp_path, monkeypatch, capsys):
    command = ("plan", "sequence-level", "--teacher", "langchain:openai:tiny", "--requests-per-second", 0.5)
    with serving("openai-compatible", echo, tmp_path, monkeypatch):
        assert distill(monkeypatch, *command, "--workdir", tmp_path / "work") == 0
    assert "at least 10 min 24 s" in capsys.readouterr().out  # for 312 prompts
