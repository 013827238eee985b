"""May these answers train a model? A short note for each provider (terms.yml), with sources and the day of reading."""

from __future__ import annotations

import datetime
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from ..yaml_file import read
from .prices import Url, provider_of

NOTES = Path(__file__).with_name("terms.yml")
NOTICE = "This is information, not legal advice; the provider's own text and your agreement with it count."


class Status(StrEnum):
    """What the text that was read amounts to."""

    RESTRICTED = "restricted"
    ALLOWED = "allowed"
    MODEL_DEPENDENT = "model-dependent"
    NOT_VERIFIED = "not verified"


class Terms(BaseModel):
    """What was read at ``sources`` on ``date`` about training other models on the answers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    status: Status
    note: Annotated[str, StringConstraints(min_length=20, max_length=700, strip_whitespace=True)]
    sources: Annotated[tuple[Url, ...], Field(min_length=1)]
    date: datetime.date


def find(platform: str, model: str = "") -> Terms | None:
    """The note on whoever answers for ``model`` on ``platform``; None where there is none, which allows nothing."""
    provider, _ = provider_of(platform, model)
    return _notes().get(provider)


@cache
def _notes() -> dict[str, Terms]:
    return load(NOTES)


def load(path: Path) -> dict[str, Terms]:
    """Notes by provider. Raises InputError naming the file and every key that is wrong."""
    return read(path, dict[str, Terms])
