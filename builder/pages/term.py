"""A term's page."""

from __future__ import annotations

from typing import Any

from .. import linked_data
from ..data import citation, works
from ..load import Catalogue
from ..models import Claim, Term
from .page import Page


class TermPage(Page):
    def __init__(self, catalogue: Catalogue, term: Term) -> None:
        super().__init__(catalogue, f"glossary/{term.slug}.md")
        self.term = term

    def render(self, template: str, **context: Any) -> str:
        return super().render(template, term=self.term, citation=citation(self.catalogue, self.path), **context)

    def updated(self) -> str:
        return self.term.updated

    def alternates(self) -> list[dict[str, str]]:
        return self.twins()

    def linked_data(self) -> dict[str, Any]:
        return linked_data.term(self.catalogue, self.term)

    def works(self) -> list[tuple[str, str | None, str | None]]:
        notes = {ref.reference: (ref.locator, ref.note) for ref in self.term.refs}
        known = [key for key in works(self.term) if key in self.catalogue.references]
        return [(key, *notes.get(key, (None, None))) for key in known]

    def claims(self) -> list[tuple[str, Claim]]:
        return [(slug, claim) for slug, claim in self.catalogue.claims.items() if self.term.slug in claim.terms]
