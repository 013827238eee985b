"""Works as BibTeX and as CSL-JSON, for reference managers. Pure."""

from __future__ import annotations

import re
from functools import cache
from typing import Any
from urllib.parse import quote

from pydantic_core import to_json

from .models import Author, Reference, ReferenceType

KINDS = {  # entry types that every BibTeX style knows; whatever else there is becomes @misc
    ReferenceType.ARTICLE_JOURNAL: "article",
    ReferenceType.PAPER_CONFERENCE: "inproceedings",
    ReferenceType.BOOK: "book",
    ReferenceType.CHAPTER: "incollection",
    ReferenceType.REPORT: "techreport",
}
CONTAINERS = {"article": "journal", "inproceedings": "booktitle", "incollection": "booktitle"}
MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()
OTHERS = "and others"
"""How an author list that is cut short ends; BibTeX has a name for it, CSL has none."""


def labels(references: dict[str, Reference]) -> dict[str, str]:
    """Short names: “Kim and Rush 2016”, with a letter where two would be alike."""
    short = {key: f"{_short(ref)} {ref.issued[:4]}" for key, ref in sorted(references.items())}
    alike: dict[str, list[str]] = {}
    for key, label in short.items():
        alike.setdefault(label, []).append(key)
    return {
        key: label + (_letters(alike[label].index(key)) if len(alike[label]) > 1 else "")
        for key, label in short.items()
    }


def _short(ref: Reference) -> str:
    names = [a.family or a.literal or "" for a in ref.author]
    if len(names) > 2 or names[-1] == OTHERS:
        return f"{names[0]} et al."
    return " and ".join(names)


def _letters(number: int) -> str:
    """a to z, then aa."""
    more, last = divmod(number, 26)
    return (_letters(more - 1) if more else "") + chr(ord("a") + last)


SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\textbraceleft{}",  # BibTeX counts the braces of \{ and \} too
    "}": r"\textbraceright{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{character: f"\\{character}" for character in "&%$#_"},
}


def bibtex(references: dict[str, Reference]) -> str:
    """One entry a work. Capitals stay as written: titles and organisations stand in braces of their own."""
    return "\n".join(_entry(key, ref) for key, ref in references.items())


@cache
def _entry(key: str, ref: Reference) -> str:
    kind = KINDS.get(ref.type, "misc")
    fields = {
        "title": "{" + _tex(ref.title) + "}",
        "author": " and ".join(map(_name, ref.author)),
        CONTAINERS.get(kind, "howpublished"): _tex(ref.container_title or ""),
        "institution" if kind == "techreport" else "publisher": _tex(ref.publisher or ""),
        "year": ref.issued[:4],
        "doi": _verbatim(ref.DOI or ""),
        "url": _verbatim(ref.URL),
        "urldate": ref.accessed,
    }
    lines = [f"  {name} = {{{value}}},\n" for name, value in fields.items() if value]
    month = f"  month = {MONTHS[int(ref.issued[5:7]) - 1]},\n" if ref.issued[5:7] else ""
    return f"@{kind}{{{key},\n{''.join(lines)}{month}}}\n"


def _name(author: Author) -> str:
    """“Kim, Yoon”; braces keep an organisation, and a name with a comma or an “and” in it, in one piece."""
    if author.literal:
        return "others" if author.literal == OTHERS else "{" + _tex(author.literal) + "}"
    parts = [_tex(part) for part in (author.family, author.given) if part]
    return ", ".join("{" + part + "}" if re.search(r",|\band\b", part) else part for part in parts)


def _tex(text: str) -> str:
    return re.sub(r"[\\{}~^&%$#_]", lambda m: SPECIAL[m[0]], " ".join(text.split()))


def _verbatim(address: str) -> str:
    """Addresses are taken as they stand, so only what would end the field is encoded."""
    return re.sub(r"[\\{}]", lambda m: quote(m[0]), address)


def csl(references: dict[str, Reference]) -> str:
    """CSL-JSON, the list that Zotero, Pandoc and citeproc read."""
    items = [_item(key, ref) for key, ref in references.items()]
    return to_json(items, indent=1).decode() + "\n"


@cache
def _item(key: str, ref: Reference) -> dict[str, Any]:
    data = written(ref)
    authors = [name for name in data["author"] if name.get("literal") != OTHERS]
    dates = {name: {"date-parts": [[int(part) for part in data[name].split("-")]]} for name in ("issued", "accessed")}
    return {"id": key, **data, "author": authors or data["author"], **dates}


@cache
def written(ref: Reference) -> dict[str, Any]:
    """A work as it is written in the catalogue. Kept, like the rest of what is made of one: many pages cite it."""
    return ref.model_dump(mode="json", by_alias=True, exclude_none=True)
