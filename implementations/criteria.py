"""The catalogue's "when to use" and "when not to use" as data, for `distill check`.

The pages and the chooser read the same files (builder/load.py), which checks every field of them; here only what
decides is read. Imports nothing heavy.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from .errors import InputError
from .record import ROOT
from .yaml_file import read

PATTERNS = ROOT / "patterns"


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Criterion(_Part):
    """Holds when the case's value on ``dimension`` is one of ``values``."""

    dimension: str
    values: list[str] = Field(alias="in", min_length=1)


class Guidance(_Part):
    """One reason to take a pattern, or to leave it."""

    text: str
    criterion: Criterion

    @property
    def plain(self) -> str:
        """``text`` without citations and links, on one line."""
        text = re.sub(r"\s*\[@[^\]]*\]", "", self.text)
        return " ".join(re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", text).split())


class Pattern(_Part):
    title: str
    when_to_use: list[Guidance]
    when_not_to_use: list[Guidance]


class Dimension(_Part):
    """One question about a case; ``values`` are its answers, by key."""

    title: str
    question: str
    values: dict[str, str]


class _Vocabulary(_Part):
    dimensions: dict[str, Dimension]


@cache
def patterns(folder: Path = PATTERNS) -> dict[str, Pattern]:
    """Every pattern that has a page, by slug. Raises InputError where a file is missing or wrong."""
    return {path.stem: read(path, Pattern) for path in sorted(_there(folder).glob("[!_]*.yml"))}


@cache
def dimensions(folder: Path = PATTERNS) -> dict[str, Dimension]:
    """The dimensions of the catalogue, by key, in its order. Raises InputError where the file is missing or wrong."""
    return read(_there(folder) / "_vocabulary.yml", _Vocabulary).dimensions


def _there(folder: Path) -> Path:
    if not (folder / "_vocabulary.yml").is_file():
        raise InputError(f"{folder}: no catalogue; run from a checkout of the project, installed with pip install -e .")
    return folder
