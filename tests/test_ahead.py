"""What a command refuses before torch is loaded and before anything is asked: nothing here loads it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import distill

from implementations import cli


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
