"""The user's own prompts: ``--prompts notes.jsonl``, one ``{"id", "prompt", "reference"?}`` a line.

Rows with a reference are gold: an expert's answer. Rows without one are the transfer set.
"""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import InputError
from .task import Item, Marks, Sizes, Splits, rouge_l

HELDOUT_SHARE = 0.25  # of the rows with a reference, kept from training to compare the arms on
FEWEST = 8  # rows of each kind below which nothing can be learnt or compared
SHOWN = 20  # problems of one file that are listed before the rest is counted
EXAMPLE = '{"id": "note-1", "prompt": "…", "reference": "…"}'


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    id: str = Field(min_length=1)
    prompt: str = Field(min_length=1)
    reference: str | None = Field(default=None, min_length=1)


class UserPrompts:
    """Prompts from a file, scored by ROUGE-L against the reference of each held-out row."""

    primary = "rouge_l"

    def __init__(self, path: Path, instruction: str, max_new_tokens: int):
        self.items = read(path)
        self.name = f"prompts-{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}"
        self.title = path.name
        self.instruction, self.max_new_tokens = instruction, max_new_tokens
        self._check(path)

    def _check(self, path: Path) -> None:
        gold = sum(item.reference is not None for item in self.items)
        for count, kind, mend in (
            (gold, "with", "write an expert's answer for some of them: without it no arm can be compared"),
            (
                len(self.items) - gold,
                "without",
                "add unlabelled prompts: they are what the student learns from",
            ),
        ):
            if count < FEWEST:
                raise InputError(f'{path}: {count} rows {kind} a "reference", at least {FEWEST} are needed; {mend}')

    def splits(self, sizes: Sizes, seed: int) -> Splits:
        """Held out is a quarter of the rows with a reference, the same for every seed; ``sizes`` caps the rest."""
        gold = [item for item in self.items if item.reference is not None]
        random.Random(0).shuffle(gold)
        cut = max(2, round(len(gold) * HELDOUT_SHARE))
        heldout, gold = gold[:cut][: sizes.heldout], gold[cut:]
        seen = {item.prompt for item in heldout}
        gold = [item for item in gold if item.prompt not in seen]
        transfer = [item for item in self.items if item.reference is None and item.prompt not in seen]
        rng = random.Random(seed)
        rng.shuffle(gold)
        rng.shuffle(transfer)
        return Splits(gold[: sizes.gold], [], transfer[: sizes.transfer], {"heldout": heldout})

    def metrics(self, answer: str, item: Item) -> dict[str, float]:
        """``rouge_l``: the F-measure of the longest common subsequence with the reference."""
        return {"rouge_l": rouge_l(item.reference or "", answer)}

    def marks(self, answer: str, item: Item) -> Marks:
        """Nothing is marked: which words are facts is not known here."""
        return Marks((), ())


def read(path: Path) -> list[Item]:
    """Every row of ``path``. Raises InputError with all broken lines, each with its number and the mend."""
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--prompts {path}: {error}; give a UTF-8 file with one {EXAMPLE} a line") from error
    items: list[Item] = []
    problems: list[str] = []
    first_line: dict[str, int] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = _Line.model_validate(json.loads(line))
        except json.JSONDecodeError as error:
            problems.append(f"{path}:{number}:{error.colno}: not JSON ({error.msg}); write one {EXAMPLE} a line")
            continue
        except ValidationError as error:
            problems += [f"{path}:{number}: {_what(detail)}" for detail in error.errors()]
            continue
        if row.id in first_line:
            problems.append(f"{path}:{number}: id {row.id!r} stands on line {first_line[row.id]} too; make it unique")
            continue
        first_line[row.id] = number
        items.append(Item(row.id, row.prompt, row.reference))
    if problems:
        more = [f"… and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
        raise InputError("\n".join(problems[:SHOWN] + more))
    return items


def _what(detail: dict) -> str:
    field = ".".join(map(str, detail["loc"])) or "the line"
    match detail["type"]:
        case "missing":
            return f'"{field}" is missing; add it, as in {EXAMPLE}'
        case "extra_forbidden":
            return f'"{field}" is not a field; use "id", "prompt" and "reference" only'
        case "string_too_short":
            return f'"{field}" is empty; fill it' + (" or leave it out" if field == "reference" else "")
        case _:
            return f'"{field}": {detail["msg"]}; write it as in {EXAMPLE}'
