"""What tells machines of the site as a whole: the feed of changes, robots.txt, and redirects. Pure."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from html import escape
from typing import NamedTuple
from xml.etree import ElementTree

from .aliases import redirects
from .data import FEED, page_path, page_url, updated
from .load import Catalogue
from .models import Pattern, Term
from .prose import plain

NEWEST = 100
"""How many changes the feed holds."""


def files(catalogue: Catalogue) -> dict[str, str]:
    moved = {path: redirect(catalogue, page) for path, page in redirects(catalogue).items()}
    return {FEED: feed(catalogue), "robots.txt": robots(catalogue), **moved}


# ---------------------------------------------------------------------------------------------------------- changes


class Change(NamedTuple):
    date: str
    id: str
    title: str
    text: str
    link: str


def changes(catalogue: Catalogue) -> list[Change]:
    """Newest first; those of one day by id."""
    found = [change for pattern in catalogue.patterns.values() for change in _of_pattern(catalogue, pattern)]
    found += [change for term in catalogue.terms.values() for change in _of_term(catalogue, term)]
    return sorted(sorted(found, key=lambda c: c.id), key=lambda c: c.date, reverse=True)


def _of_pattern(catalogue: Catalogue, pattern: Pattern) -> Iterator[Change]:
    page, title = page_url(catalogue, page_path(pattern)), plain(pattern.title)
    for item in pattern.history:
        address = f"{page}#version-{item.version}"
        yield Change(item.date, address, f"{title}, version {item.version}", plain(item.change), address)


def _of_term(catalogue: Catalogue, term: Term) -> Iterator[Change]:
    """A term has no history, only the days of its first and its last version."""
    page, name = page_url(catalogue, page_path(term)), plain(term.term)
    yield Change(term.created, f"{page}#created", f"New term: {name}", plain(term.short), page)
    if term.updated > term.created:
        yield Change(term.updated, f"{page}#updated-{term.updated}", f"Term revised: {name}", plain(term.short), page)


# ------------------------------------------------------------------------------------------------------------ files


def feed(catalogue: Catalogue) -> str:
    """The newest changes as Atom (RFC 4287). Ids are addresses that never change, whatever else is added."""
    assert catalogue.vocabulary
    about = catalogue.vocabulary.publication
    root = ElementTree.Element("feed", xmlns="http://www.w3.org/2005/Atom")
    root.set("xml:lang", "en")
    _add(root, "id", page_url(catalogue, FEED))
    _add(root, "title", f"Changes in {about.source}")
    _add(root, "updated", _moment(updated(catalogue)))
    _add(_add(root, "author"), "name", about.author)
    _add(root, "rights", f"{about.licence}. {about.usage}")
    _add(root, "link", rel="self", type="application/atom+xml", href=page_url(catalogue, FEED))
    _add(root, "link", rel="alternate", type="text/html", href=page_url(catalogue, "index.md"))
    for change in changes(catalogue)[:NEWEST]:
        entry = _add(root, "entry")
        _add(entry, "id", change.id)
        _add(entry, "title", change.title)
        _add(entry, "updated", _moment(change.date))
        _add(entry, "link", rel="alternate", type="text/html", href=change.link)
        _add(entry, "summary", change.text)
    ElementTree.indent(root, " ")
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _add(parent: ElementTree.Element, tag: str, text: str | None = None, **attributes: str) -> ElementTree.Element:
    element = ElementTree.SubElement(parent, tag, attributes)
    element.text = text
    return element


def _moment(day: str) -> str:
    return f"{day}T00:00:00Z"


def robots(catalogue: Catalogue) -> str:
    """Everything may be read; the line that matters is where the list of pages is."""
    return f"User-agent: *\nAllow: /\n\nSitemap: {page_url(catalogue, 'sitemap.xml')}\n"


def redirect(catalogue: Catalogue, page: str) -> str:
    """A page that leads on without a script, also from disk; whoever follows no refresh finds the link."""
    slug = posixpath.basename(page).removesuffix(".md")
    name = catalogue.patterns[slug].title if page.startswith("patterns/") else catalogue.terms[slug].term
    title, target = escape(plain(name)), f"{slug}.html"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>{title}</title>\n"
        f'<link rel="canonical" href="{escape(page_url(catalogue, page))}">\n'
        f'<meta http-equiv="refresh" content="0; url={target}">\n'
        '<meta name="viewport" content="width=device-width,initial-scale=1">\n</head>\n'
        f'<body>\n<main>\n<p>This name leads to <a href="{target}">{title}</a>.</p>\n</main>\n</body>\n</html>\n'
    )
