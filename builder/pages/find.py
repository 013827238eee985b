"""The pages of many patterns: chooser, table, matrix, side by side, relations."""

from __future__ import annotations

import html
from functools import cached_property
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from implementations.registry import PLATFORMS, RECIPES, CellStatus, Platform, Signal

from .. import data, diagram, find
from ..data import status
from ..models import Pattern, PatternStatus, Tradeoff
from ..results import Results
from .page import ADDRESS, SIGNALS, Page, enumerated, front_matter


class FindPage(Page):
    """A page of many patterns. Its tables are HTML, in which no Markdown is read, so its links are HTML too."""

    def render(self, template: str, **context: Any) -> str:
        return super().render(template, words=self.catalogue.vocabulary, **context)

    def alternates(self) -> list[dict[str, str]]:
        if self.path == "choose.md":
            return [{"href": self.to(data.CRITERIA), "type": "application/json", "title": "The criteria as JSON"}]
        return super().alternates()

    def link(self, label: str, target: str) -> str:
        kind, _, rest = target.partition(":")
        if kind == "term" and rest in self.catalogue.terms:
            return f'<a href="{self.address(f"glossary/{rest}.md")}"{self.tooltip(rest)}>{label}</a>'
        if kind == "pattern" and rest in self.catalogue.patterns:
            return f'<a href="{self.address(f"patterns/{rest}.md")}">{label}</a>'
        if kind in ("https", "http"):
            return f'<a href="{html.escape(quote(target, safe=ADDRESS))}">{label}</a>'
        return super().link(label, target)

    def tooltip(self, term: str) -> str:
        return f" title={super().tooltip(term).strip()}"

    # -- criteria

    def criteria(self) -> Markup:
        """The criteria for the chooser's script, in the front matter."""
        return Markup(front_matter(find.criteria(self.catalogue)))

    def reasons(self, pattern: Pattern, dimension: str) -> list[dict[str, Any]]:
        """The pattern's criteria on one dimension; `index` is their place in criteria.json."""
        out = []
        for index, (use, number, item) in enumerate(find.reasons(pattern)):
            if item.criterion.dimension == dimension:
                anchor = f"patterns/{pattern.slug}.md#when-{'to' if use else 'not-to'}-use-{number}"
                out.append({"index": index, "use": use, "item": item, "address": self.address(anchor)})
        return out

    def marks(self, pattern: Pattern, dimension: str, value: str) -> list[bool]:
        """Whether the page gives a reason to use (True) and to leave (False) the pattern for one answer."""
        weighed = ((use, item.criterion) for use, _, item in find.reasons(pattern))
        return sorted({use for use, c in weighed if c.dimension == dimension and value in c.values}, reverse=True)

    # -- what a pattern needs, and where it runs

    def signals(self) -> list[tuple[str, str]]:
        """What recipes need of a teacher, as far as one does: key and words."""
        needed = {RECIPES[slug].needs for slug in self.catalogue.patterns if slug in RECIPES}
        return [(signal.value, words) for signal, words in SIGNALS.items() if signal in needed]

    def signal(self, slug: str) -> tuple[str, str]:
        """What the pattern's recipe needs of a teacher: key and words; without a recipe, both are empty."""
        return (RECIPES[slug].needs.value, SIGNALS[RECIPES[slug].needs]) if slug in RECIPES else ("", "")

    def enough(self, slug: str) -> list[str]:
        """What a teacher must give at the least for a direct run: the signal that is needed, or one that says more."""
        order = list(Signal)
        return [s.value for s in order[order.index(RECIPES[slug].needs) :]] if slug in RECIPES else []

    def gives(self, platform: Platform) -> str:
        return enumerated([SIGNALS[signal] for signal in Signal if signal in platform.gives])

    def platforms(self) -> list[Platform]:
        return list(PLATFORMS.values())

    def status(self, slug: str, platform: Platform) -> CellStatus:
        return status(slug, platform.slug)

    def runs(self, slug: str) -> list[tuple[CellStatus, str]]:
        """How the pattern runs, and on which platforms so."""
        cells = [
            (state, [p.title for p in PLATFORMS.values() if status(slug, p.slug) == state]) for state in CellStatus
        ]
        return [(state, ", ".join(titles)) for state, titles in cells if titles]

    def command(self, slug: str, number: int) -> Markup:
        """The address of the n-th platform's tab, which holds the command; the theme names tabs by their number."""
        return self.address(f"patterns/{slug}.md#__tabbed_1_{number}")

    # -- facets

    def shapes(self, pattern: Pattern) -> list[str]:
        """The tasks that the pattern is for: keys of `task_shape`."""
        here = [item.criterion for item in pattern.when_to_use if item.criterion.dimension == "task_shape"]
        return list(dict.fromkeys(value for criterion in here for value in criterion.values))

    def shape_titles(self) -> dict[str, str]:
        dimension = self.catalogue.vocabulary and self.catalogue.vocabulary.dimensions.get("task_shape")
        return dimension.values if dimension else {}

    def statuses(self) -> list[str]:
        used = {pattern.status for pattern in self.patterns()}
        return [status.value for status in PatternStatus if status in used]

    def tags(self) -> list[str]:
        return sorted({tag for pattern in self.patterns() for tag in pattern.tags})

    # -- side by side

    def tradeoff(self, pattern: Pattern, axis: str) -> list[tuple[bool, Tradeoff]]:
        """What the pattern does to one axis: whether that is an advantage, and the trade-off."""
        both = ((True, pattern.tradeoffs.advantages), (False, pattern.tradeoffs.disadvantages))
        return [(good, item) for good, items in both for item in items if item.axis == axis]

    @cached_property
    def measured(self) -> dict[str, Results | None]:
        return {slug: self.headline(slug) for slug in self.catalogue.patterns}

    def axes(self) -> dict[str, str]:
        """The axes that some pattern moves, in the vocabulary's order: key and title."""
        words = self.catalogue.vocabulary
        moved = {item.axis for p in self.patterns() for item in (*p.tradeoffs.advantages, *p.tradeoffs.disadvantages)}
        return {key: axis.title for key, axis in words.axes.items() if key in moved} if words else {}

    # -- relations

    def maps(self) -> list[tuple[str, Markup]]:
        """The maps of relations, each with its relation's key."""
        return [
            (m.relation, Markup(diagram.svg(m.source, f"map-{m.relation}", m.alt))) for m in find.maps(self.catalogue)
        ]
