"""The small part of Markdown that the catalogue's text is written in: parse it, and write it back safely.

`parse` knows paragraphs, lists, bold, emphasis, code, links, citations and record figures; everything else is
plain text. Writing back encodes whatever Markdown or HTML could take for markup, so text can never become an
element, an attribute, a script or a link that `parse` has not understood.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

INLINE = re.compile(  # every choice begins with a character of its own, by which the search skips plain text
    r"`(?P<code>[^`\n]+)`"
    r"|\[\[record:\s*(?P<path>[^\]|]*?)\s*(?:\|\s*(?P<format>[^\]]*?)\s*)?\]\]"
    r"|\[(?P<cite>@[^\]]*)\]"
    r"|\[(?P<label>[^\[\]]+)\]\((?P<target>[^()\s]+)\)"
    r"|\*\*(?=\S)(?P<strong>.+?)(?<=\S)\*\*"
    r"|\*(?<![*\w]\*)(?=[^\s*])(?P<em>[^*]+?)(?<=\S)\*(?![*\w])",
    re.S,
)
MARKUP = re.compile(r"[`\[*]")
BLANK = re.compile(r"\n\s*\n")
BULLET = re.compile(r"[-*] +")
NUMBER = re.compile(r"\d{1,2}[.)] +")


@dataclass(frozen=True, slots=True)
class Text:
    text: str


@dataclass(frozen=True, slots=True)
class Code:
    text: str


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure to be read from the record."""

    path: str
    format: str | None
    raw: str


@dataclass(frozen=True, slots=True)
class Cite:
    """One or more works, each with the place in it."""

    works: tuple[tuple[str, str | None], ...]
    raw: str


@dataclass(frozen=True, slots=True)
class Link:
    inner: tuple[Inline, ...]
    target: str


@dataclass(frozen=True, slots=True)
class Strong:
    inner: tuple[Inline, ...]


@dataclass(frozen=True, slots=True)
class Em:
    inner: tuple[Inline, ...]


Inline = Text | Code | Figure | Cite | Link | Strong | Em


@dataclass(frozen=True, slots=True)
class Block:
    """A paragraph (one item) or a list."""

    kind: str  # paragraph, bullets or numbers
    items: tuple[tuple[Inline, ...], ...]


@cache
def parse(text: str) -> tuple[Block, ...]:
    """Kept, as checking and every page that shows a text ask for it again."""
    text = text.strip()
    if "\n" not in text:
        return (_block(_marker(text) or "paragraph", [text]),) if text else ()
    blocks: list[Block] = []
    for chunk in BLANK.split(text):
        kind, items = "", []
        for line in map(str.strip, chunk.splitlines()):
            marker = _marker(line)
            if items and (not marker or marker == kind):
                if marker:
                    items.append(line)
                else:
                    items[-1] += " " + line
                continue
            if items:
                blocks.append(_block(kind, items))
            kind, items = marker or "paragraph", [line]
        if items:
            blocks.append(_block(kind, items))
    return tuple(blocks)


def _marker(line: str) -> str:
    """The kind of list that an item begins with; none if the line is no item."""
    return "bullets" if BULLET.match(line) else "numbers" if NUMBER.match(line) else ""


def _block(kind: str, lines: list[str]) -> Block:
    marker = {"bullets": BULLET, "numbers": NUMBER}.get(kind)
    return Block(kind, tuple(inline(marker.sub("", line, count=1) if marker else line) for line in lines))


def inline(text: str) -> tuple[Inline, ...]:
    if not MARKUP.search(text):
        return (Text(text),) if text else ()
    nodes: list[Inline] = []
    at = 0
    for match in INLINE.finditer(text):
        if match.start() > at:
            nodes.append(Text(text[at : match.start()]))
        nodes.append(_node(match))
        at = match.end()
    if at < len(text):
        nodes.append(Text(text[at:]))
    return tuple(nodes)


def _node(match: re.Match[str]) -> Inline:
    match match.lastgroup:
        case "code":
            return Code(match["code"])
        case "path" | "format":
            return Figure(match["path"], match["format"], match[0])
        case "cite":
            return Cite(tuple(_work(part) for part in match["cite"].split(";")), match[0])
        case "target":
            return Link(inline(match["label"]), match["target"])
        case "strong":
            return Strong(inline(match["strong"]))
    return Em(inline(match["em"]))


def _work(part: str) -> tuple[str, str | None]:
    key, _, locator = part.strip().removeprefix("@").partition(",")
    return key.strip(), locator.strip() or None


def walk(nodes: tuple[Inline, ...]) -> Iterator[Inline]:
    """Every node, outer before inner."""
    for node in nodes:
        yield node
        if isinstance(node, Link | Strong | Em):
            yield from walk(node.inner)


@cache
def nodes(text: str) -> tuple[Inline, ...]:
    """Every inline node of a text."""
    return tuple(node for block in parse(text) for item in block.items for node in walk(item))


# ----------------------------------------------------------------------------------------- writing it back

UNSAFE = re.compile(r"[^\w\s.,;:!?'()/%+=\-–—−…×°€£’‘“”·→←≤≥≈±§]")  # and `_`, which is one of \w
NAMED = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}


@cache
def escape(text: str) -> str:
    """`text` as Markdown, in which nothing of it is markup."""
    return UNSAFE.sub(lambda m: NAMED.get(m[0]) or f"&#{ord(m[0])};", text).replace("_", "&#95;")


def guard(line: str) -> str:
    """`line` so that no block begins with it: a paragraph that starts with `#` or `1.` stays a paragraph."""
    if match := re.match(r"\s*(\d+)([.)])", line):
        return f"{match[1]}&#{ord(match[2])};" + line[match.end() :]
    if match := re.match(r"\s*([-+=:!?])", line):
        return f"&#{ord(match[1])};" + line[match.end() :]
    return line


def code(text: str) -> str:
    """`text` as an HTML code element: unlike backticks it cannot be broken out of."""
    return "<code>" + "".join(c if c.isalnum() or c in " .-" else f"&#{ord(c)};" for c in text) + "</code>"


class Writer:
    """Writes parsed text back as Markdown. A page supplies what links, citations and figures become."""

    def link(self, label: str, target: str) -> str:
        raise NotImplementedError

    def cite(self, node: Cite) -> str:
        raise NotImplementedError

    def figure(self, node: Figure) -> str:
        raise NotImplementedError

    def blocks(self, text: str) -> str:
        return "\n\n".join(self._block(block) for block in parse(text))

    def line(self, text: str) -> str:
        """Everything on one line, for a table's cell or a list's item."""
        return " ".join(self.spans(item) for block in parse(text) for item in block.items)

    def _block(self, block: Block) -> str:
        if block.kind == "paragraph":
            return guard(self.spans(block.items[0]))
        marker = "-   " if block.kind == "bullets" else "1.  "
        return "\n".join(marker + guard(self.spans(item)) for item in block.items)

    def spans(self, nodes: tuple[Inline, ...]) -> str:
        return "".join(self._span(node) for node in nodes)

    def _span(self, node: Inline) -> str:
        match node:
            case Text(text):
                return escape(text)
            case Code(text):
                return code(text)
            case Strong(inner):
                return f"<strong>{self.spans(inner)}</strong>"
            case Em(inner):
                return f"<em>{self.spans(inner)}</em>"
            case Link(inner, target):
                return self.link(self.spans(inner), target)
            case Cite():
                return self.cite(node)
        return self.figure(node)


@cache
def plain(text: str) -> str:
    """The words alone: for titles, descriptions and alternative text. Citations and figures fall out."""

    def words(nodes: tuple[Inline, ...]) -> str:
        return "".join(n.text if isinstance(n, Text | Code) else words(getattr(n, "inner", ())) for n in nodes)

    out = " ".join(" ".join(words(item) for block in parse(text) for item in block.items).split())
    for mark in ".,;:":  # what fell out may have left a space before one
        out = out.replace(f" {mark}", mark)
    return out
