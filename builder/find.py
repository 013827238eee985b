"""What the pages of "Find" compute from the catalogue: the chooser's criteria, and the maps of relations.

Which pattern fits which answers is decided by `of_dimension` and `rank` in implementations/checks/report.py, for
`distill check`. The chooser repeats these two in site_overrides/docs/assets/rank.js, and a test holds both against
each other. Here nothing is decided: the criteria are written out as data.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from implementations.registry import steps

from .load import Catalogue
from .models import Guidance, Pattern
from .prose import plain

# How relations are drawn. One that is not named here is drawn as an arrow of its own.
REVERSED = {"precedes": "follows"}  # the same arrow, told from its other end
MUTUAL = {"alternative", "combines_with"}  # said once it holds both ways, so it has no arrow head
DRAWN = 60


def reasons(pattern: Pattern) -> Iterator[tuple[bool, int, Guidance]]:
    """Reasons to use the pattern, then reasons to leave it: whether it is one to use, its number there, and itself."""
    for use, items in ((True, pattern.when_to_use), (False, pattern.when_not_to_use)):
        for number, item in enumerate(items, 1):
            yield use, number, item


def criteria(catalogue: Catalogue) -> dict[str, Any]:
    """What the chooser weighs, as data: keys alone, the texts stand on the page."""
    words = catalogue.vocabulary
    return {
        "dimensions": [{"dimension": key, "values": list(d.values)} for key, d in words.dimensions.items()]
        if words
        else [],
        "advice": [item.answers for item in words.advice] if words else [],
        "steps": {slug: steps(slug) for slug in sorted(catalogue.patterns)},
        "patterns": {
            slug: [
                {"dimension": item.criterion.dimension, "use": use, "values": item.criterion.values}
                for use, _, item in reasons(pattern)
            ]
            for slug, pattern in sorted(catalogue.patterns.items())
        },
    }


@dataclass(frozen=True)
class Map:
    """One kind of relation, drawn: its name in the vocabulary, the Mermaid source, and the same as one sentence."""

    relation: str
    source: str
    alt: str


def maps(catalogue: Catalogue) -> Iterator[Map]:
    """A map for each kind of relation that somebody uses, in the vocabulary's order.

    One with more than DRAWN patterns is left out: nobody could read it, and drawing takes the square of their number.
    """
    for relation in catalogue.vocabulary.relations if catalogue.vocabulary else ():
        pairs = sorted({(a, b) for kind, a, b in _pairs(catalogue) if kind == relation})
        if pairs:
            line = "---" if relation in MUTUAL else "-->"
            names = {slug: title(catalogue, slug) for pair in pairs for slug in pair}
            if len(names) > DRAWN:
                continue
            nodes = [_node(catalogue, slug, name) for slug, name in sorted(names.items())]
            edges = [f"  {_id(a)} {line} {_id(b)}" for a, b in pairs]
            joint = "and" if relation in MUTUAL else "to"
            alt = "; ".join(f"{names[a]} {joint} {names[b]}" for a, b in pairs)
            yield Map(relation, "\n".join(["flowchart LR", *nodes, *edges]), alt)


def title(catalogue: Catalogue, slug: str) -> str:
    """The words of a pattern's title, whether it has a page or is planned."""
    planned = catalogue.vocabulary.planned if catalogue.vocabulary else {}
    known = catalogue.patterns.get(slug) or planned.get(slug)
    return plain(known.title) if known else slug


def _pairs(catalogue: Catalogue) -> Iterator[tuple[str, str, str]]:
    """Every relation as it is drawn: its kind, and the slugs from left to right."""
    for pattern in catalogue.patterns.values():
        for other in pattern.related:
            ends = (pattern.slug, other.slug)
            if other.relation in REVERSED:
                yield REVERSED[other.relation], other.slug, pattern.slug
            else:
                yield other.relation, *(sorted(ends) if other.relation in MUTUAL else ends)


def _id(slug: str) -> str:
    return "n_" + slug.replace("-", "_")  # a word of Mermaid's own, as `end`, would be no node


def _node(catalogue: Catalogue, slug: str, name: str) -> str:
    """A box with the title; rounded and marked where the pattern has no page yet."""
    words = "".join(c for c in name if c.isalnum() or c in " .,-–’/")  # what else a label may hold, Mermaid reads
    return f'  {_id(slug)}["{words}"]' if slug in catalogue.patterns else f'  {_id(slug)}("{words}, planned")'
