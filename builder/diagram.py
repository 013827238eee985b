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
LOCAL = re.compile(r"url\(#([\w-]+)\)")


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
        _laid_out(source)
    except Exception as error:  # the renderer raises its own and whatever its layout runs into
        message = str(error) or type(error).__name__
        found = re.match(r"Line (\d+): (.*)", message, re.S)
        yield DiagramError(int(found[1]) if found else 0, found[2] if found else message)


@cache
def svg(source: str, name: str, label: str) -> str:
    """The diagram as one SVG element; `name` keeps its ids apart, `label` is read in its place."""
    root = _clean(ET.fromstring(_laid_out(source)()), name)
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
    LAID_OUT.update((source, draw) for source, draw in made if draw)


LAID_OUT: dict[str, Callable[[], str]] = {}
"""What draws a diagram that has been laid out, so that drawing it goes on from there."""


def _tried(source: str) -> Callable[[], str] | None:
    with suppress(Exception):
        return _laid_out(source)
    return None


def _laid_out(source: str) -> Callable[[], str]:
    if source not in LAID_OUT:
        LAID_OUT[source] = _lay_out(source)
    return LAID_OUT[source]


def _lay_out(source: str) -> Callable[[], str]:
    """Read and lay out, which finds what is wrong."""
    told = _told(source)
    if FLOWCHART.match(told):
        flowchart = merm.parse_flowchart(told)
        layout = layout_diagram(flowchart, measure_fn=TextMeasurer().measure)
        connected, draw = bool(flowchart.edges), partial(merm.render_svg, flowchart, layout)
    else:
        drawn = merm.render_diagram(told)
        classes = {element.get("class", "").split("-")[0] for element in ET.fromstring(drawn).iter()}
        connected, draw = bool(classes & {"seq", "transition"}), partial(str, drawn)
    if not connected:
        raise ValueError("nothing is connected to anything; a bracket may be open")
    return draw


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
