"""The catalogue as pages. Pure: a Catalogue in, `{path: content}` out; nothing is read or written.

Text from YAML reaches a page only through `prose.Writer`, which encodes it, and every other value through the
templates' `finalize`, which encodes it too. Only the templates themselves, pages/, prose.py, results.py,
diagram.py, explorer.py, feeds.py and, while serving, preview.py write markup.
"""

from __future__ import annotations

import re
from typing import Any

from . import data, feeds
from .bibliography import bibtex, csl
from .check import texts
from .data import beside, works
from .load import Catalogue, without_collection
from .models import Pattern
from .pages.claims import ClaimsPage
from .pages.find import FindPage
from .pages.page import Page, head
from .pages.pattern import PatternPage
from .pages.payback import PaybackPage
from .pages.results import ResultsPage
from .pages.term import TermPage
from .pages.twins import ClaimsTwin, PatternTwin, TermTwin, Twin


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
    opening = contents.split("\n## ")[0].rstrip() + "\n"
    full = "\n---\n\n".join([opening, *patterns.values(), *terms.values(), *claims.values()])
    return {**patterns, **terms, **claims, "llms.txt": contents, "llms-full.txt": full}


def _works(catalogue: Catalogue) -> dict[str, str]:
    """Every work for a reference manager, those of each pattern, and those of the claims."""
    pages = {"references.md": sorted(catalogue.references)}
    if catalogue.claims:
        pages["claims.md"] = works(*catalogue.claims.values())
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
