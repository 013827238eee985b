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
from .wire import is_here

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


def find(platform: str, model: str = "", endpoint: str = "") -> Terms | None:
    """The note on whoever answers for ``model`` on ``platform``; None where there is none, which allows nothing.

    ``endpoint`` is where requests go instead of the provider's own address. Nobody knows whose terms count there; on
    this machine the model's licence decides.
    """
    provider, _ = provider_of(platform, model)
    found = _notes().get(provider)
    if found is None or provider == "local" or not endpoint:
        return found
    return _notes()["local"] if is_here(endpoint) else None


def unread(name: str, endpoint: str = "") -> str:
    """What there is to say of the teacher of that name where there is no note."""
    if endpoint:
        return (
            f"nobody has read what {endpoint} says about training on its answers; where it asks a provider in turn, "
            "that provider's terms count too"
        )
    return f"nobody has read what the provider of {name} says about training on its answers"


@cache
def _notes() -> dict[str, Terms]:
    return load(NOTES)


def load(path: Path) -> dict[str, Terms]:
    """Notes by provider. Raises InputError naming the file and every key that is wrong."""
    return read(path, dict[str, Terms])
