"""Exports: the same model comes back from the exported file, and whatever moved on the way out is named."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest
from builder_samples import make_record
from commands import distill
from rich.console import Console

from implementations import record as records
from implementations.delivery import PRECISIONS, Precision, Target
from implementations.delivery.readers import Transformers, has_llama_cpp
from implementations.delivery.student import Student, finished
from implementations.delivery.verify import Expected, Moved, Step, compare, expect
from implementations.errors import InputError
from implementations.progress import Stages
from implementations.tasks.clinical_summary import ClinicalSummary
from implementations.tasks.task import Sizes

QUIET = Stages(Console(quiet=True))


def make_run(folder: Path, model: Path) -> Path:
    """A finished run whose student is ``model``."""
    items = ClinicalSummary().splits(Sizes(0, 0, 0, 3, 1), seed=0).slices["heldout"]
    lines = [
        {
            "slice": "heldout",
            "id": item.id,
            "prompt": item.prompt,
            "answers": {"student_distilled": [{"text": item.reference}]},
        }
        for item in items
    ]
    folder.mkdir()
    (folder / "items.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    measured = make_record()
    task = measured.task.model_copy(update={"instruction": ClinicalSummary.instruction})
    records.save(measured.model_copy(update={"task": task}), folder / "record.json")
    records.link(folder / "student", model)
    return folder


@pytest.fixture(scope="module")
def run(tiny, tmp_path_factory) -> Path:
    return make_run(tmp_path_factory.mktemp("export") / "a-run", tiny)


@pytest.fixture(scope="module")
def student(run) -> Student:
    return finished(run)


@pytest.fixture(scope="module")
def expected(student) -> Expected:
    return expect(student)


@pytest.mark.parametrize("precision", PRECISIONS[Target.SAFETENSORS])
def test_a_plain_folder(precision, run, tiny, tmp_path, monkeypatch, capsys):
    from transformers import AutoModelForCausalLM

    assert (
        distill(monkeypatch, "export", run, "--to", "safetensors", "--quantize", precision, "--out", tmp_path / "x")
        == 0
    )
    said = capsys.readouterr().out
    assert "transformers" in said and "same in 4 prompts" in said
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "x", dtype="auto")
    assert str(model.dtype).endswith({"f32": "float32", "bf16": "bfloat16", "f16": "float16"}[precision])
    measured = json.loads((tmp_path / "x/export.json").read_text())
    for name, digest in measured["sha256"].items():
        assert hashlib.sha256((tmp_path / "x" / name).read_bytes()).hexdigest() == digest
    assert {"README.md", "model.safetensors", "tokenizer.json", "chat_template.jinja", "generation_config.json"} <= set(
        measured["sha256"]
    )
    [agreement] = measured["agreements"]
    assert (agreement["largest"] == 0) is (precision == "f32") and agreement["largest"] <= agreement["tolerance"]
    card = (tmp_path / "x/README.md").read_text()
    assert (
        "77.7% | 75.7% – 79.7%" in card and ClinicalSummary.instruction.splitlines()[0] in card and "Apache 2.0" in card
    )
    assert str(tiny) not in "".join(path.read_text(errors="replace") for path in (tmp_path / "x").iterdir())
