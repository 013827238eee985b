"""The rules that one file's model cannot state: between files, and about the text itself.

No number without a source
--------------------------
A figure is any word with a digit in it. Its sentence must hold a citation, or the figure must be read from
the record with [[record: …]]. A list's item is a sentence of its own. These are not figures:

- what stands in `code`, unless the whole of it is a quantity (`97%` is still a figure);
- names, which begin with a letter: T5, GPT-4, bf16, p95, F1, SmolLM2-135M; and widths: 8-bit;
- dates (2026-11-22) and years (in 2015, since 2020, et al. 2020);
- labels: step 2, phase 1, section 4, figure 3, table 1, version 1.2.

Everything else is one, small counts too: write "six pillars" in words, and a setting such as `T = 4` as code.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache, partial
from typing import Any, get_args

from pydantic import BaseModel

from implementations.errors import nearest
from implementations.registry import PLATFORMS, RECIPES, TASKS

from . import diagram, figures, prose
from .aliases import slug_of
from .cores import each
from .load import (
    CLAIMS,
    RECORD_MEND,
    RECORDS,
    REFERENCES,
    VOCABULARY,
    Catalogue,
    Path_,
    Problem,
    Source,
    without_collection,
)
from .models import Claim, Direction, Pattern, PatternStatus, Prose, Support, Term
from .prose import Cite, Code, Figure, Link, Text


@without_collection
def check(catalogue: Catalogue) -> list[Problem]:
    """Every problem that reading the single files did not find. Pure."""
    problems: list[Problem] = []
    cited: set[str] = set()
    diagram.lay_out(pattern.architecture.diagram for pattern in catalogue.patterns.values())
    entries = [*catalogue.patterns.items(), *catalogue.terms.items()]
    for wrong, keys in each(partial(_entry, catalogue), entries):
        problems += wrong
        cited |= keys
    for slug, claim in catalogue.claims.items():
        source = catalogue.sources[CLAIMS]
        problems += _claim(catalogue, source, slug, claim)
        problems += _texts(catalogue, source, texts(claim.model_copy(update={"measured": []}), (slug,)), cited)
        for i, item in enumerate(claim.measured):
            found = texts(item, (slug, "measured", i))
            problems += _texts(catalogue, source, found, cited, record_of=item.pattern, task=item.task)
    if catalogue.vocabulary:
        problems += _advice(catalogue)
        problems += _texts(catalogue, catalogue.sources[VOCABULARY], texts(catalogue.vocabulary), cited)
    problems += _names(catalogue)
    if not catalogue.broken:  # a file that could not be read may hold the citation
        problems += _unused(catalogue, cited)
    problems += _same_works(catalogue)
    problems += _records(catalogue)
    return sorted(set(problems))


def _entry(catalogue: Catalogue, named: tuple[str, Pattern | Term]) -> tuple[list[Problem], set[str]]:
    """What is wrong with a pattern or a term, and the works that it cites."""
    slug, entry = named
    cited: set[str] = set()
    if isinstance(entry, Pattern):
        source = catalogue.source("patterns", slug)
        found = [*_pattern(catalogue, source, slug, entry)]
        found += _texts(catalogue, source, texts(entry), cited, record_of=slug)
    else:
        source = catalogue.source("glossary", slug)
        found = [*_term(catalogue, source, slug, entry, cited)]
        found += _texts(catalogue, source, texts(entry), cited)
    return found, cited


# ------------------------------------------------------------------------------------------------ patterns


def _pattern(catalogue: Catalogue, source: Source, slug: str, pattern: Pattern) -> Iterator[Problem]:
    yield from _stem(source, slug, pattern.slug)
    yield from _history(source, pattern)
    yield from _length(source, pattern)
    yield from _platforms(source, pattern)
    wrong = list(diagram.errors(pattern.architecture.diagram))
    for error in wrong:
        path = ("architecture", "diagram")
        line, column = source.position(path)
        yield source.problem(path, error.what, error.why, error.mend, at=(line + error.line, column))
    drawn = "" if wrong else pattern.architecture.diagram
    labels = (FLOWCHART if diagram.is_flowchart(drawn) else SEQUENCE).findall(drawn)
    for figure in (f for label in labels for f in _figures(label.strip('[]|"'))):
        at = source.find(("architecture", "diagram"), figure)
        why, mend = "a diagram cites nothing", "say it in words, or in a text that cites its source"
        yield source.problem(("architecture", "diagram"), f"“{figure}” has no source", why, mend, at=at)
    if catalogue.vocabulary:
        yield from _words(catalogue, source, pattern)
        yield from _related(catalogue, source, pattern)


FLOWCHART = re.compile(r'\[[^\]\n]*\]|\|[^|\n]*\||"[^"\n]*"')
"""What most labels of a flowchart stand in: brackets, bars, quotes."""
SEQUENCE = re.compile(r"^[^%\n]*?(?::|\bas\b|^\s*(?:loop|alt|else|opt|par|and|critical|break)\b)(.*)", re.M)
"""The words of a sequence: what follows a colon, a name's `as` or the word that opens a block."""


def _stem(source: Source, stem: str, slug: str) -> Iterator[Problem]:
    if slug != stem:
        what, why = f"“{slug}” is not the file's name", "a page has one address"
        mend = f"write {stem}, or rename the file" if re.fullmatch(SLUG, stem) else f"rename the file to {slug}.yml"
        yield source.problem(("slug",), what, why, mend)
    if stem == "index":
        why = "its page would take the place of the list of all"
        yield source.problem(("slug",), "“index” is no name for an entry", why, "choose another slug")


def _history(source: Source, pattern: Pattern) -> Iterator[Problem]:
    dates = [change.date for change in pattern.history]
    versions = [tuple(map(int, change.version.split("."))) for change in pattern.history]
    if dates != sorted(dates, reverse=True) or versions != sorted(set(versions), reverse=True):
        mend = "put the newest version first, each with its own number"
        yield source.problem(("history",), "not in order", "the first is shown as the newest", mend)
    elif pattern.updated != dates[0]:
        mend = "make both the day of the newest change"
        what = f"{pattern.updated}, but history's newest entry is of {dates[0]}"
        yield source.problem(("updated",), what, DAYS, mend)
    elif pattern.created != dates[-1]:
        mend = "make both the day of the first version"
        what = f"{pattern.created}, but history's oldest entry is of {dates[-1]}"
        yield source.problem(("created",), what, DAYS, mend)


DAYS = "the feed and the sitemap go by these days"


WORDS_OF_PAGE = range(900, 1801)
"""Of the text that belongs to one pattern alone: what its file says in words, the diagram's included. Citations and a
record's figures are no words, what all pages share (answers, axes, code) is not its own, and its history only grows."""


def words(pattern: Pattern) -> Counter[str]:
    """How many words each part of the file has."""
    found: Counter[str] = Counter()
    for (part, *_), text in texts(pattern):
        if part != "history":
            found[str(part)] += len(prose.plain(text).split())
    return found


def _length(source: Source, pattern: Pattern) -> Iterator[Problem]:
    """A draft may still grow or shrink, and what is retired nobody rewrites."""
    if pattern.status != PatternStatus.STABLE:
        return
    found = words(pattern)
    if (total := found.total()) not in WORDS_OF_PAGE:
        least, most = WORDS_OF_PAGE[0], WORDS_OF_PAGE[-1]
        parts = ", ".join(f"{part} has {count:,}" for part, count in found.most_common(3))
        what, why = f"{total:,} words, not {least:,} to {most:,}", "a page is to decide by, and to be read"
        mend = f"{'write more' if total < least else 'shorten it'}, or let it be a draft; {parts}"
        yield source.problem((), what, why, mend, at=(1, 1))


def _platforms(source: Source, pattern: Pattern) -> Iterator[Problem]:
    path: Path_ = ("implementation", "platforms")
    for slug in pattern.implementation.platforms:
        if slug not in PLATFORMS:
            at = source.keys.get((*path, slug))
            why = "platforms are those of implementations/registry.py"
            yield source.problem((*path, slug), "unknown platform", why, _choose(slug, PLATFORMS), at=at)
    for slug in PLATFORMS.keys() - pattern.implementation.platforms.keys():
        mend = f"add what a reader with a teacher on {PLATFORMS[slug].title} must know"
        yield source.problem((*path, slug), "missing", "every platform has its part of the page", mend)


def _words(catalogue: Catalogue, source: Source, pattern: Pattern) -> Iterator[Problem]:
    words = catalogue.vocabulary
    assert words
    for name in ("when_to_use", "when_not_to_use"):
        for i, item in enumerate(getattr(pattern, name)):
            here: Path_ = (name, i, "criterion")
            dimension = words.dimensions.get(item.criterion.dimension)
            if dimension is None:
                yield _unknown(source, (*here, "dimension"), item.criterion.dimension, words.dimensions, WORDS)
                continue
            for j, value in enumerate(item.criterion.values):
                if value not in dimension.values:
                    yield _unknown(source, (*here, "in", j), value, dimension.values, WORDS)
    for name, good in (("advantages", True), ("disadvantages", False)):
        for i, item in enumerate(getattr(pattern.tradeoffs, name)):
            here = ("tradeoffs", name, i)
            axis = words.axes.get(item.axis)
            if axis is None:
                yield _unknown(source, (*here, "axis"), item.axis, words.axes, WORDS)
            elif (item.direction == axis.better) != good:
                kind = "an advantage" if not good else "a disadvantage"
                what = f"{item.axis} going {item.direction} is {kind}"
                other = Direction.DOWN if item.direction == Direction.UP else Direction.UP
                mend = f"write {other}, or move the entry"
                yield source.problem((*here, "direction"), what, "the axis says which way is better", mend)
    for i, case in enumerate(pattern.use_cases):
        if case.domain not in words.domains:
            yield _unknown(source, ("use_cases", i, "domain"), case.domain, words.domains, WORDS)
    for domain in ("healthcare", "general"):
        if domain in words.domains and domain not in {case.domain for case in pattern.use_cases}:
            what, why = f"none has the domain {domain}", "every pattern has one that readers can compare"
            yield source.problem(("use_cases",), what, why, f"add a case with `domain: {domain}`")


def _advice(catalogue: Catalogue) -> Iterator[Problem]:
    words, source = catalogue.vocabulary, catalogue.sources[VOCABULARY]
    assert words
    for i, item in enumerate(words.advice):
        for name, values in item.answers.items():
            here: Path_ = ("advice", i, "answers", name)
            dimension = words.dimensions.get(name)
            if dimension is None:
                yield source.problem(
                    here, f"there is no “{name}”", WORDS, _choose(name, words.dimensions), at=source.keys.get(here)
                )
                continue
            for j, value in enumerate(values):
                if value not in dimension.values:
                    yield _unknown(source, (*here, j), value, dimension.values, WORDS)


def _related(catalogue: Catalogue, source: Source, pattern: Pattern) -> Iterator[Problem]:
    words = catalogue.vocabulary
    assert words
    for i, item in enumerate(pattern.related):
        if item.slug == pattern.slug:
            yield source.problem(("related", i, "slug"), "the pattern itself", SELF, "name another pattern")
        elif not catalogue.has_pattern(item.slug):
            mend = _entry_mend("pattern", item.slug, _patterns(catalogue))
            yield source.problem(("related", i, "slug"), f"there is no “{item.slug}”", NOWHERE, mend)
        if item.relation not in words.relations:
            yield _unknown(source, ("related", i, "relation"), item.relation, words.relations, WORDS)
    if pattern.slug in words.planned:
        where = catalogue.sources[VOCABULARY]
        why = "it would be listed twice"
        path, what = ("planned", pattern.slug), "is planned no longer: it has a page"
        yield where.problem(path, what, why, "remove it here", at=where.keys[path])


WORDS = f"only the words of {VOCABULARY} have a meaning"
SELF = "the reader is there already"
NOWHERE = "the link would lead nowhere"


def _patterns(catalogue: Catalogue) -> set[str]:
    """Slugs that a file may name as a pattern: with a page, with a page that has to be mended first, or planned."""
    planned = catalogue.vocabulary.planned.keys() if catalogue.vocabulary else set()
    return catalogue.patterns.keys() | _broken(catalogue) | planned


def _terms(catalogue: Catalogue) -> set[str]:
    return catalogue.terms.keys() | _broken(catalogue)


def _broken(catalogue: Catalogue) -> set[str]:
    """Without the shared files, which are no entries."""
    return {stem for stem in catalogue.broken if not stem.startswith("_")}


def _unknown(source: Source, path: Path_, given: str, known: Any, why: str) -> Problem:
    return source.problem(path, f"there is no “{given}”", why, _choose(given, known))


def _choose(given: str, known: Any) -> str:
    names = sorted(known)
    return nearest(given, names) or f"choose one of {', '.join(names[:LISTED])}{', …' if len(names) > LISTED else ''}"


def _entry_mend(kind: str, given: str, known: Any) -> str:
    """The mend of a name that is no pattern or no term: it may be misspelt, or be still to write."""
    mend = _choose(given, known)
    if not re.fullmatch(SLUG, given):
        return mend
    planned = f", or announce it under `planned` in {VOCABULARY}" if kind == "pattern" else ""
    return f"{mend}{' Or' if mend.endswith('?') else ', or'} write it: `catalogue new {kind} {given}`{planned}"


LISTED = 30
"""As many names as a message lists."""
SLUG = r"[a-z0-9]+(-[a-z0-9]+)*"


# --------------------------------------------------------------------------------------------------- terms


def _term(catalogue: Catalogue, source: Source, slug: str, term: Term, cited: set[str]) -> Iterator[Problem]:
    yield from _stem(source, slug, term.slug)
    if term.updated < term.created:
        yield source.problem(("updated",), f"{term.updated} is before created", DAYS, "write the later day")
    if catalogue.vocabulary and term.category not in catalogue.vocabulary.categories:
        yield _unknown(source, ("category",), term.category, catalogue.vocabulary.categories, WORDS)
    for name in ("related", "prerequisites"):
        for i, other in enumerate(getattr(term, name)):
            if other == term.slug:
                yield source.problem((name, i), "the term itself", SELF, "name another term")
            elif not catalogue.has_term(other):
                mend = _entry_mend("term", other, _terms(catalogue))
                yield source.problem((name, i), f"there is no “{other}”", NOWHERE, mend)
    for i, ref in enumerate(term.refs):
        cited.add(ref.reference)
        yield from _work(catalogue, source, ("refs", i), ref.reference, ref.locator)


def _names(catalogue: Catalogue) -> Iterator[Problem]:
    """A name must lead to one pattern alone, or one term, for each alias has an address that leads to its page."""
    for folder, models, field in (("patterns", catalogue.patterns, "title"), ("glossary", catalogue.terms, "term")):
        owners: dict[str, tuple[str, Path_]] = {"index": (INDEX, ())}
        titles: dict[str, str] = {}
        for slug, model in models.items():
            name = getattr(model, field)
            if (first := titles.setdefault(name.casefold(), slug)) != slug:
                what = f"“{name}” is the {field} of {_place(catalogue, folder, first, (field,))} too"
                mend = "name what it has of its own, or make one entry of both"
                yield catalogue.source(folder, slug).problem((field,), what, ONE_PAGE, mend)
            owners |= dict.fromkeys((slug, name.casefold(), slug_of(name)), (slug, (field,)))
        for slug, model in models.items():
            yield from _aliases(catalogue, folder, slug, model, getattr(model, field), owners)


def _aliases(
    catalogue: Catalogue, folder: str, slug: str, model: Any, title: str, owners: dict[str, tuple[str, Path_]]
) -> Iterator[Problem]:
    """What is wrong with the aliases of an entry, which are added to the owners of names."""
    source, own = catalogue.source(folder, slug), {title.casefold()}
    for i, alias in enumerate(model.aliases):
        name, keys = alias.casefold(), {alias.casefold(), slug_of(alias)} - {""}
        other = next((owners[key] for key in sorted(keys) if owners.get(key, (slug,))[0] != slug), None)
        if other:
            listed = other[0] == INDEX
            whose = INDEX if listed else f"{other[0]}, {_place(catalogue, folder, *other)}"
            mend = "remove it" if listed else "keep it with one of them"
            yield source.problem(("aliases", i), f"“{alias}” is a name of {whose}", ONE_PAGE, mend)
        elif name in own:
            what = f"“{alias}” is a name of this {KINDS[folder]} already"
            yield source.problem(("aliases", i), what, "once is enough", "remove it")
        own.add(name)
        for key in keys:
            owners.setdefault(key, (slug, ("aliases", i)))


def _place(catalogue: Catalogue, folder: str, slug: str, path: Path_) -> str:
    source = catalogue.source(folder, slug)
    return f"{source.file}:{source.position(path)[0]}"


ONE_PAGE = "a name leads to one page"
INDEX = "the list of all"
KINDS = {"patterns": "pattern", "glossary": "term"}


# -------------------------------------------------------------------------------------------------- claims


def _claim(catalogue: Catalogue, source: Source, slug: str, claim: Claim) -> Iterator[Problem]:
    """Somebody must be named for a claim and something for its verdict, and its pages must exist."""
    if not _cites(claim.said_by):
        why, mend = "it may be nobody's claim", "cite whoever says it, [@key, locator]"
        yield source.problem((slug, "said_by"), "names nobody", why, mend)
    if claim.verdict != Support.UNSOURCED and not _cites(claim.source):
        mend = f"cite it, [@key, locator], or give the verdict “{Support.UNSOURCED}”"
        what, why = f"no work is cited for the verdict “{claim.verdict}”", "nobody could check the verdict"
        yield source.problem((slug, "source"), what, why, mend)
    patterns: list[tuple[Path_, str]] = [
        *((("measured", i, "pattern"), item.pattern) for i, item in enumerate(claim.measured)),
        *((("patterns", i), name) for i, name in enumerate(claim.patterns)),
    ]
    for path, name in patterns:
        if not catalogue.has_pattern(name):
            mend = _entry_mend("pattern", name, _patterns(catalogue))
            yield source.problem((slug, *path), f"there is no “{name}”", NOWHERE, mend)
    for i, name in enumerate(claim.terms):
        if not catalogue.has_term(name):
            mend = _entry_mend("term", name, _terms(catalogue))
            yield source.problem((slug, "terms", i), f"there is no “{name}”", NOWHERE, mend)
    for i, item in enumerate(claim.measured):
        if item.task and item.task not in TASKS:
            yield _unknown(source, (slug, "measured", i, "task"), item.task, TASKS, "no record is of it")


def _cites(text: str) -> bool:
    return any(isinstance(node, Cite) for node in prose.nodes(text))


# ------------------------------------------------------------------------------------------------- records


def _records(catalogue: Catalogue) -> Iterator[Problem]:
    for measured in catalogue.records:
        if measured.own:
            continue
        file, record = f"{RECORDS}/{measured.name}.json", measured.record
        if record.pattern not in catalogue.patterns and record.pattern not in catalogue.broken:
            mend = f"add patterns/{record.pattern}.yml, or delete the record"
            why = "no page would show it"
            yield Problem(file, 1, 1, "pattern", f"there is no pattern “{record.pattern}”", why, mend)
        elif record.pattern not in RECIPES:
            what = f"no recipe “{record.pattern}” is registered"
            why = "nobody could measure it again"
            yield Problem(file, 1, 1, "pattern", what, why, "add it to implementations/registry.py")
        if record.smoke:
            yield Problem(file, 1, 1, "smoke", "a smoke run", "its figures mean nothing", RECORD_MEND)


def _unused(catalogue: Catalogue, cited: set[str]) -> Iterator[Problem]:
    source = catalogue.sources.get(REFERENCES)
    for key in catalogue.references.keys() - cited:
        assert source
        why = "the list holds what the pages rest on"
        yield source.problem((key,), "nothing cites it", why, "cite it or remove it", at=source.keys[(key,)])


def _same_works(catalogue: Catalogue) -> Iterator[Problem]:
    """A work under two keys would be listed twice, and each half of what cites it only once."""
    source, first = catalogue.sources.get(REFERENCES), {}
    for key, work in catalogue.references.items():
        for name, value in (("URL", work.URL.rstrip("/")), ("DOI", (work.DOI or "").casefold())):
            other = first.setdefault((name, value), key) if value else key
            if source and other != key:
                what, mend = f"“{other}” has this {name} too", "keep one of the two keys, and cite it everywhere"
                yield source.problem((key, name), what, "a work would be listed twice", mend)


# ---------------------------------------------------------------------------------------------------- text


def texts(value: Any, path: Path_ = ()) -> list[tuple[Path_, Prose]]:
    """Every text of a model, with its place in the file."""
    found: list[tuple[Path_, Prose]] = []
    _gather(value, path, found)
    return found


def _gather(value: Any, path: Path_, found: list[tuple[Path_, Prose]]) -> None:
    if isinstance(value, Prose):
        found.append((path, value))
    elif isinstance(value, BaseModel):
        for name, key in _fields(type(value)):
            _gather(getattr(value, name), (*path, key), found)
    elif isinstance(value, dict):
        for key, inner in value.items():
            _gather(inner, (*path, key), found)
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            _gather(inner, (*path, i), found)


@cache
def _fields(model: type[BaseModel]) -> list[tuple[str, str]]:
    """The fields of a model that may hold text: the name, and the key in the file."""
    return [(name, info.alias or name) for name, info in model.model_fields.items() if _holds_text(info.annotation)]


def _holds_text(annotation: Any) -> bool:
    """Whether a Prose, or a model, is somewhere in a field's type."""
    if isinstance(annotation, type) and issubclass(annotation, (Prose, BaseModel)):
        return True
    return any(map(_holds_text, get_args(annotation)))


IMAGE = re.compile(r"!\[(?![@\[])[^\]\n]*")
HTML = re.compile(r"<[a-zA-Z/!?][^<>\n]*>?|&#?\w+;")
PLACEHOLDERS = ("todo", "tbd", "tba", "fixme", "xxx", "lorem ipsum", "coming soon", "placeholder text")
PLACEHOLDER = re.compile(rf"\b({'|'.join(PLACEHOLDERS)})\b", re.I)
BLOCKS = ("# ", "```", "~~~", "|", "> ")
FOREIGN = re.compile(r"^(#{1,6} |```|~~~|\||> )", re.M)
RULES = (  # what is refused, and signs of it: small letters that are quickly looked for; then what, why and mend
    (HTML, ("<", "&"), "is HTML", "readers would see it as it stands", "write it as plain text, or as `code`"),
    (IMAGE, ("![",), "begins an image", "a page fetches nothing from elsewhere", "tell what it shows, or link to it"),
    (PLACEHOLDER, PLACEHOLDERS, "is a placeholder", "readers would see it", "write the text"),
    (
        FOREIGN,
        BLOCKS,
        "begins a heading, table, quotation or code block",
        "text has paragraphs and lists only",
        "write it as one of these",
    ),
)
CODE = re.compile(r"`[^`\n]*`")
NOTABLE = re.compile(r"[\d\[\]<>&#`~|@\\]")
"""Without one of these there is no figure, citation, link, image, code, HTML or block in a text."""
WAYS = (
    "cite its source in the same sentence, [@key, locator], or read it from [[record: …]]; a small count is written in "
    "words, a setting as `code`"
)
LEFTOVER = re.compile(r"\[\[|\]\]|\[@|\]\(")


def _texts(
    catalogue: Catalogue,
    source: Source,
    found: Iterable[tuple[Path_, Prose]],
    cited: set[str],
    *,
    record_of: str | None = None,
    task: str | None = None,
) -> Iterator[Problem]:
    """What is wrong with texts that may quote the record of the pattern ``record_of`` on ``task``, or none."""
    for path, text in found:
        if not NOTABLE.search(text) and not _has_one(text.lower(), PLACEHOLDERS):
            continue  # words alone, as in most texts
        yield from _markup(source, path, text)
        yield from _loose(catalogue, source, path, text, cited)
        for figure, nth in uncited(LATE.sub(r" \3\1\2", text) if _may_be_late(text) else text):
            at = source.find(path, figure, nth)
            yield source.problem(path, f"“{figure}” has no source", "nobody could check it", WAYS, at=at)
        for node in prose.nodes(text):
            match node:
                case Cite():
                    yield from _cite(catalogue, source, path, node, cited)
                case Link(_, target):
                    yield from _link(catalogue, source, path, target)
                case Figure():
                    yield from _figure(catalogue, source, path, node, record_of, task)


def _markup(source: Source, path: Path_, text: str) -> Iterator[Problem]:
    bare = CODE.sub("", text)
    lowered = bare.lower()
    for pattern, signs, what, why, mend in RULES:
        if not _has_one(lowered, signs):
            continue
        for match in pattern.finditer(bare):
            found = match[0].strip()
            yield source.problem(path, f"“{found}” {what}", why, mend, at=source.find(path, found))
    for node in prose.nodes(text) if "[" in text or "]" in text else ():
        if isinstance(node, Text) and (match := LEFTOVER.search(node.text)):
            mend = "write [@key, locator], [[record: path | format]] or [label](address)"
            if match[0] == "](":
                mend += "; in an address write ( as %28 and ) as %29"
            at, why = source.find(path, match[0]), "readers would see it as it stands"
            yield source.problem(path, f"“{match[0]}” belongs to nothing", why, mend, at=at)


ABBREVIATED = "".join(
    rf"(?<!\b{word}\.)" for word in ("e\\.g", "i\\.e", "vs", "cf", "al", "sec", "fig", "tab", "no", "p")
)
LOOSE = re.compile(
    r"\[(?P<before>[^\[\]@]*)(?<!\w)@(?P<key>\w+)(?P<after>[^\[\]]*)\]|(?<![\w@/.\[])@(?P<bare>\w+)"
    r"|\\[cC]ite\w*\{(?P<tex>[^}\s]+)\}|(?<!\[)\[record:(?P<record>[^\[\]]*)\](?!\])"
)
"""What is meant for a citation, or for a figure of the record, and is none."""
LATE = re.compile(rf"([.!?…]){ABBREVIATED}([\"'”’)]*)\s+(\[@[^\]]*\])(?=\.?(?:\s*$|\s+[A-Z“]|\s*\n\s*(?:\n|[-*] |\d)))")
"""A citation between two sentences, or after the last."""


SIGNS = ("@", "\\", "[record:")


def _may_be_late(text: str) -> bool:
    """Whether a citation may stand after a full stop; found sooner than by the expression."""
    return any(before.rstrip().endswith(STOPS) for before in text.split("[@")[:-1])


STOPS = tuple(".!?…\"'”’)")


def _loose(catalogue: Catalogue, source: Source, path: Path_, text: str, cited: set[str]) -> Iterator[Problem]:
    """Citations that are none as they are written, or that stand where they are no sentence's."""
    if not _has_one(text, SIGNS):
        return
    for node in prose.nodes(text):
        for match in LOOSE.finditer(node.text) if isinstance(node, Text) and _has_one(node.text, SIGNS) else ():
            keys = (match["key"] or match["bare"] or match["tex"] or "").split(",")
            if match["bare"] and match["bare"] not in catalogue.references:
                continue  # somebody's name
            cited.update(keys)
            kind, mend = "citation", f"write [{'; '.join(f'@{key.strip()}, locator' for key in keys)}]"
            if match["key"]:
                before = match["before"].strip(" -")
                mend = f"write [@{match['key']}{match['after']}]" + f" after “{before}”" * bool(before)
            elif match["record"]:
                kind, mend = "figure of the record", f"write [[record:{match['record']}]]"
            at, why = source.find(path, match[0]), "readers would see it as it stands"
            yield source.problem(path, f"“{match[0]}” is no {kind}", why, mend, at=at)
    for match in LATE.finditer(text) if _may_be_late(text) else ():
        what, why = f"{match[3]} stands after the full stop", "the sentence before it has no source"
        yield source.problem(path, what, why, "put it before the full stop", at=source.find(path, match[3]))


def _cite(catalogue: Catalogue, source: Source, path: Path_, node: Cite, cited: set[str]) -> Iterator[Problem]:
    if "@" in node.raw[2:]:
        cited.update(AT.findall(node.raw))
    for key, locator in node.works:
        cited.add(key)
        first, _, rest = key.partition(" ")
        if rest and first in catalogue.references:
            cited.add(first)
            what, why = f"“{key}” is no key", "the place would be a part of it"
            mend = f"write a comma after the key: [@{first}, {rest}]"
        elif locator and "@" in locator and AT.search(locator):
            what, why = f"{node.raw} parts works with a comma", "the second would be a place in the first"
            mend = f"part them with semicolons: {WORK.sub('; @', node.raw)}"
        else:
            yield from _work(catalogue, source, path, key, locator, node.raw)
            continue
        yield source.problem(path, what, why, mend, at=source.find(path, node.raw))


AT = re.compile(r"(?<!\w)@(\w+)")
WORK = re.compile(r"(?<=\w)[,;]?\s+@")


def _has_one(text: str, signs: tuple[str, ...]) -> bool:
    return any(map(text.__contains__, signs))


def _work(
    catalogue: Catalogue, source: Source, path: Path_, key: str, locator: str | None, raw: str = ""
) -> Iterator[Problem]:
    reference = catalogue.references.get(key)
    if reference and (locator or not reference.type.has_locators):
        return
    at = source.find(path, raw or key)
    if reference is None:
        if REFERENCES not in catalogue.sources or catalogue.references:
            near = difflib.get_close_matches(key, catalogue.references, n=1, cutoff=0.8)  # another author is no mend
            mend = f"did you mean `{near[0]}`? Or add it to {REFERENCES}" if near else f"add it to {REFERENCES}"
            why = "a citation leads to a work"
            yield source.problem(path, f"there is no reference “{key}”", why, mend, at=at)
    else:
        mend = f"say where in it: [@{key}, sec. 2]" if raw else "add `locator`: sec. 2"
        why = "a reader would search the whole work"
        yield source.problem(path, f"“{key}” is cited without a place", why, mend, at=at)


def _link(catalogue: Catalogue, source: Source, path: Path_, target: str) -> Iterator[Problem]:
    kind, _, rest = target.partition(":")
    if kind in ("http", "https") or (kind == "term" and catalogue.has_term(rest)):
        return
    if kind == "pattern" and catalogue.has_pattern(rest):
        return
    at = source.find(path, target)
    if kind == "term":
        mend = _entry_mend("term", rest, _terms(catalogue))
        yield source.problem(path, f"there is no term “{rest}”", NOWHERE, mend, at=at)
    elif kind == "pattern":
        mend = _entry_mend("pattern", rest, _patterns(catalogue))
        yield source.problem(path, f"there is no pattern “{rest}”", NOWHERE, mend, at=at)
    else:
        mend = "begin it with https://, term: or pattern:"
        yield source.problem(path, f"“{target}” is no address", "a link may lead to pages only", mend, at=at)


def _figure(
    catalogue: Catalogue, source: Source, path: Path_, node: Figure, record_of: str | None, task: str | None
) -> Iterator[Problem]:
    if problem := _figure_problem(catalogue, source, node, record_of, task):
        yield source.problem(path, *problem, at=source.find(path, node.raw))


def _figure_problem(
    catalogue: Catalogue, source: Source, node: Figure, record_of: str | None, task: str | None
) -> tuple[str, str, str] | None:
    """What, why and mend."""
    if record_of is None:
        what, mend = "a term has no record to read a figure from", "link to the pattern that measured it"
        if source.file == CLAIMS:
            what, mend = "a claim has no record of its own", "put it under `measured`, beside its pattern"
        elif source.file == VOCABULARY:
            what, mend = "a word of the vocabulary has no record", "put it into the pattern that measured it"
        return what, "records belong to patterns", mend
    try:
        figures.check_path(node.path)
        figures.check_format(node.format)
        if record := headline(catalogue, record_of, task):
            figures.write(figures.read(record.record, node.path), node.format)
    except figures.FigureError as error:
        why, mend = "the page would have nothing to show", "choose one that builder/figures.py explains"
        return f"{node.raw}: {error}", why, mend
    except (TypeError, ValueError):
        why, mend = "its value is of another kind", "choose another format, or none"
        return f"{node.raw} cannot be written as {node.format}", why, mend
    return None


def headline(catalogue: Catalogue, slug: str, task: str | None = None) -> Any:
    """The record that the text quotes: of the recipe's own settings, committed, current and new before others.

    One on another task than the pattern's own is none of which its text tells, unless it names that ``task``.
    """
    found = [
        m
        for m in catalogue.records_by_pattern.get(slug, [])
        if not m.record.smoke and (m.record.task.name == task if task else m.record.own_task)
    ]
    return max(found, key=lambda m: (not m.record.settings, not m.own, not m.stale, m.record.date), default=None)


# ------------------------------------------------------------------------------------------------- numbers

CITED, MEASURED = "\x01", "\x02"
DIGIT = re.compile(r"\d")
SENTENCE = re.compile(rf"(?<=[.!?…]){ABBREVIATED}[\"'”’)\]]*\s+(?=[^a-z\s])")
QUANTITY = re.compile(r"[~≈<>≤≥+\-−]?\s*[$€£]?\d[\d.,]*\s*(%|x|×|k|ms|s|min|h|[KMGT]i?B|tokens?/s)", re.I)
NUMBER = re.compile(r"(?<![\w.])[~≈+\-−]?[$€£]?\d[\w.,:/%×–-]*\w*[%×]?|[^\W\d_][\w./+-]*\d[\w./+%×-]*", re.U)
YEAR = re.compile(
    r"\b(?:in|since|until|of|from|by|before|after|al\.|January|February|March|April|May|June|July|August"
    r"|September|October|November|December)\s+\(?((?:19|20)\d\d)\b(?!\s*(?:%|x|×|[a-z]+s\b))",
    re.I,
)
DATE = re.compile(r"\b\d{4}-\d{2}(-\d{2})?\b")
LABEL = re.compile(
    r"\b(?:step|phase|stage|part|section|sec\.|figure|fig\.|table|tab\.|equation|eq\.|chapter|question|tier|case"
    r"|version|round|page|p\.|appendix)s?\s+\d+(?:\.\d+)*(?![\w%×])",
    re.I,
)
BITS = re.compile(r"\b\d+-bit\b")


def uncited(text: str) -> Iterator[tuple[str, int]]:
    """Every figure without a source, with how many equal ones stand before it in the text."""
    if not DIGIT.search(text):
        return
    items = [_flat(item) for block in prose.parse(text) for item in block.items]
    sentences = [sentence for item in items if DIGIT.search(item) for sentence in SENTENCE.split(item)]
    if not any(_figures(sentence) for sentence in sentences if CITED not in sentence):
        return
    seen: Counter[str] = Counter()
    for sentence in sentences:
        for figure in _figures(sentence):
            if CITED not in sentence:
                yield figure, seen[figure]
            seen[figure] += 1


def _flat(item: tuple[prose.Inline, ...]) -> str:
    """One item's text with citations and record figures as single marks, without code and addresses."""
    out = ""
    for node in item:
        match node:
            case Text(text):
                out += text
            case Code(text):
                out += text if QUANTITY.fullmatch(text) else "code"
            case Cite():
                out += CITED
            case Figure():
                out += MEASURED
            case _:
                out += _flat(node.inner)
    return out


def _figures(sentence: str) -> list[str]:
    if not DIGIT.search(sentence):
        return []
    bare = sentence
    for exempt in (DATE, LABEL, BITS):
        bare = exempt.sub("", bare)
    bare = YEAR.sub(lambda m: m[0].replace(m[1], ""), bare)
    found = (match[0] for match in NUMBER.finditer(bare))
    return [number.rstrip(".,:;/-–") for number in found if not number[0].isalpha()]
