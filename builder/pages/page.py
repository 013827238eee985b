"""One page: where it stands, what it links to, and how its text becomes Markdown."""

from __future__ import annotations

import html
import json
import posixpath
import re
from collections.abc import Callable, Iterator
from copy import copy
from functools import cache, cached_property
from pathlib import Path
from textwrap import indent
from types import MethodType
from typing import Any
from urllib.parse import quote

import jinja2
from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame
from markupsafe import Markup

from implementations.registry import Signal

from .. import data, figures, linked_data, twin
from ..bibliography import OTHERS
from ..check import headline
from ..data import beside, record_path
from ..load import Catalogue
from ..models import Direction, Guidance, Pattern, Planned, Reference, Term
from ..prose import Cite, Figure, Writer, escape, plain
from ..results import Results, day

FOLDER = Path(__file__).parent.parent / "templates"
TEMPLATES = {path.name: path.read_text("utf-8") for path in sorted(FOLDER.glob("*.j2"))}
ADDRESS = ":/?#@!$&+,;=%~-."
"""What an address may hold as it stands."""
CSL = "application/vnd.citationstyles.csl+json"
SIGNALS = {
    Signal.TEXT: "text",
    Signal.TOP_LOGPROBS: "log-probabilities of the tokens it wrote",
    Signal.LOGITS: "logits of any tokens",
    Signal.HIDDEN_STATES: "hidden states and attentions",
}


class Generator(CodeGenerator):
    """Leaves out what jinja2 does to a value after `finalize`, which has encoded it: that took a tenth of rendering."""

    def _output_child_pre(self, node: nodes.Expr, frame: Frame, finalize: CodeGenerator._FinalizeInfo) -> None:
        self.write(finalize.src or "")

    def _output_child_post(self, node: nodes.Expr, frame: Frame, finalize: CodeGenerator._FinalizeInfo) -> None:
        self.write(")")


class Context(jinja2.runtime.Context):
    """Calls a page's methods at once; jinja2 looks up at each call whether the callee wants the context too."""

    def call(self, act: Callable[..., Any], /, *args: Any, **named: Any) -> Any:
        if not isinstance(act, MethodType):
            return super().call(act, *args, **named)
        named.pop("_block_vars", None)  # of jinja2's own
        named.pop("_loop_vars", None)
        return act(*args, **named)


class Environment(jinja2.Environment):
    code_generator_class, context_class = Generator, Context


def _environment(encode: Callable[[str], str]) -> Environment:
    """Whatever a template prints is encoded, unless it is markup already."""
    return Environment(
        loader=jinja2.DictLoader(TEMPLATES),
        autoescape=True,
        finalize=lambda value: value if isinstance(value, Markup) else encode(str(value)),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


ENVIRONMENT = _environment(escape)  # Markdown and HTML, for a builder of sites
PLAIN = _environment(twin.escape)  # Markdown that is read as it stands


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
        return "\n".join(line.rstrip(" \t") for line in text.split("\n")).strip() + "\n"

    # -- text

    def prose(self, text: str) -> Markup:
        return Markup(self.blocks(text))

    def text(self, text: str) -> Markup:
        return Markup(self.line(text))

    def title(self, text: str) -> Markup:
        """A line that begins with a capital, for headings and lists."""
        return self.text(text[:1].upper() + text[1:])

    def words(self, text: str) -> Markup:
        """The words alone, for an attribute, in which a link would be markup."""
        return Markup(escape(plain(text)))

    def to(self, path: str) -> Markup:
        """The relative address of another page or file."""
        return _relative(path, posixpath.dirname(self.path))

    def address(self, path: str) -> Markup:
        """The relative address of a page as the browser asks for it."""
        page, hash_, anchor = path.partition("#")
        return Markup(f"{self.to(page).removesuffix('.md')}.html{hash_}{anchor}")

    def quoted(self, pattern: Pattern, text: str) -> Markup:
        """A text of a pattern on another page than its own, with the figures of the record that it quotes."""
        page = copy(self)
        page.first = self.headline(pattern.slug)
        return page.text(text)

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
            here = key in self.listed
            address = f"#ref-{escape(key)}" if here else f"{self.address('references.md')}#{escape(key)}"
            return f'<a class="dp-cite" href="{address}">{label}</a>'

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
        return Markup("\n".join(f"{name}: {front_matter(value)}" for name, value in lines.items()))

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

    def works(self) -> list[tuple[str, str | None, str | None]]:
        """The works that the page lists at its end: key, the place in it, a note."""
        return []

    @cached_property
    def listed(self) -> set[str]:
        return {key for key, _, _ in self.works()}

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
        title = self.catalogue.vocabulary.dimensions[item.criterion.dimension].title
        return title, self.answers_to(item.criterion.dimension, item.criterion.values)

    def answers_to(self, dimension: str, values: list[str]) -> list[str]:
        """Answers of the vocabulary to one question, in its words."""
        assert self.catalogue.vocabulary
        return [self.catalogue.vocabulary.dimensions[dimension].values[value] for value in values]

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

    def headline(self, slug: str, task: str | None = None) -> Results | None:
        found = headline(self.catalogue, slug, task)
        return Results(found) if found else None


@cache
def _relative(path: str, folder: str) -> Markup:
    return Markup(posixpath.relpath(path, folder or "."))


def enumerated(words: list[str]) -> str:
    return ", ".join(words[:-1]) + (" and " if len(words) > 1 else "") + words[-1]


# ------------------------------------------------------------------------------------------------ references


def people(ref: Reference) -> str:
    names = [" ".join(filter(None, (a.given, a.family or a.literal))) for a in ref.author]
    if len(names) > 6 or names[-1] == OTHERS:
        return ", ".join(names[: min(len(names) - 1, 5)]) + " et al."
    return enumerated(names)


@cache
def _full(ref: Reference) -> str:
    parts = [f"{escape(people(ref))} ({escape(ref.issued)}).", f"<em>{escape(ref.title)}</em>."]
    parts += [f"{escape(name)}." for name in (ref.container_title, ref.publisher) if name]
    address = quote(ref.URL, safe=ADDRESS)
    parts.append(f"[{escape(ref.URL.split('://')[1].rstrip('/'))}]({address}).")
    if ref.DOI:
        parts.append(f"DOI [{escape(ref.DOI)}](https://doi.org/{quote(ref.DOI, safe='/:.-')}).")
    return " ".join(parts) + f" Accessed {day(ref.accessed)}."


def head(text: str) -> str:
    """A title or description for a page's head. MkDocs' templates print both as they are, so encode them here."""
    return html.escape(plain(text))


def front_matter(value: Any) -> str:
    """A value of the front matter. JSON is YAML, but for surrogate pairs and for what YAML takes for a line's end."""
    text = json.dumps(value, ensure_ascii=False)
    return re.sub("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]", lambda m: f"\\u{ord(m[0]):04x}", text)


for environment in (ENVIRONMENT, PLAIN):
    environment.filters["day"] = day
    # jinja2's own makes markup of each line, which takes ten times as long.
    environment.filters["indent"] = lambda text: Markup(indent(str(text), "    "))
    environment.filters["code"] = Markup  # of ours alone: escaped, it would be shown with entities
    environment.filters["head"] = lambda text: Markup(front_matter(head(text)))
