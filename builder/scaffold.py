"""A new file for a contributor to fill in: every field of its model, in order, with what belongs there. Pure.

All of it comes from the models, so it cannot fall behind them. What is not known yet is a blank, which
`catalogue check` names; what may stay empty says so.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from types import NoneType
from typing import Any, get_args, get_origin

from annotated_types import MinLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from implementations.registry import PLATFORMS

from .data import modeline
from .load import SOURCES
from .models import Line, PatternStatus, Prose

WIDTH = 100
HOW = (
    "Fill in every blank, text below its `|-` and indented: `catalogue check` names those that are left, "
    "`catalogue serve` shows the page. builder/models.py says how text is written."
)


def scaffold(kind: str, slug: str, day: str) -> str:
    """The text of a new pattern or term that is called ``slug`` and begun on ``day``."""
    model = SOURCES[kind]
    known = {
        ("slug",): slug,
        ("created",): f'"{day}"',
        ("updated",): f'"{day}"',
        ("status",): PatternStatus.DRAFT.value,
        ("history", "version"): '"1.0"',
        ("history", "date"): f'"{day}"',
    }
    lines = [modeline(kind), *_comment(HOW, ""), "", *_Writer(known).fields(model, (), "")]
    return "\n".join(lines) + "\n"


class _Writer:
    """Writes a model's fields as YAML. A field that occurs again is explained the first time only."""

    def __init__(self, known: dict[tuple[str, ...], str]) -> None:
        self.known, self.told = known, set()

    def fields(self, model: type[BaseModel], path: tuple[str, ...], indent: str) -> Iterator[str]:
        for name, info in model.model_fields.items():
            if (model, name) not in self.told:
                self.told.add((model, name))
                optional = "" if info.is_required() or get_origin(info.annotation) is list else "; may stay empty"
                yield from _comment(f"{info.description}{optional}", indent)
            yield from self.field(info, (*path, info.alias or name), indent)

    def field(self, info: FieldInfo, path: tuple[str, ...], indent: str) -> Iterator[str]:
        kind, key, deeper = _given(info.annotation), f"{indent}{path[-1]}:", indent + "  "
        if path in self.known:
            yield f"{key} {self.known[path]}"
        elif get_origin(kind) is dict:
            yield key
            yield from (f"{deeper}{slug}:{_blank(get_args(kind)[1])}" for slug in PLATFORMS)
        elif get_origin(kind) is list:
            yield from self.items(info, _given(get_args(kind)[0]), path, indent)
        elif isinstance(kind, type) and issubclass(kind, BaseModel):
            yield key
            yield from self.fields(kind, path, deeper)
        else:
            free = any(isinstance(limit, MinLen) for limit in info.metadata)  # text of no other form: a diagram
            yield key + _blank(Prose if free else kind)

    def items(self, info: FieldInfo, kind: Any, path: tuple[str, ...], indent: str) -> Iterator[str]:
        least = max((limit.min_length for limit in info.metadata if isinstance(limit, MinLen)), default=0)
        if not least:
            yield f"{indent}{path[-1]}: []"
            return
        yield f"{indent}{path[-1]}:"
        for _ in range(least):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield f"{indent}  -"
                yield from self.fields(kind, path, indent + "    ")
            else:
                yield f"{indent}  -{_blank(kind)}"


def _given(kind: Any) -> Any:
    """A field's type without None and without what limits it."""
    while NoneType in get_args(kind) or getattr(kind, "__metadata__", None):
        kind = get_args(kind)[0]
    return kind


def _blank(kind: Any) -> str:
    """What follows the colon: a block for text of several lines, nothing for everything shorter."""
    return " |-" if issubclass(kind, Prose) and not issubclass(kind, Line) else ""


def _comment(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")
