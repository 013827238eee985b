"""What a command refuses before torch is loaded and before anything is asked: nothing here loads it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import distill

from implementations import cli
from implementations import record as records
from implementations.errors import InputError
from implementations.evaluation import report as written
from implementations.workdir import lock


@pytest.fixture(autouse=True)
def no_torch(monkeypatch, tmp_path):
    """Nothing heavy may be loaded, and relative paths are the test's own."""
    monkeypatch.setattr(cli, "_load_libraries", lambda: pytest.fail("nothing is loaded for it"))
    monkeypatch.chdir(tmp_path)


def write(path: Path, gold: int = 12, free: int = 12, reference: str = "seen", prompt: str = "note") -> Path:
    """Own prompts: so many with the reference, so many without."""
    rows = [{"id": f"g{i}", "prompt": f"{prompt} {i}", "reference": reference} for i in range(gold)]
    rows += [{"id": f"f{i}", "prompt": f"{prompt} free {i}"} for i in range(free)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def refused(monkeypatch, capsys, *command: object) -> str:
    """What is said of ``command``, which ends with status 2."""
    assert distill(monkeypatch, *command) == 2
    shown = capsys.readouterr().err.strip()
    assert shown.startswith("error: ")
    return shown.removeprefix("error: ")


@pytest.mark.parametrize("command", [("run",), ("plan",), ("launch", "--on", "vertex")])
def test_prompts_alone_are_no_log(command, tmp_path, monkeypatch, capsys):
    prompts = write(tmp_path / "notes.jsonl")
    said = refused(monkeypatch, capsys, command[0], "production-logs", *command[1:], "--prompts", prompts)
    assert said == "--prompts without --logs: production-logs learns from a log; give --logs, or take sequence-level"


@pytest.mark.parametrize("command", ["run", "plan", "check"])
@pytest.mark.parametrize(
    ("reference", "share"), [("Клинический случай, без осложнений.", "0%"), ("临床病例无并发症。ok", "20%")]
)
def test_references_in_a_script_that_is_not_scored(command, reference, share, tmp_path, monkeypatch, capsys):
    prompts = write(tmp_path / "notes.jsonl", reference=reference)
    said = refused(monkeypatch, capsys, command, "sequence-level", "--prompts", prompts)
    assert said.startswith(f"{prompts}: {share} of the letters in its references are a to z") and "near zero" in said


@pytest.mark.parametrize("reference", ["Fièvre élevée, à revoir: très tôt.", "12", "ham"])
def test_references_that_are_scored(reference, tmp_path, monkeypatch, capsys):
    prompts = write(tmp_path / "notes.jsonl", reference=reference)
    assert distill(monkeypatch, "plan", "sequence-level", "--prompts", prompts) == 0, capsys.readouterr().err


@pytest.mark.parametrize("command", ["run", "plan", "check", "--production"])
@pytest.mark.parametrize("content", ["9" * 5000, "[" * 100_000])
def test_a_row_that_json_cannot_be_read_from(command, content, tmp_path, monkeypatch, capsys):
    good, bad = write(tmp_path / "good.jsonl"), write(tmp_path / "bad.jsonl")
    bad.write_text(bad.read_text() + f'{{"id": "x", "prompt": {content}}}\n')
    arguments = ("check", "--prompts", good, "--production", bad) if command == "--production" else (command,)
    arguments += () if command == "--production" else ("--prompts", bad)
    said = refused(monkeypatch, capsys, arguments[0], "sequence-level", *arguments[1:])
    assert said.startswith(f"{bad}:25: a number of thousands of digits, or thousands of brackets")


def test_so_in_a_log(tmp_path, monkeypatch, capsys):
    prompts, log = write(tmp_path / "gold.jsonl", free=0), tmp_path / "log.jsonl"
    log.write_text("[" * 100_000 + "\n")
    command = ("plan", "production-logs", "--prompts", prompts, "--logs", log, "--teacher", "claude:x")
    assert refused(monkeypatch, capsys, *command).startswith(f"--logs {log}: a number of thousands of digits, or")


def test_what_a_plan_redacts_is_never_committed_by_accident(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("OPENAI_API_KEY", "x")
    prompts = write(tmp_path / "notes.jsonl", prompt="mail ann@example.org about")
    command = ("plan", "sequence-level", "--prompts", prompts, "--teacher", "langchain:openai:gpt-4.1-mini")
    assert distill(monkeypatch, *command, "--redact", "--workdir", tmp_path / "new") == 0, capsys.readouterr().err
    assert (tmp_path / "new" / "redacted.sqlite").is_file()
    assert (tmp_path / "new" / ".gitignore").read_text() == "*\n"


def test_what_may_not_be_sent_and_the_lock_come_before_torch(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("OPENAI_API_KEY", "x")
    prompts = write(tmp_path / "notes.jsonl")
    command = ("run", "sequence-level", "--prompts", prompts, "--workdir", tmp_path / "work")
    said = refused(monkeypatch, capsys, *command, "--teacher", "langchain:openai:gpt-4.1-mini")
    assert "your prompts would leave this machine" in said
    with lock(tmp_path / "work"):
        assert "another run is at work here" in refused(monkeypatch, capsys, *command)


def test_a_folder_that_cannot_be_made(monkeypatch, capsys):
    said = refused(monkeypatch, capsys, "run", "sequence-level", "--workdir", "/proc/x")
    assert said.startswith("/proc/x: cannot be written (No such file or directory); give --workdir a folder you own")


@pytest.mark.parametrize(
    ("error", "mend"),
    [
        (PermissionError(13, "Permission denied"), "(Permission denied); make it writable, or copy it elsewhere"),
        (OSError(28, "No space left on device"), "the disk is full; free some space and run the same command again"),
    ],
)
def test_a_report_that_cannot_be_written_suggests_no_workdir(error, mend, tmp_path, monkeypatch):
    """`distill report` has none."""

    def fail(*_: object) -> None:
        raise error

    for name in ("_record", "_items", "render"):
        monkeypatch.setattr(written, name, lambda *_: None)
    monkeypatch.setattr(records, "write_atomic", fail)
    with pytest.raises(InputError) as said:
        written.write(tmp_path)
    assert str(said.value).endswith(mend)
