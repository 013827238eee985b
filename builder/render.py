"""The catalogue as pages. Pure: a Catalogue in, `{path: content}` out; nothing is read or written.

Text from YAML reaches a page only through `prose.Writer`, which encodes it, and every other value through the
templates' `finalize`, which encodes it too. Only the templates themselves, pages/, prose.py, results.py,
diagram.py, explorer.py, feeds.py and, while serving, preview.py write markup.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from . import data, feeds
from .bibliography import bibtex, csl
from .check import texts
from .cores import each
from .data import beside, page_path, works
from .load import Catalogue, without_collection
from .models import Pattern, Term
from .pages.claims import ClaimsPage
from .pages.find import FindPage
from .pages.page import Page, head
from .pages.pattern import PatternPage
from .pages.payback import PaybackPage
from .pages.results import ResultsPage
from .pages.term import TermPage
from .pages.twins import ClaimsTwin, PatternTwin, TermTwin, Twin

PAGES = {
    "index.md": (Page, "home.md.j2"),
    "choose.md": (FindPage, "choose.md.j2"),
    "patterns/index.md": (FindPage, "patterns.md.j2"),
    "matrix.md": (FindPage, "matrix.md.j2"),
    "compare.md": (FindPage, "compare.md.j2"),
    "relations.md": (FindPage, "relations.md.j2"),
    "payback.md": (PaybackPage, "payback.md.j2"),
    "results.md": (ResultsPage, "explorer.md.j2"),
    "glossary/index.md": (Page, "terms.md.j2"),
    "references.md": (Page, "references.md.j2"),
}
"""What each page that is about the whole catalogue is made with."""


@without_collection
def render(catalogue: Catalogue) -> dict[str, str]:
    """Every page and data file of the site, by path. Markdown pages link to each other by path."""
    out: dict[str, str] = {}
    for files in each(lambda part: part(), list(_parts(catalogue))):
        out |= files
    return out | {"llms-full.txt": _full(catalogue, out)}


def _parts(catalogue: Catalogue) -> Iterator[Callable[[], dict[str, str]]]:
    """What makes the files, in parts that need nothing of each other."""
    yield partial(feeds.files, catalogue)
    for path, (page, template) in PAGES.items():
        yield partial(_page, page(catalogue, path), template)
    yield partial(_works, catalogue, "references.md", sorted(catalogue.references))
    if catalogue.claims:
        yield partial(_claims, catalogue)
    for pattern in catalogue.patterns.values():
        yield partial(_pattern, catalogue, pattern)
    users = _users(catalogue)
    for slug, term in catalogue.terms.items():
        yield partial(_term, catalogue, term, users.get(slug, []))
    yield partial(data.files, catalogue)
    yield lambda: {"llms.txt": Twin(catalogue, "llms.md").render("llms.txt.j2")}


def _page(page: Page, template: str) -> dict[str, str]:
    return {page.path: page.render(template)}


def _claims(catalogue: Catalogue) -> dict[str, str]:
    return {
        "claims.md": ClaimsPage(catalogue).render("claims.md.j2"),
        "claims.txt": ClaimsTwin(catalogue).render("claims.txt.j2"),
        **_works(catalogue, "claims.md", works(*catalogue.claims.values())),
    }


def _pattern(catalogue: Catalogue, pattern: Pattern) -> dict[str, str]:
    """The page of a pattern, and what stands beside it: the same as JSON and as plain Markdown, and its works."""
    path = page_path(pattern)
    return {
        path: PatternPage(catalogue, pattern).render("pattern.md.j2"),
        beside(path, ".json"): data.dumps(data.pattern_data(catalogue, pattern)),
        beside(path, ".txt"): PatternTwin(catalogue, pattern).render("pattern.txt.j2"),
        **_works(catalogue, path, works(pattern)),
    }


def _term(catalogue: Catalogue, term: Term, used_by: list[Pattern]) -> dict[str, str]:
    path = page_path(term)
    return {
        path: TermPage(catalogue, term).render("term.md.j2", used_by=used_by),
        beside(path, ".json"): data.dumps(data.term_data(catalogue, term)),
        beside(path, ".txt"): TermTwin(catalogue, term).render("term.txt.j2"),
    }


def _works(catalogue: Catalogue, path: str, keys: list[str]) -> dict[str, str]:
    """The works of a page for a reference manager."""
    cited = {key: catalogue.references[key] for key in keys if key in catalogue.references}
    return {beside(path, ".bib"): bibtex(cited), beside(path, ".csl.json"): csl(cited)}


def _users(catalogue: Catalogue) -> dict[str, list[Pattern]]:
    """Term → patterns whose text links to it, by title."""
    users: dict[str, list[Pattern]] = {}
    for pattern in sorted(catalogue.patterns.values(), key=lambda p: p.title.lower()):
        whole = "\n".join(text for _, text in texts(pattern))
        for slug in set(re.findall(r"\]\(term:([^)]*)\)", whole)):
            users.setdefault(slug, []).append(pattern)
    return users


def _full(catalogue: Catalogue, files: dict[str, str]) -> str:
    """All twins in one file (https://llmstxt.org), after the beginning of their list."""
    opening = files["llms.txt"].split("\n## ")[0].rstrip() + "\n"
    entries = [*sorted(catalogue.patterns.items()), *sorted(catalogue.terms.items())]
    twins = [beside(page_path(entry), ".txt") for _, entry in entries] + ["claims.txt"] * bool(catalogue.claims)
    return "\n---\n\n".join([opening, *(files[path] for path in twins)])


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
