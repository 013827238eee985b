"""The catalogue as pages. Pure: a Catalogue in, `{path: content}` out; nothing is read or written.

Text from YAML reaches a page only through `prose.Writer`, which encodes it, and every other value through the
templates' `finalize`, which encodes it too. Only the templates themselves and this module write markup.
"""

from __future__ import annotations

import html
import json
import posixpath
import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
from markupsafe import Markup

from implementations.registry import PLATFORMS, RECIPES, CellStatus, Platform, Signal, cell

from . import diagram, figures, find
from .check import headline, texts
from .load import Catalogue, Measured
from .models import Citation, Direction, Guidance, Pattern, PatternStatus, Planned, Reference, Term, Tradeoff
from .prose import Cite, Figure, Writer, escape, nodes, plain
from .results import Results, day

TEMPLATES = {path.name: path.read_text("utf-8") for path in sorted((Path(__file__).parent / "templates").glob("*.j2"))}
SIGNALS = {
    Signal.TEXT: "text",
    Signal.TOP_LOGPROBS: "log-probabilities of the tokens it wrote",
    Signal.LOGITS: "logits of any tokens",
    Signal.HIDDEN_STATES: "hidden states and attentions",
}


def _finalize(value: Any) -> Any:
    """Whatever a template prints is encoded for Markdown and HTML, unless it is markup already."""
    return value if isinstance(value, Markup) else Markup(escape(str(value)))


ENVIRONMENT = jinja2.Environment(
    loader=jinja2.DictLoader(TEMPLATES),
    autoescape=True,
    finalize=_finalize,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


def render(catalogue: Catalogue) -> dict[str, str]:
    """Every page and data file of the site, by path. Markdown pages link to each other by path."""
    out = {
        "index.md": Page(catalogue, "index.md").render("home.md.j2"),
        "choose.md": FindPage(catalogue, "choose.md").render("choose.md.j2"),
        "criteria.json": _json(find.criteria(catalogue)),
        "patterns/index.md": FindPage(catalogue, "patterns/index.md").render("patterns.md.j2"),
        "matrix.md": FindPage(catalogue, "matrix.md").render("matrix.md.j2"),
        "compare.md": FindPage(catalogue, "compare.md").render("compare.md.j2"),
        "relations.md": FindPage(catalogue, "relations.md").render("relations.md.j2"),
        "glossary/index.md": Page(catalogue, "glossary/index.md").render("terms.md.j2"),
        "references.md": Page(catalogue, "references.md").render("references.md.j2"),
    }
    for slug, pattern in catalogue.patterns.items():
        out[f"patterns/{slug}.md"] = PatternPage(catalogue, pattern).render("pattern.md.j2")
        out[f"patterns/{slug}.json"] = _json(pattern_data(catalogue, pattern))
    for slug, term in catalogue.terms.items():
        out[f"glossary/{slug}.md"] = TermPage(catalogue, term).render("term.md.j2")
        out[f"glossary/{slug}.json"] = _json(term_data(catalogue, term))
    for measured in catalogue.records:
        out[record_path(measured)] = measured.record.model_dump_json(indent=1) + "\n"
    return out


def navigation(catalogue: Catalogue) -> list[Any]:
    """The site's navigation, as MkDocs writes it. Terms are reached from the glossary's index."""
    by_title = sorted(catalogue.patterns.values(), key=lambda p: p.title.lower())
    patterns = [{head(p.title): f"patterns/{p.slug}.md"} for p in by_title]
    overviews = [{"Where each runs": "matrix.md"}, {"Side by side": "compare.md"}, {"How they relate": "relations.md"}]
    return [
        {"Home": "index.md"},
        {"Choose": "choose.md"},
        {"Patterns": ["patterns/index.md", *overviews, *patterns]},
        {"Glossary": ["glossary/index.md"]},
        {"References": "references.md"},
    ]


def record_path(measured: Measured) -> str:
    return f"records/{'own/' if measured.own else ''}{measured.name}.json"


def _json(data: Any) -> str:
    return json.dumps(data, ensure_ascii=False, indent=1) + "\n"


# ---------------------------------------------------------------------------------------------- data files


def page_url(catalogue: Catalogue, path: str) -> str:
    """The public address of a page or file."""
    return catalogue.site_url + path.removesuffix(".md") + (".html" if path.endswith(".md") else "")


def citation(catalogue: Catalogue, term: Term) -> Citation:
    page = page_url(catalogue, f"glossary/{term.slug}.md")
    publication = catalogue.vocabulary.publication.model_dump() if catalogue.vocabulary else {}
    links = {"canonical_url": page, "html_url": page, "json_url": page.removesuffix(".html") + ".json"}
    return Citation.model_construct(**links, **publication)


def term_data(catalogue: Catalogue, term: Term) -> dict[str, Any]:
    return {**term.model_dump(mode="json", by_alias=True), "citation": citation(catalogue, term).model_dump()}


def pattern_data(catalogue: Catalogue, pattern: Pattern) -> dict[str, Any]:
    """The pattern as written, with what is computed about it."""
    data = pattern.model_dump(mode="json", by_alias=True)
    for slug, note in data["implementation"]["platforms"].items():
        state = status(pattern.slug, slug)
        data["implementation"]["platforms"][slug] = {"status": state, "note": note}
    used = works(pattern)
    return {
        **data,
        "url": page_url(catalogue, f"patterns/{pattern.slug}.md"),
        "records": [
            {
                "url": catalogue.site_url + record_path(m),
                "committed": not m.own,
                "smoke": m.record.smoke,
                "stale": m.stale,
                "date": m.record.date.isoformat(),
                "platform": m.record.platform,
                "retention": m.record.retention.model_dump(),
                "speedup": m.record.speedup,
                "verdict": m.record.verdict.model_dump(mode="json"),
            }
            for m in records_of(catalogue, pattern.slug)
        ],
        "references": {
            key: catalogue.references[key].model_dump(mode="json", by_alias=True, exclude_none=True)
            for key in used
            if key in catalogue.references
        },
    }


def status(pattern: str, platform: str) -> CellStatus:
    """How a pattern runs on a platform: computed, never written."""
    if pattern not in RECIPES or platform not in PLATFORMS:
        return CellStatus.NOT_YET
    return cell(RECIPES[pattern], PLATFORMS[platform])


def records_of(catalogue: Catalogue, slug: str) -> list[Measured]:
    """A pattern's records: the one its text quotes first, then newest first; smoke runs last."""
    first = headline(catalogue, slug)
    found = [m for m in catalogue.records if m.record.pattern == slug]
    return sorted(found, key=lambda m: (m is not first, m.record.smoke, -m.record.date.timestamp()))


def works(model: Pattern | Term) -> list[str]:
    """Keys of the works that a page cites, in the order of their first mention."""
    refs = [ref.reference for ref in model.refs] if isinstance(model, Term) else []
    cited = [k for _, t in texts(model) for n in nodes(t) if isinstance(n, Cite) for k, _ in n.works]
    return list(dict.fromkeys([*cited, *refs]))


# ------------------------------------------------------------------------------------------------- pages


class Page(Writer):
    """One page: where it stands, what it links to, and how its text becomes Markdown."""

    def __init__(self, catalogue: Catalogue, path: str) -> None:
        self.catalogue, self.path = catalogue, path

    def render(self, template: str, **context: Any) -> str:
        text = ENVIRONMENT.get_template(template).render(page=self, catalogue=self.catalogue, **context)
        return "\n".join(line.rstrip() for line in text.splitlines()).strip() + "\n"

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
        return Markup(posixpath.relpath(path, posixpath.dirname(self.path) or "."))

    def link(self, label: str, target: str) -> str:
        kind, _, rest = target.partition(":")
        if kind in ("https", "http"):
            return f"[{label}]({quote(target, safe=':/?#@!$&+,;=%~-.')})"
        if kind == "term" and rest in self.catalogue.terms:
            return f"[{label}]({self.to(f'glossary/{rest}.md')})"
        if kind == "pattern" and rest in self.catalogue.patterns:
            return f"[{label}]({self.to(f'patterns/{rest}.md')})"
        return f'{label} <span class="dp-tag dp-tag--planned">planned</span>' if kind == "pattern" else label

    def cite(self, node: Cite) -> str:
        def one(key: str, locator: str | None) -> str:
            label = escape(self.labels.get(key, key) + (f", {locator}" if locator else ""))
            return f'<a class="dp-cite" href="#ref-{escape(key)}">{label}</a>'

        return '<span class="dp-cites">' + " ".join(one(*work) for work in node.works) + "</span>"

    def figure(self, node: Figure) -> str:
        return UNMEASURED

    # -- references

    @cached_property
    def labels(self) -> dict[str, str]:
        """Short names of all works: “Kim and Rush 2016”, with a letter where two would be alike."""
        short = {key: f"{_short(ref)} {ref.issued[:4]}" for key, ref in sorted(self.catalogue.references.items())}
        alike: dict[str, list[str]] = {}
        for key, label in short.items():
            alike.setdefault(label, []).append(key)
        return {
            key: label + (chr(ord("a") + alike[label].index(key)) if len(alike[label]) > 1 else "")
            for key, label in short.items()
        }

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
        return Markup(" or ").join(Markup("“{}”").format(self.text(text)) for text in texts)

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

    def cells(self, slug: str) -> list[tuple[str, CellStatus]]:
        return [(platform.title, status(slug, platform.slug)) for platform in PLATFORMS.values()]


UNMEASURED = '<span class="dp-tag dp-tag--none">not measured yet</span>'


class PatternPage(Page):
    def __init__(self, catalogue: Catalogue, pattern: Pattern) -> None:
        super().__init__(catalogue, f"patterns/{pattern.slug}.md")
        self.pattern = pattern
        self.recipe = RECIPES.get(pattern.slug)
        self.results = [Results(m) for m in records_of(catalogue, pattern.slug)]
        self.first = next((r for r in self.results if not r.record.smoke), None)

    def render(self, template: str, **context: Any) -> str:
        return super().render(template, pattern=self.pattern, words=self.catalogue.vocabulary, **context)

    def figure(self, node: Figure) -> str:
        if self.first is None:
            return UNMEASURED
        try:
            text = figures.write(figures.read(self.first.record, node.path), node.format)
        except figures.FigureError:
            return UNMEASURED
        kind = "stale" if self.first.stale else "own" if self.first.own else "measured"
        title = escape(self.first.source)
        return f'<span class="dp-figure dp-figure--{kind}" title="{title}">{escape(text)}</span>'

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
        """One entry a platform, in the registry's order: what it gives, what the recipe makes of it."""
        out = []
        for slug, platform in PLATFORMS.items():
            run = f"{self.pattern.slug}" + ("" if slug == "local" else f" --teacher {platform.teacher}")
            remote = [f"pip install -e '.[{slug}]'", f"distill plan {run}"] if slug != "local" else []
            out.append(
                {
                    "title": platform.title,
                    "status": status(self.pattern.slug, slug),
                    "gives": _and([SIGNALS[s] for s in Signal if s in platform.gives]),
                    "leaves": platform.leaves_machine,
                    "enough": self.recipe is not None and self.recipe.needs in platform.gives,
                    "run": f"distill run {run}",
                    "setup": None if slug == "local" else platform.setup,
                    # Written by us alone, and shown as code: escaped, its quotes would be shown as entities.
                    "command": Markup("\n".join([*remote, f"distill run {run}"])),
                    "note": self.pattern.implementation.platforms.get(slug),
                    "results": [r for r in self.results if r.record.platform == slug and not r.record.smoke],
                }
            )
        return out

    def needs(self) -> str:
        return SIGNALS[self.recipe.needs] if self.recipe else ""

    def pillars(self) -> list[tuple[str, Any]]:
        return _titled(self.pattern.well_architected)

    def tiers(self) -> list[tuple[str, Any]]:
        return _titled(self.pattern.deployment)

    def works(self) -> list[tuple[str, str | None, str | None]]:
        return [(key, None, None) for key in works(self.pattern) if key in self.catalogue.references]


class FindPage(Page):
    """A page of many patterns. Its tables are HTML, in which no Markdown is read, so its links are HTML too."""

    def render(self, template: str, **context: Any) -> str:
        return super().render(template, words=self.catalogue.vocabulary, **context)

    def address(self, path: str) -> Markup:
        """The relative address of a page as the browser asks for it."""
        page, hash_, anchor = path.partition("#")
        return Markup(f"{self.to(page).removesuffix('.md')}.html{hash_}{anchor}")

    def link(self, label: str, target: str) -> str:
        kind, _, rest = target.partition(":")
        folder, known = {
            "term": ("glossary", self.catalogue.terms),
            "pattern": ("patterns", self.catalogue.patterns),
        }.get(kind, ("", {}))
        if rest in known:
            return f'<a href="{self.address(f"{folder}/{rest}.md")}">{label}</a>'
        if kind in ("https", "http"):
            return f'<a href="{html.escape(quote(target, safe=":/?#@!$&+,;=%~-."))}">{label}</a>'
        return super().link(label, target)

    def cite(self, node: Cite) -> str:
        address = self.address("references.md")
        return super().cite(node).replace('href="#ref-', f'href="{address}#')

    # -- criteria

    def data(self) -> Markup:
        """The criteria for the chooser's script, in the page's head. They are keys alone, so nothing needs encoding."""
        return Markup(json.dumps(find.criteria(self.catalogue)))

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
        here = [r for r in self.reasons(pattern, dimension) if value in r["item"].criterion.values]
        return sorted({r["use"] for r in here}, reverse=True)

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


class TermPage(Page):
    def __init__(self, catalogue: Catalogue, term: Term) -> None:
        super().__init__(catalogue, f"glossary/{term.slug}.md")
        self.term = term

    def render(self, template: str, **context: Any) -> str:
        cite = citation(self.catalogue, self.term)
        return super().render(template, term=self.term, citation=cite, **context)

    def linked_data(self) -> Markup:
        """A schema.org DefinedTerm, for the page's head. JSON is YAML, so front matter takes it."""
        cite = citation(self.catalogue, self.term)
        data = {
            "@context": "https://schema.org",
            "@type": "DefinedTerm",
            "name": plain(self.term.term),
            "alternateName": list(self.term.aliases),
            "description": plain(self.term.short),
            "url": cite.canonical_url,
            "inDefinedTermSet": self.catalogue.site_url + "glossary/index.html",
        }
        return Markup(json.dumps(data))

    def works(self) -> list[tuple[str, str | None, str | None]]:
        notes = {ref.reference: (ref.locator, ref.note) for ref in self.term.refs}
        known = [key for key in works(self.term) if key in self.catalogue.references]
        return [(key, *notes.get(key, (None, None))) for key in known]

    def used_by(self) -> list[Pattern]:
        """Patterns whose text links to this term."""
        target = f"](term:{self.term.slug})"
        return [p for p in self.patterns() if any(target in text for _, text in texts(p))]


def _titled(model: Any) -> list[tuple[str, Any]]:
    return [(info.title, getattr(model, name)) for name, info in type(model).model_fields.items()]


def _and(words: list[str]) -> str:
    return ", ".join(words[:-1]) + (" and " if len(words) > 1 else "") + words[-1]


# ------------------------------------------------------------------------------------------------ references


def _short(ref: Reference) -> str:
    names = [a.family or a.literal or "" for a in ref.author]
    if len(names) > 2 or names[-1] == "and others":
        return f"{names[0]} et al."
    return " and ".join(names)


def _full(ref: Reference) -> str:
    names = [" ".join(filter(None, (a.given, a.family or a.literal))) for a in ref.author]
    if len(names) > 6 or names[-1] == "and others":
        people = ", ".join(names[: min(len(names) - 1, 5)]) + " et al."
    else:
        people = _and(names)
    parts = [f"{escape(people)} ({escape(ref.issued)}).", f"<em>{escape(ref.title)}</em>."]
    parts += [f"{escape(name)}." for name in (ref.container_title, ref.publisher) if name]
    address = quote(ref.URL, safe=":/?#@!$&+,;=%~-.")
    parts.append(f"[{escape(ref.URL.split('://')[1].rstrip('/'))}]({address}).")
    if ref.DOI:
        parts.append(f"DOI [{escape(ref.DOI)}](https://doi.org/{quote(ref.DOI, safe='/:.-')}).")
    return " ".join(parts) + f" Accessed {day(ref.accessed)}."


ENVIRONMENT.filters["day"] = day


def head(text: str) -> str:
    """A title or description for a page's head. MkDocs' templates print both as they are, so encode them here."""
    return html.escape(plain(text))


ENVIRONMENT.filters["head"] = lambda text: Markup(json.dumps(head(text), ensure_ascii=False))
