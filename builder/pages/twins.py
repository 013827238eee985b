"""Pages as plain Markdown, for people and machines that want no HTML."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from .. import twin
from ..data import beside, citation, page_path, page_url
from ..models import Pattern, Term
from ..prose import Cite, Figure, plain
from ..twin import PlainText
from .claims import ClaimsPage
from .page import ADDRESS, PLAIN, Page, people
from .pattern import PatternPage
from .term import TermPage


class Twin(PlainText, Page):
    """A page as plain Markdown, served beside it. Its addresses are whole, for it is read far from here."""

    environment = PLAIN
    planned_mark = " (planned)"
    unmeasured = "(not measured yet)"

    def render(self, template: str, **context: Any) -> str:
        return re.sub(r"\n{3,}", "\n\n", super().render(template, **context))

    def tooltip(self, term: str) -> str:
        return ""

    def figure(self, node: Figure) -> str:
        return twin.escape(self.value(node) or self.unmeasured)

    def to(self, path: str) -> Markup:
        return Markup(page_url(self.catalogue, path))

    def beside(self, ending: str) -> Markup:
        return self.to(beside(self.path, ending))

    def twin(self, model: Pattern | Term) -> Markup:
        return self.to(beside(page_path(model), ".txt"))

    def words(self, text: str) -> Markup:
        """The words of a text without links and figures."""
        return Markup(twin.escape(plain(text)))

    def cite(self, node: Cite) -> str:
        named = [self.labels.get(key, key) + (f", {locator}" if locator else "") for key, locator in node.works]
        return f"({twin.escape('; '.join(named))})"

    def reference(self, key: str) -> Markup:
        ref = self.catalogue.references[key]
        parts = [f"{people(ref)} ({ref.issued})", ref.title, ref.container_title, ref.publisher]
        return Markup(f"{twin.escape('. '.join(filter(None, parts)))}. <{quote(ref.URL, safe=ADDRESS)}>")


class PatternTwin(Twin, PatternPage):
    def render(self, template: str, **context: Any) -> str:
        return super().render(template, citation=citation(self.catalogue, self.path), **context)

    def cells_of(self, part: dict[str, Any]) -> list[list[str]]:
        """The rows of a record's table, as text."""
        written = [[f"{v.text} ({v.low} to {v.high})" if v else "–" for v in values] for _, _, values in part["rows"]]
        return [[title, *values] for (title, _, _), values in zip(part["rows"], written, strict=True)]

    def source(self) -> Markup:
        return Markup(twin.indented(self.pattern.architecture.diagram))


class TermTwin(Twin, TermPage):
    pass


class ClaimsTwin(Twin, ClaimsPage):
    pass
