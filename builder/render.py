"""The catalogue as pages. Pure: a Catalogue in, `{path: content}` out; nothing is read or written.

Text from YAML reaches a page only through `prose.Writer`, which encodes it, and every other value through the
templates' `finalize`, which encodes it too. Only the templates themselves, this module, explorer.py and feeds.py write
markup.
"""

from __future__ import annotations

import html
import json
import posixpath
import re
from collections.abc import Callable, Iterator
from functools import cache, cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
from markupsafe import Markup

from implementations.figures import count, percent
from implementations.registry import PLATFORMS, RECIPES, CellStatus, Platform, Signal
from implementations.teachers import prices
from implementations.teachers.prices import Price

from . import data, diagram, explorer, feeds, figures, find, linked_data, payback, twin
from .bibliography import OTHERS, bibtex, csl
from .check import headline, texts
from .code import Listing
from .data import archive_path, beside, citation, page_path, page_url, record_path, records_of, status, works
from .explorer import Entry
from .load import Catalogue, without_collection
from .models import (
    Claim,
    Direction,
    Guidance,
    OwnMeasurement,
    Pattern,
    PatternStatus,
    Planned,
    Reference,
    Support,
    Term,
    Tradeoff,
)
from .prose import Cite, Figure, Writer, escape, plain
from .results import Results, day
from .twin import PlainText

TEMPLATES = {path.name: path.read_text("utf-8") for path in sorted((Path(__file__).parent / "templates").glob("*.j2"))}
TRAILING = re.compile(r"[ \t]+\n")
SIGNALS = {
    Signal.TEXT: "text",
    Signal.TOP_LOGPROBS: "log-probabilities of the tokens it wrote",
    Signal.LOGITS: "logits of any tokens",
    Signal.HIDDEN_STATES: "hidden states and attentions",
}

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


def _environment(encode: Callable[[str], str]) -> jinja2.Environment:
    """Whatever a template prints is encoded, unless it is markup already."""
    return jinja2.Environment(
        loader=jinja2.DictLoader(TEMPLATES),
        autoescape=True,
        finalize=lambda value: value if isinstance(value, Markup) else Markup(encode(str(value))),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


ENVIRONMENT = _environment(escape)  # Markdown and HTML, for a builder of sites
PLAIN = _environment(twin.escape)  # Markdown that is read as it stands


@without_collection
def render(catalogue: Catalogue) -> dict[str, str]:
    """Every page and data file of the site, by path. Markdown pages link to each other by path."""
    out = {
        "index.md": Page(catalogue, "index.md").render("home.md.j2"),
        "choose.md": FindPage(catalogue, "choose.md").render("choose.md.j2"),
        "patterns/index.md": FindPage(catalogue, "patterns/index.md").render("patterns.md.j2"),
        "matrix.md": FindPage(catalogue, "matrix.md").render("matrix.md.j2"),
        "compare.md": FindPage(catalogue, "compare.md").render("compare.md.j2"),
        "relations.md": FindPage(catalogue, "relations.md").render("relations.md.j2"),
        "payback.md": PaybackPage(catalogue, "payback.md").render("payback.md.j2"),
        "results.md": ResultsPage(catalogue, "results.md").render("explorer.md.j2"),
        "glossary/index.md": Page(catalogue, "glossary/index.md").render("terms.md.j2"),
        "references.md": Page(catalogue, "references.md").render("references.md.j2"),
    }
    if catalogue.claims:
        out["claims.md"] = ClaimsPage(catalogue).render("claims.md.j2")
    for slug, pattern in catalogue.patterns.items():
        out[f"patterns/{slug}.md"] = PatternPage(catalogue, pattern).render("pattern.md.j2")
    users = _users(catalogue)
    for slug, term in catalogue.terms.items():
        out[f"glossary/{slug}.md"] = TermPage(catalogue, term).render("term.md.j2", used_by=users.get(slug, []))
    return {**feeds.files(catalogue), **out, **data.files(catalogue), **_twins(catalogue), **_works(catalogue)}


def _users(catalogue: Catalogue) -> dict[str, list[Pattern]]:
    """Term → patterns whose text links to it, by title."""
    users: dict[str, list[Pattern]] = {}
    for pattern in sorted(catalogue.patterns.values(), key=lambda p: p.title.lower()):
        whole = "\n".join(text for _, text in texts(pattern))
        for slug in set(re.findall(r"\]\(term:([^)]*)\)", whole)):
            users.setdefault(slug, []).append(pattern)
    return users


def _twins(catalogue: Catalogue) -> dict[str, str]:
    """Patterns, terms and claims as plain Markdown, a list of them (https://llmstxt.org), and all in one file."""
    patterns = {
        f"patterns/{slug}.txt": PatternTwin(catalogue, pattern).render("pattern.txt.j2")
        for slug, pattern in sorted(catalogue.patterns.items())
    }
    terms = {
        f"glossary/{slug}.txt": TermTwin(catalogue, term).render("term.txt.j2")
        for slug, term in sorted(catalogue.terms.items())
    }
    claims = {"claims.txt": ClaimsTwin(catalogue).render("claims.txt.j2")} if catalogue.claims else {}
    contents = Twin(catalogue, "llms.md").render("llms.txt.j2")
    head = contents.split("\n## ")[0].rstrip() + "\n"
    full = "\n---\n\n".join([head, *patterns.values(), *terms.values(), *claims.values()])
    return {**patterns, **terms, **claims, "llms.txt": contents, "llms-full.txt": full}


def _works(catalogue: Catalogue) -> dict[str, str]:
    """Every work for a reference manager, those of each pattern, and those of the claims."""
    pages = {"references.md": sorted(catalogue.references)}
    if catalogue.claims:
        pages["claims.md"] = works(catalogue.claims)
    for slug, pattern in catalogue.patterns.items():
        pages[f"patterns/{slug}.md"] = works(pattern)
    out = {}
    for page, keys in pages.items():
        cited = {key: catalogue.references[key] for key in keys if key in catalogue.references}
        out[beside(page, ".bib")], out[beside(page, ".csl.json")] = bibtex(cited), csl(cited)
    return out


LISTED = 60


def navigation(catalogue: Catalogue) -> list[Any]:
    """The site's navigation, as MkDocs writes it. Terms are reached from the glossary's index.

    So are patterns from theirs where there are more than LISTED, for each page holds the whole navigation.
    """
    by_title = sorted(catalogue.patterns.values(), key=lambda p: p.title.lower())
    patterns = [{head(p.title): f"patterns/{p.slug}.md"} for p in by_title if len(by_title) <= LISTED]
    overviews = [{"Where each runs": "matrix.md"}, {"Side by side": "compare.md"}, {"How they relate": "relations.md"}]
    return [
        {"Home": "index.md"},
        {"Choose": "choose.md"},
        {"Break-even": "payback.md"},
        {"Patterns": ["patterns/index.md", *overviews, *patterns]},
        {"Results": "results.md"},
        {"Glossary": "glossary/index.md"},
        *([{"Claims": "claims.md"}] if catalogue.claims else []),
        {"References": "references.md"},
    ]


# ------------------------------------------------------------------------------------------------- pages


class Page(Writer):
    """One page: where it stands, what it links to, and how its text becomes Markdown.

    ``first`` holds the record that the text quotes.
    """

    environment = ENVIRONMENT
    planned_mark = ' <span class="dp-tag dp-tag--planned">planned</span>'
    unmeasured = '<span class="dp-tag dp-tag--none">not measured yet</span>'

    def __init__(self, catalogue: Catalogue, path: str, first: Results | None = None) -> None:
        self.catalogue, self.path, self.first = catalogue, path, first

    def render(self, template: str, **context: Any) -> str:
        text = self.environment.get_template(template).render(page=self, catalogue=self.catalogue, **context)
        return TRAILING.sub("\n", text).strip() + "\n"

    # -- text

    def prose(self, text: str) -> Markup:
        return Markup(self.blocks(text))

    def text(self, text: str) -> Markup:
        return Markup(self.line(text))

    def title(self, text: str) -> Markup:
        """A line that begins with a capital, for headings and lists."""
        return self.text(text[:1].upper() + text[1:])

    def to(self, path: str) -> Markup:
        """The relative address of another page or file."""
        return _relative(path, posixpath.dirname(self.path))

    def link(self, label: str, target: str) -> str:
        kind, _, rest = target.partition(":")
        if kind in ("https", "http"):
            return f"[{label}]({quote(target, safe=ADDRESS)})"
        if kind == "term" and rest in self.catalogue.terms:
            return f"[{label}]({self.to(f'glossary/{rest}.md')}{self.tooltip(rest)})"
        if kind == "pattern" and rest in self.catalogue.patterns:
            return f"[{label}]({self.to(f'patterns/{rest}.md')})"
        return label + self.planned_mark if kind == "pattern" else label

    def tooltip(self, term: str) -> str:
        """The title of a link to a term: its meaning, which a browser shows to whoever points at it."""
        return f' "{escape(plain(self.catalogue.terms[term].short))}"'

    def cite(self, node: Cite) -> str:
        def one(key: str, locator: str | None) -> str:
            label = escape(self.labels.get(key, key) + (f", {locator}" if locator else ""))
            return f'<a class="dp-cite" href="#ref-{escape(key)}">{label}</a>'

        return '<span class="dp-cites">' + " ".join(one(*work) for work in node.works) + "</span>"

    def figure(self, node: Figure) -> str:
        text = self.value(node)
        if text is None:
            return self.unmeasured
        kind = "stale" if self.first.stale else "own" if self.first.own else "measured"
        title = escape(self.first.source)
        return f'<span class="dp-figure dp-figure--{kind}" title="{title}">{escape(text)}</span>'

    def value(self, node: Figure) -> str | None:
        """A figure as the record has it; None if it has none."""
        try:
            return figures.write(figures.read(self.first.record, node.path), node.format) if self.first else None
        except figures.FigureError:
            return None

    # -- for machines, in the page's head

    def front(self) -> Markup:
        """What the front matter says beside title and description. The theme writes it into the page's head."""
        linked = self.linked_data()
        lines = {
            "updated": self.updated(),
            "alternate": self.alternates(),
            **({"linked_data": linked} if linked else {}),
        }
        return Markup("\n".join(f"{name}: {_front(value)}" for name, value in lines.items()))

    def updated(self) -> str:
        return data.updated(self.catalogue)

    def alternates(self) -> list[dict[str, str]]:
        """The same content in other forms: address, media type and a title."""
        if self.path == "references.md":
            return [self._beside(".bib", "application/x-bibtex", "BibTeX"), self._beside(".csl.json", CSL, "CSL-JSON")]
        return [{"href": self.to(data.INDEX), "type": "application/json", "title": "The catalogue as JSON"}]

    def _beside(self, ending: str, kind: str, title: str) -> dict[str, str]:
        return {"href": posixpath.basename(beside(self.path, ending)), "type": kind, "title": title}

    def twins(self) -> list[dict[str, str]]:
        json_ = self._beside(".json", "application/json", "This page as JSON")
        return [json_, self._beside(".txt", "text/markdown", "This page as plain Markdown")]

    def cited(self) -> list[dict[str, str]]:
        bibtex_ = self._beside(".bib", "application/x-bibtex", "Its references as BibTeX")
        return [bibtex_, self._beside(".csl.json", CSL, "Its references as CSL-JSON")]

    def linked_data(self) -> dict[str, Any] | None:
        return linked_data.glossary(self.catalogue) if self.path == "glossary/index.md" else None

    # -- references

    @property
    def labels(self) -> dict[str, str]:
        return self.catalogue.labels

    def reference(self, key: str) -> Markup:
        """A work in full, as one line of Markdown."""
        return Markup(_full(self.catalogue.references[key]))

    def references(self) -> list[str]:
        return sorted(self.catalogue.references, key=lambda key: self.labels[key].lower())

    # -- lists of pages

    def record_path(self, results: Results) -> Markup:
        return self.to(record_path(results.measured))

    def anchor(self, results: Results) -> Markup:
        name = re.sub(r"[^a-z0-9]+", "-", results.measured.name.lower()).strip("-")
        return Markup(f"{'own-run' if results.own else 'run'}-{name}")

    def answers_of(self, item: Guidance) -> tuple[str, list[str]]:
        """A criterion as its dimension's title and the answers that fit."""
        assert self.catalogue.vocabulary
        dimension = self.catalogue.vocabulary.dimensions[item.criterion.dimension]
        return dimension.title, [dimension.values[v] for v in item.criterion.values]

    def either(self, texts: list[str]) -> Markup:
        """Answers of the vocabulary, any of which will do."""
        return Markup(" or ".join(f"“{self.line(text)}”" for text in texts))

    def arrow(self, direction: Direction) -> Markup:
        return Markup("↑" if direction == Direction.UP else "↓")

    def known(self, slugs: list[str]) -> list[Term]:
        return [self.catalogue.terms[slug] for slug in slugs if slug in self.catalogue.terms]

    def pattern_link(self, slug: str) -> Markup:
        """Another pattern's title, as a link if it has a page."""
        other = self.catalogue.patterns.get(slug) or self.planned().get(slug)
        return Markup(self.link(self.line(other.title) if other else escape(slug), f"pattern:{slug}"))

    def patterns(self) -> list[Pattern]:
        return sorted(self.catalogue.patterns.values(), key=lambda p: p.title.lower())

    def terms(self) -> Iterator[tuple[str, list[Term]]]:
        """Terms by category, in the vocabulary's order."""
        for key, title in (self.catalogue.vocabulary.categories if self.catalogue.vocabulary else {}).items():
            found = [t for t in self.catalogue.terms.values() if t.category == key]
            if found:
                yield title, sorted(found, key=lambda t: t.term.lower())

    def planned(self) -> dict[str, Planned]:
        return self.catalogue.vocabulary.planned if self.catalogue.vocabulary else {}

    def headline(self, slug: str) -> Results | None:
        found = headline(self.catalogue, slug)
        return Results(found) if found else None


ADDRESS = ":/?#@!$&+,;=%~-."
"""What an address may hold as it stands."""
CSL = "application/vnd.citationstyles.csl+json"


@cache
def _relative(path: str, folder: str) -> Markup:
    return Markup(posixpath.relpath(path, folder or "."))


class PatternPage(Page):
    def __init__(self, catalogue: Catalogue, pattern: Pattern) -> None:
        self.results = [Results(m) for m in records_of(catalogue, pattern.slug)]
        first = next((r for r in self.results if not r.record.smoke), None)
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
                    "gives": _and([SIGNALS[s] for s in Signal if s in platform.gives]),
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
        first = self.headline(item.pattern)
        return first, type(self)(self.catalogue, first).prose(item.text)

    def works(self) -> list[tuple[str, str | None, str | None]]:
        return [(key, None, None) for key in works(self.catalogue.claims) if key in self.catalogue.references]


class FindPage(Page):
    """A page of many patterns. Its tables are HTML, in which no Markdown is read, so its links are HTML too."""

    def render(self, template: str, **context: Any) -> str:
        return super().render(template, words=self.catalogue.vocabulary, **context)

    def alternates(self) -> list[dict[str, str]]:
        if self.path == "choose.md":
            return [{"href": self.to(data.CRITERIA), "type": "application/json", "title": "The criteria as JSON"}]
        return super().alternates()

    def address(self, path: str) -> Markup:
        """The relative address of a page as the browser asks for it."""
        page, hash_, anchor = path.partition("#")
        return Markup(f"{self.to(page).removesuffix('.md')}.html{hash_}{anchor}")

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

    def cite(self, node: Cite) -> str:
        address = self.address("references.md")
        return super().cite(node).replace('href="#ref-', f'href="{address}#')

    # -- criteria

    def criteria(self) -> Markup:
        """The criteria for the chooser's script, in the front matter."""
        return Markup(_front(find.criteria(self.catalogue)))

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
        return _and([SIGNALS[signal] for signal in Signal if signal in platform.gives])

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


class PaybackPage(FindPage):
    example, start = payback.EXAMPLE, payback.start()
    usd, count, rate = staticmethod(payback.usd), staticmethod(count), staticmethod(payback.rate)

    def alternates(self) -> list[dict[str, str]]:
        return [{"href": self.to(data.PRICES), "type": "application/json", "title": "The prices as JSON"}]

    def data(self) -> Markup:
        """What the calculator's script reads, in the front matter."""
        return Markup(_front({"teachers": payback.data(), "most_days": prices.MOST_DAYS}))

    def break_even(self) -> Markup:
        return Markup(self.link("break-even", "term:break-even"))

    def teachers(self) -> list[tuple[str, Price]]:
        return [(teacher, price) for teacher, (_, price) in payback.teachers().items()]

    def by_platform(self) -> dict[str, list[tuple[str, Price]]]:
        found: dict[str, list[tuple[str, Price]]] = {}
        for teacher, (title, price) in payback.teachers().items():
            found.setdefault(title, []).append((teacher, price))
        return found

    def command(self) -> Markup:
        """Shown as code, where what is escaped would be shown so; the table's names of models hold no markup."""
        return Markup(payback.command(payback.EXAMPLE, payback.EXAMPLE_TEACHER))

    def worked(self, price: Price) -> list[str]:
        return payback.worked(price)

    def volumes(self) -> list[str]:
        return [count(volume) for volume in payback.VOLUMES]

    def batch_share(self) -> str:
        """What a batch job costs of the full price, of all teachers of the table."""
        shares = sorted({price.batch for _, price in self.teachers()})
        return " to ".join(dict.fromkeys(percent(share) for share in (shares[0], shares[-1])))

    def day(self, price: Price) -> str:
        return day(str(price.date))

    def source(self, price: Price) -> Markup:
        return Markup(html.escape(quote(price.source, safe=ADDRESS)))

    def notes(self, price: Price) -> list[str]:
        """What else a reader must know of a price."""
        long, until, notes = price.rates.long, price.rates.until, [price.note] if price.note else []
        if until:
            notes.insert(0, f"promised until {day(str(until))}")
        if long:
            notes.insert(0, f"over {count(long.above)} tokens: {self.rate(long.input)} and {self.rate(long.output)}")
        return notes


class ResultsPage(FindPage):
    """Every record that means something, the machine of the newest first."""

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
        parts = [f"{_people(ref)} ({ref.issued})", ref.title, ref.container_title, ref.publisher]
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


def _titled(model: Any) -> list[tuple[str, Any]]:
    return [(info.title, getattr(model, name)) for name, info in type(model).model_fields.items()]


def _and(words: list[str]) -> str:
    return ", ".join(words[:-1]) + (" and " if len(words) > 1 else "") + words[-1]


# ------------------------------------------------------------------------------------------------ references


def _people(ref: Reference) -> str:
    names = [" ".join(filter(None, (a.given, a.family or a.literal))) for a in ref.author]
    if len(names) > 6 or names[-1] == OTHERS:
        return ", ".join(names[: min(len(names) - 1, 5)]) + " et al."
    return _and(names)


def _full(ref: Reference) -> str:
    parts = [f"{escape(_people(ref))} ({escape(ref.issued)}).", f"<em>{escape(ref.title)}</em>."]
    parts += [f"{escape(name)}." for name in (ref.container_title, ref.publisher) if name]
    address = quote(ref.URL, safe=ADDRESS)
    parts.append(f"[{escape(ref.URL.split('://')[1].rstrip('/'))}]({address}).")
    if ref.DOI:
        parts.append(f"DOI [{escape(ref.DOI)}](https://doi.org/{quote(ref.DOI, safe='/:.-')}).")
    return " ".join(parts) + f" Accessed {day(ref.accessed)}."


def head(text: str) -> str:
    """A title or description for a page's head. MkDocs' templates print both as they are, so encode them here."""
    return html.escape(plain(text))


def _front(value: Any) -> str:
    """A value of the front matter. JSON is YAML, but for surrogate pairs and for what YAML takes for a line's end."""
    text = json.dumps(value, ensure_ascii=False)
    return re.sub("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]", lambda m: f"\\u{ord(m[0]):04x}", text)


for environment in (ENVIRONMENT, PLAIN):
    environment.filters["day"] = day
    environment.filters["code"] = Markup  # of ours alone: escaped, it would be shown with entities
    environment.filters["head"] = lambda text: Markup(_front(head(text)))
