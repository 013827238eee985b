"""What `catalogue serve` shows of a catalogue that somebody is writing, whatever is wrong with it. Pure.

Every page that can be rendered is. For a file that cannot be read its last good entry is shown, on all pages, so that
they stay what they were; if it never had one, a page that holds nothing but its problems. What is wrong stands on top
of every page: first what concerns that page.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cache
from html import escape
from pathlib import Path, PurePosixPath
from posixpath import dirname, relpath
from typing import Any

from .load import CLAIMS, REFERENCES, Catalogue, Problem
from .render import navigation, render

ROOT = Path(__file__).parent.parent
LISTED = 20
"""How many problems of other files a page lists."""


@dataclass(frozen=True)
class Shown:
    """Pages with what is to be said on top of them; `old` and `stubs` are the paths of those that are not current.

    ``catalogue`` is what the pages were made of.
    """

    pages: dict[str, str]
    nav: list[Any]
    problems: list[Problem] = field(default_factory=list)
    old: frozenset[str] = frozenset()
    stubs: frozenset[str] = frozenset()
    catalogue: Catalogue | None = None

    def banner(self, path: str) -> str:
        """What is wrong, as HTML for the top of the page at ``path``."""
        here = [problem for problem in self.problems if page_of(problem.file) == path]
        others = [problem for problem in self.problems if problem not in here]
        if not self.problems:
            return ""
        if path in self.stubs:
            state = "There is no page until this is mended."
        elif path in self.old:
            state = "This page is the last good one."
        else:
            state = "This has to be mended before the page can be published." if here else "This page is well."
        parts = [f"<p><strong>{_count(self.problems)}.</strong> {state}</p>", _list(map(_message, here))]
        if others:
            rest = f"<li>… and {len(others) - LISTED} more</li>" if len(others) > LISTED else ""
            items = _list((self._linked(problem, path) for problem in others[:LISTED]), rest)
            title = f"{_count(others)} in other files" if here else _count(others)
            parts.append(f"<details{'' if here else ' open'}><summary>{title}</summary>{items}</details>")
        return f'<div class="dp-problems" role="alert">{"".join(parts)}</div>'

    def _linked(self, problem: Problem, path: str) -> str:
        """A problem with a link to the page that it concerns."""
        page = page_of(problem.file)
        if page not in self.pages:
            return _message(problem)
        address = relpath(page.removesuffix(".md") + ".html", dirname(path) or ".")
        return f'<a href="{escape(address)}">{_message(problem)}</a>'


def show(catalogue: Catalogue, problems: list[Problem], before: Shown | None) -> Shown:
    """The catalogue's pages; what cannot be read or rendered as it was ``before``."""
    files = {problem.file for problem in problems}
    fault: list[Problem] = []
    for part in (catalogue, _without(catalogue, files)):
        made_of = _completed(part, before.catalogue) if before and before.catalogue else part
        try:
            pages, nav = render(made_of), navigation(made_of)
            break
        except Exception as error:  # a word that means nothing, a file that everything needs, or a fault of ours
            if not problems:
                fault = [_fault(error)]
    else:
        if before is None or "index.md" not in before.pages:
            nothing, nav = {"index.md": _stub("Nothing can be shown yet")}, [{"Home": "index.md"}]
            return Shown(nothing, nav, problems or fault, stubs=frozenset(nothing))
        return replace(before, problems=problems or fault, old=frozenset(before.pages) - before.stubs)
    stubs = {page: _stub(PurePosixPath(page).stem) for page in map(page_of, files) if page and page not in pages}
    old = _not_current(made_of, catalogue)
    return Shown({**pages, **stubs}, nav, problems or fault, frozenset(old), frozenset(stubs), made_of)


def _completed(catalogue: Catalogue, last: Catalogue) -> Catalogue:
    """With the last good entry for each file that is there and cannot be used."""

    def entries(folder: str, good: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
        there = {slug: entry for slug, entry in good.items() if f"{folder}/{slug}.yml" in catalogue.sources}
        return dict(sorted({**there, **now}.items(), key=lambda item: f"{item[0]}.yml"))  # as the files are read

    return replace(
        catalogue,
        patterns=entries("patterns", last.patterns, catalogue.patterns),
        terms=entries("glossary", last.terms, catalogue.terms),
        claims=catalogue.claims or (last.claims if CLAIMS in catalogue.sources else {}),
        references=catalogue.references or last.references,
        vocabulary=catalogue.vocabulary or last.vocabulary,
    )


def _not_current(shown: Catalogue, now: Catalogue) -> set[str]:
    """The pages of what is shown as it was."""
    pairs = (("patterns", shown.patterns, now.patterns), ("glossary", shown.terms, now.terms))
    old = {f"{folder}/{k}.md" for folder, entries, new in pairs for k, v in entries.items() if new.get(k) is not v}
    shared = (("claims.md", shown.claims, now.claims), ("references.md", shown.references, now.references))
    return old | {page for page, entries, new in shared if entries is not new and entries}


@cache
def page_of(file: str) -> str | None:
    """The page that a file is made into."""
    shared = {CLAIMS: "claims.md", REFERENCES: "references.md"}
    path = PurePosixPath(file)
    if file in shared or path.name.startswith("_") or str(path.parent) not in ("patterns", "glossary"):
        return shared.get(file)
    return str(path.with_suffix(".md"))


def _without(catalogue: Catalogue, files: set[str]) -> Catalogue:
    """The catalogue without the entries of ``files``."""

    def sound(folder: str, entries: dict[str, Any]) -> dict[str, Any]:
        return {slug: entry for slug, entry in entries.items() if f"{folder}/{slug}.yml" not in files}

    claims = {} if CLAIMS in files else catalogue.claims
    patterns, terms = sound("patterns", catalogue.patterns), sound("glossary", catalogue.terms)
    return replace(catalogue, patterns=patterns, terms=terms, claims=claims)


def _fault(error: Exception) -> Problem:
    what, why = f"{type(error).__name__}: {error}", "the catalogue's own code failed, not your text"
    last = traceback.extract_tb(error.__traceback__)[-1]
    file = last.filename.removeprefix(f"{ROOT}/")
    return Problem(file, last.lineno or 1, (last.colno or 0) + 1, "", what, why, "undo the last change, and report it")


def _stub(title: str) -> str:
    return f"---\nsearch: {{exclude: true}}\n---\n\n# {title}\n"


def _count(problems: list[Problem]) -> str:
    return f"{len(problems)} problem{'s' * (len(problems) > 1)}"


def _message(problem: Problem) -> str:
    return f"<code>{escape(str(problem))}</code>"


def _list(items: Iterable[str], rest: str = "") -> str:
    text = "".join(f"<li>{item}</li>" for item in items) + rest
    return f"<ul>{text}</ul>" if text else ""
