"""The code that a page shows: read from the files that the tests run, never pasted."""

from __future__ import annotations

import ast
import textwrap
from dataclasses import dataclass

from implementations.record import ROOT
from implementations.registry import PLATFORMS, RECIPES

ASKS = {"ask", "answer"}
"""The method by which a teacher is asked, of one on a platform and of one on this machine."""
SENDS = {"_body", "_messages", "_config", "_generation_config"}
"""What the teachers' modules call the functions that make a request of a prompt."""


@dataclass(frozen=True)
class Listing:
    """A file's text, or those functions of it that ``names`` has, as they stand there. ``path`` is the project's."""

    path: str
    text: str
    names: tuple[str, ...] = ()


def recipes() -> dict[str, Listing]:
    """Every recipe, whole, by pattern."""
    return {slug: Listing(path := _path(recipe.module), _text(path).strip()) for slug, recipe in RECIPES.items()}


def teachers() -> dict[str, Listing]:
    """What asks each platform, and what is sent there."""
    return {slug: _functions(_path(platform.module)) for slug, platform in PLATFORMS.items() if platform.module}


def _path(module: str) -> str:
    return module.replace(".", "/") + ".py"


def _text(path: str) -> str:
    return (ROOT / path).read_text("utf-8")


def _functions(path: str) -> Listing:
    text = _text(path)
    module = ast.parse(text)
    scopes = [module, *(node for node in module.body if isinstance(node, ast.ClassDef))]
    found = [
        node
        for scope in scopes
        for node in scope.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name in ASKS | SENDS
    ]
    found.sort(key=lambda node: node.lineno)
    lines = text.splitlines()
    parts = [textwrap.dedent("\n".join(lines[node.lineno - 1 : node.end_lineno])) for node in found]
    return Listing(path, "\n\n".join(parts), tuple(node.name for node in found))
