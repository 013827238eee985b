"""The page of every record."""

from __future__ import annotations

from functools import cached_property

from markupsafe import Markup

from implementations.figures import LABELS, SPEED
from implementations.registry import PLATFORMS

from .. import explorer, find
from ..explorer import Entry
from ..results import Results
from .find import FindPage


class ResultsPage(FindPage):
    """Every record that means something, the machine of the newest first."""

    how_fast, of_labels = SPEED, LABELS

    @cached_property
    def entries(self) -> list[Entry]:
        found = [Results(m) for m in self.catalogue.records if not m.record.smoke]
        found.sort(key=lambda r: (-r.record.date.timestamp(), r.measured.name))
        newest = list(dict.fromkeys(r.machine for r in found))
        found.sort(key=lambda r: newest.index(r.machine))
        return [
            Entry(number, r, find.title(self.catalogue, r.record.pattern), self.place(r))
            for number, r in enumerate(found, 1)
        ]

    def place(self, results: Results) -> Markup:
        """The address of a record on its pattern's page."""
        slug = results.record.pattern
        here = slug in self.catalogue.patterns
        return self.address(f"patterns/{slug}.md#{self.anchor(results)}") if here else Markup()

    @cached_property
    def machines(self) -> dict[str, list[Entry]]:
        return explorer.machines(self.entries)

    def plot(self, machine: str) -> Markup:
        return explorer.plot(self.machines[machine], explorer.Axes(self.entries), machine)

    def has_own(self) -> bool:
        return any(entry.results.own for entry in self.entries)

    def platform(self, slug: str) -> str:
        return PLATFORMS[slug].title if slug in PLATFORMS else slug

    def values(self, entry: Entry) -> dict[str, str]:
        """What the filter asks of a record, by the names of its fields."""
        record = entry.results.record
        machine = list(self.machines).index(entry.results.machine) + 1
        return {"pattern": record.pattern, "task": record.task.name, "machine": str(machine), "state": entry.state}

    def facets(self) -> list[tuple[str, str, dict[str, str]]]:
        """The filter's fields that tell records apart: name, title, and words by value."""
        fields = {
            "pattern": ("Pattern", lambda e: e.title),
            "task": ("Task", lambda e: e.results.record.task.title),
            "machine": ("Machine", lambda e: e.results.machine),
            "state": ("Record", lambda e: e.state),
        }
        found = [
            (name, title, {self.values(entry)[name]: words(entry) for entry in self.entries})
            for name, (title, words) in fields.items()
        ]
        return [field for field in found if len(field[2]) > 1]
