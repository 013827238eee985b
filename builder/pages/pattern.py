"""A pattern's page."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from implementations.registry import PLATFORMS, RECIPES, Signal

from .. import data, diagram, linked_data
from ..check import headline
from ..code import Listing
from ..data import archive_path, records_of, status, works
from ..load import Catalogue
from ..models import Claim, Pattern
from ..prose import escape, plain
from ..results import Results
from .page import SIGNALS, Page, enumerated

# What more there is to say about where prompts go, and where they stay.
WHERE = {
    "langchain": "Nothing leaves if the provider’s address is a server on this machine (`OPENAI_BASE_URL`) and "
    "LangSmith does not trace.",
    "ollama": "With another `OLLAMA_HOST`, or a model in Ollama’s cloud, prompts leave as with any provider.",
    **dict.fromkeys(
        ("vertex", "bedrock"),
        "Batch jobs leave prompts and answers in a bucket of yours until you delete them.",
    ),
}


class PatternPage(Page):
    def __init__(self, catalogue: Catalogue, pattern: Pattern) -> None:
        self.results = [Results(m) for m in records_of(catalogue, pattern.slug)]
        quoted = headline(catalogue, pattern.slug)
        first = next((r for r in self.results if r.measured is quoted), None)
        super().__init__(catalogue, f"patterns/{pattern.slug}.md", first)
        self.pattern = pattern
        self.recipe = RECIPES.get(pattern.slug)

    def render(self, template: str, **context: Any) -> str:
        return super().render(template, pattern=self.pattern, words=self.catalogue.vocabulary, **context)

    def updated(self) -> str:
        return data.updated(self.catalogue, self.pattern)

    def alternates(self) -> list[dict[str, str]]:
        return [*self.twins(), *self.cited()]

    def linked_data(self) -> dict[str, Any]:
        return linked_data.pattern(self.catalogue, self.pattern)

    def answers(self, name: str) -> list[tuple[str, list[str]]]:
        """Each criterion of a list as a dimension's title and the answers that fit."""
        return [self.answers_of(item) for item in getattr(self.pattern, name)]

    def diagram(self) -> Markup:
        source = self.pattern.architecture.diagram
        return Markup(diagram.svg(source, "diagram", plain(self.pattern.architecture.alt)))

    def source_lines(self, source: str) -> Markup:
        """Source text for a pre element, in which a blank line would end the block of HTML."""
        return Markup("\n".join(escape(line) for line in source.splitlines() if line.strip()))

    def platforms(self) -> list[dict[str, Any]]:
        """One entry a platform, in the registry's order: what it gives, what the recipe makes of it, what it cost."""
        out = []
        for slug, platform in PLATFORMS.items():
            run = f"{self.pattern.slug}" + ("" if slug == "local" else f" --teacher {platform.teacher}")
            remote = [f"pip install -e '.[{slug}]'", f"distill plan {run}"] if slug != "local" else []
            measure = ["run"] if slug == "local" else ["plan", "run"]
            out.append(
                {
                    "title": platform.title,
                    "status": status(self.pattern.slug, slug),
                    "gives": enumerated([SIGNALS[s] for s in Signal if s in platform.gives]),
                    "leaves": platform.leaves_machine,
                    "enough": self.recipe is not None and self.recipe.needs in platform.gives,
                    "setup": None if slug == "local" else platform.setup,
                    # Written by us alone, and shown as code: escaped, its quotes would be shown as entities.
                    "command": Markup("\n".join([*remote, f"distill run {run}"])),
                    "record": Markup("\n".join(f"distill {name} {run} --record" for name in measure)),
                    "note": self.pattern.implementation.platforms.get(slug),
                    "where": WHERE.get(slug, ""),
                    "code": self.catalogue.teachers.get(slug),
                    "archive": archive_path(self.pattern.slug, slug),
                    "keep": Markup(f"distill copy {self.pattern.slug} --platform {slug} {self.pattern.slug}-{slug}"),
                    "results": [r for r in self.results if r.record.platform == slug and not r.record.smoke],
                }
            )
        return out

    def leaves(self, platform: dict[str, Any]) -> Markup:
        """What goes to the platform when the recipe runs there."""
        if not platform["leaves"]:
            return self.text(f"Nothing. {platform['where']}")
        assert self.recipe
        gold = ", and those that experts answered" if self.recipe.committee else ""
        return self.text(
            f"The instruction, and the prompts that the student learns from or is scored on{gold}. Experts’ answers, "
            "models and results stay. Your own prompts go only with `--allow-cloud`; `--redact` replaces what looks "
            f"like an identifier. {platform['where']}"
        )

    @property
    def code(self) -> Listing | None:
        """The recipe, whole."""
        return self.catalogue.recipes.get(self.pattern.slug)

    def needs(self) -> str:
        return SIGNALS[self.recipe.needs] if self.recipe else ""

    def pillars(self) -> list[tuple[str, Any]]:
        return _titled(self.pattern.well_architected)

    def tiers(self) -> list[tuple[str, Any]]:
        return _titled(self.pattern.deployment)

    def works(self) -> list[tuple[str, str | None, str | None]]:
        return [(key, None, None) for key in works(self.pattern) if key in self.catalogue.references]

    def claims(self) -> list[tuple[str, Claim]]:
        return [(slug, claim) for slug, claim in self.catalogue.claims.items() if self.pattern.slug in claim.patterns]


def _titled(model: Any) -> list[tuple[str, Any]]:
    return [(info.title, getattr(model, name)) for name, info in type(model).model_fields.items()]
