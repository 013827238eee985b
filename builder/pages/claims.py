"""The page of claims."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from markupsafe import Markup

from .. import linked_data
from ..data import citation, works
from ..load import Catalogue
from ..models import Claim, OwnMeasurement, Support
from ..results import Results
from .page import Page


class ClaimsPage(Page):
    def __init__(self, catalogue: Catalogue, first: Results | None = None) -> None:
        super().__init__(catalogue, "claims.md", first)

    def updated(self) -> str:
        return max(claim.checked for claim in self.catalogue.claims.values())

    def alternates(self) -> list[dict[str, str]]:
        return [*self.twins(), *self.cited()]

    def linked_data(self) -> dict[str, Any]:
        return linked_data.claims(self.catalogue)

    def by_verdict(self) -> Iterator[tuple[Support, list[tuple[str, Claim]]]]:
        """The claims of each verdict, the best supported first."""
        for verdict in Support:
            found = [(slug, claim) for slug, claim in self.catalogue.claims.items() if claim.verdict == verdict]
            if found:
                yield verdict, found

    def render(self, template: str, **context: Any) -> str:
        return super().render(template, citation=citation(self.catalogue, self.path), **context)

    def measurement(self, item: OwnMeasurement) -> tuple[Results | None, Markup]:
        """The record of the pattern that `item` names, and its text with that record's figures."""
        first = self.headline(item.pattern, item.task)
        return first, type(self)(self.catalogue, first).prose(item.text)

    def works(self) -> list[tuple[str, str | None, str | None]]:
        found = works(*self.catalogue.claims.values())
        return [(key, None, None) for key in found if key in self.catalogue.references]
