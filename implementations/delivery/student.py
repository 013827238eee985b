"""The student of a finished run, and the held-out prompts that its exports are tried on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from .. import record as records
from ..errors import InputError
from ..record import ArmKind, Record
from ..teachers.encoder import kind
from ..teachers.local import check_folder, load
from . import check_finished


@dataclass(frozen=True)
class Probe:
    """A held-out prompt, and what the student answered to it in the run."""

    prompt: str
    answer: str


@dataclass(frozen=True)
class Student:
    """``folder`` is where the run left it; ``model`` is in float32, on the processor."""

    run: Path
    folder: Path
    record: Record
    probes: list[Probe]
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase

    @property
    def name(self) -> str:
        return self.run.resolve().name

    @property
    def instruction(self) -> str:
        return self.record.task.instruction


def finished(run: Path) -> Student:
    """The student of the run in the folder ``run``. Raises InputError when the run is not finished."""
    check_finished(run)
    record = records.load(run / "record.json")
    folder = check_folder((run / "student").resolve(), "the student")
    if kind(folder):
        raise InputError(
            f"{run}: the student is a classifier, and GGUF and Ollama take models that write; copy {folder}, which "
            "transformers' Auto classes load as it is"
        )
    model, tokenizer = load(folder, "cpu", "float32")
    return Student(run, folder, record, _probes(run / "items.jsonl"), model.eval(), tokenizer)


def _probes(path: Path) -> list[Probe]:
    lines = path.read_text("utf-8").split("\n")  # splitlines would also cut at a U+2028 inside a prompt or an answer
    items = [json.loads(line) for line in lines if line.strip()]
    return [Probe(item["prompt"], item["answers"][ArmKind.STUDENT_DISTILLED][0]["text"]) for item in items]
