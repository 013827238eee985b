"""Text as Markdown that is read as it stands, by people and by machines: no HTML, no attributes, no entities."""

from __future__ import annotations

import re
from functools import cache

from .prose import Block, Code, Em, Inline, Link, Strong, Text, Writer

SPACE = re.compile(r"\s+")
BLOCK = re.compile(r"^(\s*)(#(?=[#\s]|$)|>|[+-](?=\s|$)|-(?=-)|~(?=~))")
NUMBERED = re.compile(r"^(\s*\d+)(?=[.)])")
SPECIAL = re.compile(r"[\\`*\[\]|]|<(?=[A-Za-z/!?])|_(?<!\w_)|_(?!\w)|&(?=#?\w+;)")
"""Every choice begins with a character of its own, by which the search skips plain text."""


@cache
def escape(text: str) -> str:
    """`text` on one line, in which nothing is markup; backslashes only where something would be."""
    if not text.isprintable() or "  " in text:  # what is printable has no white space but single spaces
        text = SPACE.sub(" ", text)
    return SPECIAL.sub(lambda m: f"\\{m[0]}", text)


def guard(line: str) -> str:
    """`line` so that no heading, list, quotation or rule begins with it."""
    return NUMBERED.sub(r"\1\\", BLOCK.sub(r"\1\\\2", line))


def indented(source: str) -> str:
    """Source text as an indented block, which unlike a fence it cannot end."""
    return "\n".join(f"    {line}" for line in source.splitlines())


class PlainText(Writer):
    """Writes parsed text back as plain Markdown."""

    def _block(self, block: Block) -> str:
        marker = {"bullets": "- ", "numbers": "1. "}.get(block.kind, "")
        return "\n".join(marker + guard(self.spans(item)) for item in block.items)

    def _span(self, node: Inline) -> str:
        match node:
            case Text(text):
                return escape(text)
            case Code(text):
                return f"`{text}`"
            case Strong(inner):
                return f"**{self.spans(inner)}**"
            case Em(inner):
                return f"*{self.spans(inner)}*"
            case Link(inner, target):
                return self.link(self.spans(inner), target)
        return super()._span(node)
