"""Mermaid source to accessible SVG, at build time, so that a page needs no script to show its diagram.

The drawing is done by merm. What comes out is taken apart and put together again from the elements and
attributes named below: no style, script, link or font of a diagram reaches the page, and the site's own
stylesheet colours it in light and dark.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from xml.etree import ElementTree as ET

import merm
from merm.layout import layout_diagram
from merm.measure import TextMeasurer, text

from .cores import each

# A third of a layout's time went into asking for the width of the same letters, a thousand times for each diagram.
text._char_width = cache(text._char_width)

SVG = "{http://www.w3.org/2000/svg}"
TAGS = frozenset("svg g defs marker path rect circle ellipse polygon polyline line text tspan".split())
ATTRIBUTES = frozenset(
    "viewBox width height x y x1 y1 x2 y2 cx cy r rx ry d points transform class text-anchor"
    " dominant-baseline refX refY orient markerWidth markerHeight markerUnits"
    " stroke-dasharray stroke-width".split()
)
UNHEEDED = re.compile(r"\s*(?:(click|style|classDef|class|linkStyle|href)\b|(%%\{))")
FLOWCHART = re.compile(r"\s*(flowchart|graph)\b")
SEQUENCE = re.compile(r"\s*sequenceDiagram", re.I)
SWALLOWED = re.compile(r'->|=>|\["|"\]|\]\s*[-=.<~]*\s*\w+\[')
"""What a label holds that goes on into the next box."""
BLOCK = re.compile(r"(loop|alt|opt|else)\b(?!\s*-)|(end)$", re.I)
STATEMENT = re.compile(
    r"(?!(?i:loop|alt|opt|else))"  # the renderer takes these for a block, whatever follows them
    r"(?:(participant|actor)\s+[A-Za-z_]\w*(\s+as\s+.+)?$|(de)?activate\s+[A-Za-z_]\w*$"
    r"|(?i:note)\s+(?i:left\s+of|right\s+of|over)\s+[A-Za-z_]\w*(\s*,\s*[A-Za-z_]\w*)?\s*:\s*.+"
    r"|[A-Za-z_]\w*\s*(--?>>?|--?[x)])\s*\+?-?\s*[A-Za-z_]\w*\s*(:.*)?$)"
)
"""The lines of a sequence that the renderer draws; it leaves out all others without a word."""
STATEMENTS = (
    "write A->>B: text, participant A as Name, actor, Note over A: text, activate, deactivate, end, loop, opt, alt or "
    "else, one in each line; no name begins with one of the last four words"
)
LOCAL = re.compile(r"url\(#([\w-]+)\)")


@dataclass(frozen=True)
class LaidOut:
    """What draws a diagram that has been laid out, so that drawing it goes on from there; and a flowchart's labels."""

    draw: Callable[[], str]
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class DiagramError:
    line: int
    what: str
    why: str = "it cannot be drawn"
    mend: str = "mend the line; it is Mermaid, a flowchart or a sequence diagram"


def is_flowchart(source: str) -> bool:
    """Or else a sequence."""
    return bool(FLOWCHART.match(_told(source)))


def errors(source: str) -> Iterator[DiagramError]:
    """What keeps the diagram from being drawn as it is written, by line of its source."""
    for number, line in enumerate(source.splitlines(), 1):
        if match := UNHEEDED.match(line):
            why = "the site colours diagrams, and they hold no links"
            yield DiagramError(number, f"`{match[1] or match[2]}` has no effect", why, "remove the line")
    try:
        labels = _laid_out(source).labels
    except Exception as error:  # the renderer raises its own and whatever its layout runs into
        message = str(error) or type(error).__name__
        found = re.match(r"Line (\d+): (.*)", message, re.S)
        yield DiagramError(int(found[1]) if found else 0, found[2] if found else message)
        return
    yield from _swallowed(source, labels)
    if SEQUENCE.match(_told(source)):
        yield from _skipped(source)


def _swallowed(source: str, labels: Iterable[str]) -> Iterator[DiagramError]:
    """Labels that hold what stands after them, which the renderer takes for their text."""
    lines = source.splitlines()
    for label in labels:
        if SWALLOWED.search(label) or label.count('"') % 2:
            line = next((number for number, line in enumerate(lines, 1) if label in line), 0)
            shown = label if len(label) <= 80 else label[:80] + "…"
            why = "an arrow, or a bracket or quote that is open, would be shown as words"
            mend = 'write A["label"] --> B["label"]; an arrow in a label is →'
            yield DiagramError(line, f"“{shown}” is read as one label", why, mend)


def _skipped(source: str) -> Iterator[DiagramError]:
    """Lines of a sequence that the renderer leaves out, and those that end it before its last line."""
    lines = [line.strip() for line in _told(source).splitlines()]
    first = next(number for number, line in enumerate(lines, 1) if line)
    open_blocks: list[str] = []
    for number, line in enumerate(lines[first:], first + 1):
        block = BLOCK.match(line)
        word = block[0].lower() if block else ""
        if word in ("loop", "alt", "opt"):
            open_blocks.append(word)
        elif (word == "end" and not open_blocks) or (word == "else" and open_blocks[-1:] != ["alt"]):
            why, mend = "nothing after it would be drawn", "remove it, or open a block above it: loop, opt or alt"
            yield DiagramError(number, f"`{word}` belongs to no block", why, mend)
            return
        elif word == "end":
            open_blocks.pop()
        elif line and not word and not STATEMENT.match(line):
            shown = line if len(line) <= 80 else line[:80] + "…"
            yield DiagramError(number, f"`{shown}` is no line of a sequence", "it would not be drawn", STATEMENTS)
    if open_blocks:
        why, mend = "readers of the source would not know how far it goes", "write `end` after its last line"
        yield DiagramError(len(lines), f"`{open_blocks[-1]}` has no end", why, mend)


@cache
def svg(source: str, name: str, label: str) -> str:
    """The diagram as one SVG element; `name` keeps its ids apart, `label` is read in its place."""
    root = _clean(ET.fromstring(_laid_out(source).draw()), name)
    _fit(root)
    root.set("role", "img")
    root.set("aria-label", label)
    root.set("xmlns", "http://www.w3.org/2000/svg")
    root.set("class", "dp-diagram__svg")
    drawing = re.sub(r"\s*\n\s*", "", ET.tostring(root, encoding="unicode"))
    return re.sub(r"[\[\]{}*_`]", lambda m: f"&#{ord(m[0])};", drawing)  # words of labels, never Markdown


def _told(source: str) -> str:
    """Without its comments, each of which becomes an empty line, so that errors name the line of the source."""
    return "\n".join("" if line.strip().startswith("%%") else line for line in source.splitlines())


def lay_out(sources: Iterable[str]) -> None:
    """Lay out many diagrams at once. What is wrong with one is told by `errors`."""
    new = [source for source in dict.fromkeys(sources) if source not in LAID_OUT]
    made = zip(new, each(_tried, new), strict=True)
    LAID_OUT.update((source, laid) for source, laid in made if laid)


LAID_OUT: dict[str, LaidOut] = {}


def _tried(source: str) -> LaidOut | None:
    with suppress(Exception):
        return _laid_out(source)
    return None


def _laid_out(source: str) -> LaidOut:
    if source not in LAID_OUT:
        LAID_OUT[source] = _lay_out(source)
    return LAID_OUT[source]


def _lay_out(source: str) -> LaidOut:
    """Read and lay out, which finds what is wrong."""
    told, labels = _told(source), []
    if FLOWCHART.match(told):
        flowchart = merm.parse_flowchart(told)
        layout = layout_diagram(flowchart, measure_fn=TextMeasurer().measure)
        connected, draw = bool(flowchart.edges), partial(merm.render_svg, flowchart, layout)
        labels = [node.label for node in flowchart.nodes] + [edge.label for edge in flowchart.edges if edge.label]
    else:
        drawn = merm.render_diagram(told)
        classes = {element.get("class", "").split("-")[0] for element in ET.fromstring(drawn).iter()}
        connected, draw = bool(classes & {"seq", "transition"}), partial(str, drawn)
    if not connected:
        raise ValueError("nothing is connected to anything; a bracket may be open")
    return LaidOut(draw, tuple(labels))


def _fit(root: ET.Element) -> None:
    """Widen the view to every corner of every polygon; the renderer forgets the tips of wide diamonds."""
    left, top, width, height = map(float, root.get("viewBox", "").split())
    right, bottom = left + width, top + height
    heads = root.findall(".//marker/polygon")
    for polygon in root.iter("polygon"):
        if polygon not in heads:
            numbers = [float(n) for n in re.findall(r"-?[\d.]+", polygon.get("points", ""))]
            left, right = min(left, *(x - 4 for x in numbers[::2])), max(right, *(x + 4 for x in numbers[::2]))
            top, bottom = min(top, *(y - 4 for y in numbers[1::2])), max(bottom, *(y + 4 for y in numbers[1::2]))
    root.set("viewBox", f"{left:g} {top:g} {right - left:g} {bottom - top:g}")
    root.set("width", f"{right - left:g}")
    root.set("height", f"{bottom - top:g}")


def _clean(element: ET.Element, name: str) -> ET.Element:
    out = ET.Element(element.tag.removeprefix(SVG))
    for key, value in element.attrib.items():
        if key == "id":
            out.set("id", f"{name}-{value}".replace("_", "-"))
        elif key in ("marker-end", "marker-start") and (match := LOCAL.fullmatch(value)):
            out.set(key, f"url(#{name}-{match[1]})".replace("_", "-"))
        elif key in ATTRIBUTES:
            out.set(key, value)
    out.text, out.tail = element.text, element.tail
    for child in element:
        if child.tag.removeprefix(SVG) in TAGS:
            out.append(_clean(child, name))
    return out
