"""Read the catalogue's files. This is the only module that does so; it reports every problem of every file.

YAML is read from its stream of events, never through a constructor, so nothing in a file can make an object.
What is left is YAML 1.2's core schema without its traps: `no` is a string, duplicate keys are errors, and
anchors, aliases, tags and merge keys are refused (two dozen nested aliases can otherwise ask for gigabytes).
Every key and value keeps its line and column, so that what is wrong with it can be said in the right place.
"""

from __future__ import annotations

import gc
import json
import math
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, cached_property, partial, wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from implementations import record as record_module
from implementations.errors import nearest
from implementations.record import Record, RecordError
from implementations.registry import RECIPES

from . import code
from .bibliography import labels
from .cores import each
from .models import Claim, Date, Key, PartialDate, Pattern, Reference, Slug, Term, Url, Version, Vocabulary

MAX_BYTES = 1_000_000
MAX_DEPTH = 12
RECORDS = "implementations/records"
REFERENCES, VOCABULARY = "patterns/_references.yml", "patterns/_vocabulary.yml"
CLAIMS = "patterns/_claims.yml"
SHARED = {VOCABULARY: Vocabulary, REFERENCES: dict[Key, Reference], CLAIMS: dict[Slug, Claim]}
SOURCES: dict[str, Any] = {
    "pattern": Pattern,
    "term": Term,
    **{Path(name).stem.strip("_"): model for name, model in SHARED.items()},
}
"""What a contributor writes, in YAML."""
SCHEMAS = "schemas"
"""Where the schemas of that stand in the tree, for editors."""

Path_ = tuple[str | int, ...]
P, T = ParamSpec("P"), TypeVar("T")


@dataclass(frozen=True, order=True)
class Problem:
    """One thing that is wrong: where, what, why it matters, and how to mend it."""

    file: str
    line: int
    column: int
    path: str
    what: str
    why: str
    mend: str

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"

    def __str__(self) -> str:
        path = f"{self.path}: " if self.path else ""
        return f"{self.place}: {path}{self.what}; {self.why}; {self.mend}"


@dataclass
class Places:
    """Where each key and value of a file stands: line and column; of a scalar also where in the text."""

    keys: dict[Path_, tuple[int, int]] = field(default_factory=dict)
    values: dict[Path_, tuple[int, int]] = field(default_factory=dict)
    spans: dict[Path_, tuple[int, int]] = field(default_factory=dict)


@dataclass
class Source:
    """One YAML file: its data, and where each key and value of it stands."""

    file: str
    text: str
    data: Any = None
    problems: list[Problem] = field(default_factory=list)

    @cached_property
    def places(self) -> Places:
        """Found when they are first asked for: a file in which nothing is wrong needs none."""
        builder = _Builder(self)
        with suppress(Refused, yaml.YAMLError):
            builder.document()
        return builder.places

    @property
    def keys(self) -> dict[Path_, tuple[int, int]]:
        return self.places.keys

    def problem(self, path: Path_, what: str, why: str, mend: str, *, at: tuple[int, int] | None = None) -> Problem:
        return Problem(self.file, *(at or self.position(path)), dotted(path), what, why, mend)

    def position(self, path: Path_) -> tuple[int, int]:
        """Where the value at `path` begins; if there is none, where the nearest thing above it does."""
        places = self.places
        while path and path not in places.values and path not in places.keys:
            path = path[:-1]
        return places.values.get(path) or places.keys.get(path) or (1, 1)

    def find(self, path: Path_, quoted: str, nth: int = 0) -> tuple[int, int]:
        """Where the n-th `quoted` in the text at `path` stands; the text's beginning if folding hides it."""
        begin, end = self.places.spans.get(path, (0, 0))
        at = begin - 1
        for _ in range(nth + 1):
            at = self.text.find(quoted, at + 1, end)
            if at < 0:
                return self.position(path)
        return self.text.count("\n", 0, at) + 1, at - self.text.rfind("\n", 0, at)


def dotted(path: Path_) -> str:
    """("tradeoffs", 2, "evidence") → tradeoffs[2].evidence"""
    return "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path).lstrip(".")


@dataclass(frozen=True)
class Measured:
    """A record, and what reading it told. `own` marks a run of the reader's own machine, not committed."""

    name: str
    record: Record
    own: bool
    stale: bool


@dataclass(frozen=True)
class Catalogue:
    """Everything that the pages are made of. Files that do not fit their model are missing from it."""

    patterns: dict[str, Pattern]
    terms: dict[str, Term]
    references: dict[str, Reference]
    vocabulary: Vocabulary | None
    records: list[Measured]
    site_url: str
    claims: dict[str, Claim] = field(default_factory=dict)
    sources: dict[str, Source] = field(default_factory=dict, compare=False, repr=False)
    broken: frozenset[str] = frozenset()  # names of files that exist but do not fit their model
    recipes: dict[str, code.Listing] = field(default_factory=dict, repr=False)  # by pattern
    teachers: dict[str, code.Listing] = field(default_factory=dict, repr=False)  # by platform

    def source(self, kind: str, slug: str) -> Source:
        return self.sources[f"{kind}/{slug}.yml"]

    def has_pattern(self, slug: str) -> bool:
        """Whether a file may name it: it has a page, or one that has to be mended first, or is planned.

        Which are planned nobody knows while the vocabulary is missing or has to be mended itself.
        """
        words = self.vocabulary
        return words is None or slug in self.patterns or slug in self.broken or slug in words.planned

    def has_term(self, slug: str) -> bool:
        return slug in self.terms or slug in self.broken

    @cached_property
    def records_by_pattern(self) -> dict[str, list[Measured]]:
        found: dict[str, list[Measured]] = {}
        for measured in self.records:
            found.setdefault(measured.record.pattern, []).append(measured)
        return found

    @cached_property
    def labels(self) -> dict[str, str]:
        """Short names of the works: “Kim and Rush 2016”."""
        return labels(self.references)


def without_collection(act: Callable[P, T]) -> Callable[P, T]:
    """Nothing that a catalogue is made of is garbage, and looking for some takes longer than reading it.

    Afterwards all of it belongs to the oldest generation, which is looked through least often.
    """

    @wraps(act)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        enabled = gc.isenabled()
        gc.disable()
        try:
            return act(*args, **kwargs)
        finally:
            gc.freeze()
            gc.unfreeze()
            if enabled:
                gc.enable()

    return call


@without_collection
def read(root: Path, own_records: Path | None = None) -> tuple[Catalogue, list[Problem]]:
    """Read everything under `root`. The problems are those of single files; see check.py for the rest."""
    read_file = partial(parse_file, root=root)
    sources = {source.file: source for source in each(read_file, list(_yaml_files(root)))}
    problems: list[Problem] = []
    found: dict[str, dict[str, Any]] = {"patterns": {}, "glossary": {}}
    models = {"patterns": Pattern, "glossary": Term}
    shared: dict[str, Any] = {}
    broken: set[str] = set()
    for path in _misplaced(root):
        why, mend = "only what lies in patterns/ and glossary/ themselves is read", f"move it to {path.parts[0]}/"
        problems.append(Problem(path.as_posix(), 1, 1, "", "is in a folder of its own", why, mend))
    for name in (VOCABULARY, REFERENCES):
        if name not in sources:
            why, mend = "patterns and terms look up their words and works there", "restore it"
            problems.append(Problem(name, 1, 1, "", "the file is missing", why, mend))
    for name, source in sources.items():
        folder, stem = name.split("/")[0], Path(name).stem
        value, wrong = validate(source, SHARED.get(name) or models[folder])
        problems += wrong
        if value is None:
            broken.add(stem)
        elif name in SHARED:
            shared[name] = value
        else:
            found[folder][stem] = value
    records, wrong = _read_records(root, own_records)
    catalogue = Catalogue(
        patterns=found["patterns"],
        terms=found["glossary"],
        references=shared.get(REFERENCES, {}),
        vocabulary=shared.get(VOCABULARY),
        records=records,
        site_url=site_url(root),
        claims=shared.get(CLAIMS, {}),
        sources=sources,
        broken=frozenset(broken),
        recipes=code.recipes(),
        teachers=code.teachers(),
    )
    return catalogue, sorted(problems + wrong)


def _yaml_files(root: Path) -> Iterator[Path]:
    for folder in ("patterns", "glossary"):
        yield from sorted(path for path in (root / folder).glob("*.y*ml") if path.is_file())


def _misplaced(root: Path) -> Iterator[Path]:
    for folder in ("patterns", "glossary"):
        yield from sorted(path.relative_to(root) for path in (root / folder).glob("*/**/*.y*ml"))


def site_url(root: Path) -> str:
    """The site's address, from its one home, mkdocs.yml. Composing builds no objects."""
    path = root / "mkdocs.yml"
    if not path.exists():
        return "/"
    node = yaml.compose(path.read_text("utf-8"), Loader=LOADER)
    for key, value in node.value:
        if key.value == "site_url":
            return value.value.rstrip("/") + "/"
    return "/"


def _read_records(root: Path, own: Path | None) -> tuple[list[Measured], list[Problem]]:
    """Committed records, then one's own; an own run that has been committed since is told once."""
    records: list[Measured] = []
    problems: list[Problem] = []
    files = [(path, path.stem, False) for path in sorted((root / RECORDS).glob("*.json"))]
    if own and not own.is_dir():
        mend = "pass the folder of a run, or one that holds such folders or records"
        why = "nothing of yours can be shown"
        problems.append(Problem(str(own), 1, 1, "", "there is no such folder of records", why, mend))
    elif own:
        files += [(path, name, True) for path, name in _own_files(own)]
    for path, name, is_own in files:
        file = path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
        if not re.fullmatch(r"[\w.+-]+", name):
            what, why = f"{_show(name)} is no name for a record", "it is a part of an address"
            mend = "use letters, digits, dots and hyphens"
            problems.append(Problem(file, 1, 1, "", what, why, mend))
            continue
        try:
            record = record_module.load(path)
        except (RecordError, OSError, UnicodeDecodeError) as error:
            what = str(error).removeprefix(f"{path}: ").removesuffix(RECORD_MEND).rstrip("; ")
            problems.append(Problem(file, 1, 1, "", what, "a record is shown whole or not at all", RECORD_MEND))
            continue
        if not any(record == other.record for other in records if other.record.date == record.date):
            known = record.pattern in RECIPES
            stale = not known or record.code_sha256 != code_sha256(record.pattern, task=record.task.name)
            records.append(Measured(name, record, is_own, stale))
    return records, problems


def _own_files(folder: Path) -> list[tuple[Path, str]]:
    """Records by name: the folder's own record.json, or those of the runs inside it, or whatever JSON it holds."""
    if (folder / "record.json").is_file():
        return [(folder / "record.json", folder.name)]
    if runs := sorted(folder.glob("*/record.json")):
        return [(path, path.parent.name) for path in runs]
    return [(path, path.stem) for path in sorted(folder.glob("*.json"))]


RECORD_MEND = "write it again with `distill run --record`"
code_sha256 = cache(record_module.code_sha256)


# -------------------------------------------------------------------------------------------- YAML to data


class Refused(Exception):
    """Something that stops the reading of one file."""

    def __init__(
        self, mark: yaml.Mark | None = None, what: str = "", why: str = "", mend: str = "", path: Path_ = ()
    ) -> None:
        self.at = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        self.what, self.why, self.mend, self.path = what, why, mend, path


def parse_file(path: Path, root: Path) -> Source:
    name = path.relative_to(root).as_posix()
    try:
        if path.suffix != ".yml":
            why = "an entry is named after its slug, with .yml"
            raise Refused(None, f"the name ends in {path.suffix}", why, f"rename it to {path.stem}.yml")
        if path.stat().st_size > MAX_BYTES:
            what, why = f"the file is larger than {MAX_BYTES:,} bytes", "no page is as long"
            raise Refused(None, what, why, "write less, or several entries")
        raw = path.read_bytes()
        if raw.startswith(b"\xef\xbb\xbf"):
            why = "other readers take it for a part of the first key"
            raise Refused(None, "the file begins with a byte-order mark", why, "save it as UTF-8 without BOM")
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        column = error.start - raw.rfind(b"\n", 0, error.start)
        what, why = f"byte 0x{raw[error.start]:02x} is not UTF-8", "nobody can tell which letter it is"
        return Source(name, "", problems=[Problem(name, line, column, "", what, why, "save it as UTF-8")])
    except OSError as error:
        what, why = f"cannot be read: {error.strerror or error}", "its page would be missing"
        return Source(name, "", problems=[Problem(name, 1, 1, "", what, why, "see who may read it")])
    except Refused as error:
        return Source(name, "", problems=[Problem(name, 1, 1, "", error.what, error.why, error.mend)])
    return parse(text, name)


def parse(text: str, name: str) -> Source:
    """Read one YAML document. Its problems are in the source; data is None if it could not be read at all."""
    source = _parsed(text, name)
    if source.data is not None and (" #" in text or "\t#" in text):
        source.problems += _cut_off(source)
    return source


def _cut_off(source: Source) -> Iterator[Problem]:
    """Comments that may have been meant as text: after an unquoted one, on its line or where its next line would be."""
    text, places = source.text, source.places
    for path, (begin, end) in places.spans.items():
        comment = None if text.startswith(QUOTES, begin) else COMMENT.match(text, end)
        if not comment:
            continue
        at = comment.end() - 1
        line, column = text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)
        item = INDENT.match(text, text.rfind("\n", 0, begin) + 1)
        indent = places.keys[path][1] if path in places.keys else len(item[0]) + 1
        if "\n" not in comment[0] or column > indent:
            said = _show(text[at:].partition("\n")[0].strip())
            mend = "put the text in quotes, or the comment on a line above"
            yield source.problem(path, f"{said} is a comment, no text", "nobody would see it", mend, at=(line, column))


def _parsed(text: str, name: str) -> Source:
    source = Source(name, text)
    try:
        source.data = _data(text)
        return source
    except (Refused, yaml.YAMLError):
        pass  # read it again, slower, to say what is wrong and where
    try:
        if tab := TAB.search(text):
            line, column = text.count("\n", 0, tab.start()) + 1, tab.end() - tab.start()
            what, why = "a tab in the indentation", "YAML cannot tell how deep it goes"
            source.problems.append(Problem(name, line, column, "", what, why, "indent with spaces"))
            return source
        builder = _Builder(source)
        source.places = builder.places
        source.data = builder.document()
    except Refused as error:
        source.problems.append(source.problem(error.path, error.what, error.why, error.mend, at=error.at))
    except yaml.MarkedYAMLError as error:
        unclosed = "end of stream" in f"{error.problem}"  # what was not closed began where the context is
        mark = (unclosed and error.context_mark) or error.problem_mark or error.context_mark
        at = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        what = f"not valid YAML: {error.problem}"
        source.problems.append(source.problem((), what, UNREAD, _yaml_mend(error), at=at))
    except yaml.YAMLError as error:
        source.problems.append(source.problem((), f"not valid YAML: {error}", UNREAD, "remove that character"))
    return source


UNREAD = "nothing after it can be read"


def _yaml_mend(error: yaml.MarkedYAMLError) -> str:
    about = f"{error.problem} {error.context}"
    if "mapping values" in about:
        return "put a text that contains `: ` in quotes"
    if "cannot start any token" in about:
        return "put a text that begins with @, ` or % in quotes"
    if "alphabetic or numeric" in about:
        return "put a text that begins with * or & in quotes"
    return "see that indentation, quotes and brackets match here and just above"


TAB = re.compile(r"^ *\t", re.M)
COMMENT = re.compile(r"[ \t\r]*(?:\n[ \t\r]*)*#")
INDENT = re.compile(r" *")
QUOTES = ('"', "'", "|", ">")
"""What a text begins with that ends as it says, not with a comment."""
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _data(text: str) -> Any:
    """The data of a text in which nothing is wrong. Whatever _Builder would complain of is refused without a word."""
    if "\t" in text and TAB.search(text):
        raise Refused
    loader = LOADER(text)
    try:
        loader.get_event()  # the stream's start
        if type(loader.get_event()) is yaml.DocumentStartEvent:
            data = _node(loader.get_event, loader.get_event(), 0)
            loader.get_event()  # the document's end
            if type(loader.get_event()) is yaml.StreamEndEvent:
                return data
    finally:
        loader.dispose()
    raise Refused


def _node(next_event: Callable[[], yaml.Event], event: yaml.Event, depth: int) -> Any:
    if depth > MAX_DEPTH or event.anchor or event.tag not in (None, "!"):
        raise Refused
    if type(event) is yaml.ScalarEvent:
        if CONTROL.search(event.value):
            raise Refused
        return core(event.value) if event.implicit[0] else event.value
    if type(event) is yaml.SequenceStartEvent:
        items = []
        while type(event := next_event()) is not yaml.SequenceEndEvent:
            items.append(_node(next_event, event, depth + 1))
        return items
    data: dict[str, Any] = {}
    while type(event := next_event()) is not yaml.MappingEndEvent:
        if type(event) is not yaml.ScalarEvent or event.anchor or event.tag:
            raise Refused
        if event.value in data or event.value == "<<" or CONTROL.search(event.value):
            raise Refused
        data[event.value] = _node(next_event, next_event(), depth + 1)
    return data


class _Builder:
    """Turns the events of one document into plain data, and notes where each piece stands."""

    def __init__(self, source: Source) -> None:
        self.source, self.places = source, Places()
        self.events = yaml.parse(source.text, Loader=LOADER)

    def document(self) -> Any:
        next(self.events)  # the stream's start
        start = next(self.events)
        if isinstance(start, yaml.StreamEndEvent):
            raise Refused(None, *EMPTY)
        data = self.node(next(self.events), ())
        next(self.events)  # the document's end
        after = next(self.events)
        if not isinstance(after, yaml.StreamEndEvent):
            why = "an entry is one file, and a file one entry"
            raise Refused(after.start_mark, "a second document begins", why, "make it a file of its own")
        return data

    def node(self, event: yaml.Event, path: Path_) -> Any:
        mark = event.start_mark
        if isinstance(event, yaml.AliasEvent):
            raise Refused(mark, f"`*{event.anchor}` is an alias", SHORTHAND, "write the text out, or quote it", path)
        if event.anchor:
            raise Refused(mark, f"`&{event.anchor}` is an anchor", SHORTHAND, "write the text out, or quote it", path)
        if event.tag and event.tag != "!":
            raise Refused(
                mark, f"`{event.tag}` is a tag", "a file holds text alone", "remove it, or quote the text", path
            )
        if len(path) > MAX_DEPTH:
            why = "no field is as deep"
            raise Refused(mark, f"nested deeper than {MAX_DEPTH} levels", why, "flatten it", path[:3])
        self.places.values[path] = (mark.line + 1, mark.column + 1)
        if isinstance(event, yaml.ScalarEvent):
            self.places.spans[path] = (mark.index, event.end_mark.index)
            _refuse_control(event, path)
            return core(event.value) if event.implicit[0] else event.value
        if isinstance(event, yaml.SequenceStartEvent):
            return self.sequence(path)
        return self.mapping(path)

    def sequence(self, path: Path_) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            items.append(self.node(event, (*path, len(items))))
        return items

    def mapping(self, path: Path_) -> dict[str, Any]:
        data: dict[str, Any] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent) or event.anchor or event.tag:
                why = "fields are looked up by their names"
                raise Refused(event.start_mark, "a key must be plain text", why, "write a simple key", path)
            _refuse_control(event, path)
            key, here = event.value, (*path, event.value)
            if key == "<<" and event.implicit[0]:
                raise Refused(event.start_mark, "`<<` is a merge key", SHORTHAND, "write the keys out", path)
            at = (event.start_mark.line + 1, event.start_mark.column + 1)
            if key in data:
                what = f"duplicate key; the first is in line {self.places.keys[here][0]}"
                why = "one of the two would be lost"
                self.source.problems.append(self.source.problem(here, what, why, "keep one of them", at=at))
                self.node(next(self.events), (*path, f"{key} again"))
                continue
            self.places.keys[here] = at
            data[key] = self.node(next(self.events), here)
        return data


def _refuse_control(event: yaml.ScalarEvent, path: Path_) -> None:
    if control := CONTROL.search(event.value):
        what = f"the text holds the control character U+{ord(control[0]):04X}"
        raise Refused(event.start_mark, what, "readers cannot see it", "write it without, or with a space", path)


EMPTY = ("the file is empty", "it has no page", "write the entry, or delete the file")
SHORTHAND = "each place must be readable by itself"
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff]")
"""What XML cannot hold, what some readers take for a line's end, and what shows text in another order than it has."""
NULL = {"", "~", "null", "Null", "NULL"}
BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
NUMERIC = frozenset("+-.0123456789")
FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


WORD = re.compile(r"\.(?=[in])", re.I)
"""The dot of `.inf` and `.nan`, which Python writes without."""


def core(text: str) -> Any:
    """What an unquoted scalar means in YAML 1.2's core schema. Numbers keep their spelling."""
    if text in NULL:
        return None
    if text in BOOL:
        return BOOL[text]
    if text[0] in NUMERIC and (INT.fullmatch(text) or FLOAT.fullmatch(text)):
        return Number(text)
    return text


class Number(float):
    """An unquoted number. No field of the models is one, so it exists to be complained about."""

    def __new__(cls, text: str) -> Number:
        if re.match("0[ox]", text):
            value = int(text, 0)
            value = value if value.bit_length() < 1024 else math.inf  # no float is as large
        else:
            value = float(WORD.sub("", text))
        number = super().__new__(cls, value)
        number.text = text
        return number

    text: str

    def __getnewargs__(self) -> tuple[str]:
        return (self.text,)


# ------------------------------------------------------------------------------------------ data to models


@cache
def _adapter(model: Any) -> TypeAdapter:
    return TypeAdapter(model)


def validate(source: Source, model: Any) -> tuple[Any, list[Problem]]:
    """Fit the source's data to `model`; None and the problems if it does not fit."""
    if source.data is None:
        return None, source.problems or [source.problem((), *EMPTY)]
    try:
        return _adapter(model).validate_python(source.data), source.problems
    except ValidationError as error:
        found = [_explain(source, detail, model) for detail in error.errors(include_url=False)]
        return None, source.problems + found


DATES = "dates are sorted as they stand"
SHAPES = {  # pattern → what is wrong with a text that does not match it, why, and the mend
    r"^[a-z0-9]+(-[a-z0-9]+)*$": (
        "is not a slug",
        "it is a part of addresses",
        "use small letters, digits and single hyphens",
    ),
    r"^[a-z][a-z0-9_]*$": (
        "is not a key",
        "it is looked up by this name",
        "use small letters, digits and underscores, a letter first",
    ),
    r"^\d{4}-\d{2}-\d{2}$": ("is not a date", DATES, "write it as 2026-11-22"),
    r"^\d{4}(-\d{2}(-\d{2})?)?$": ("is not a date", DATES, 'write it as "2026", "2026-11" or 2026-11-22'),
    r"^\d+\.\d+(\.\d+)?$": ("is not a version", "versions are compared number by number", 'write it as "1.0"'),
    r"^https?://[^\s<>\"]+$": ("is not an address", "readers follow it", "begin it with https://"),
    r"^10\.\S+$": ("is not a DOI", "its address is made of it", "begin it with 10., without https://doi.org/"),
    r"^[^\n]+$": ("is not one line", "it stands in one line of a page", "remove the line breaks"),
}
assert {t.__metadata__[0].pattern for t in (Slug, Key, Date, PartialDate, Version, Url)} <= SHAPES.keys()


def _explain(source: Source, error: ErrorDetails, model: Any) -> Problem:
    """A pydantic error as place, what and mend."""
    path = tuple(p for p in error["loc"] if p != "[key]")
    kind, given, context = error["type"], error["input"], error.get("ctx", {})
    key_at = source.keys.get(path) if error["loc"][-1:] == ("[key]",) else None
    match kind:
        case "missing":
            about = describe(model, path)
            return source.problem(path, "missing", NEEDED, f"add it: {about}" if about else "add it")
        case "extra_forbidden":
            names = known_keys(model, path[:-1])
            mend = nearest(str(path[-1]), names) or f"known here: {', '.join(names)}"
            return source.problem(path, "unknown key", "nothing would show it", mend, at=source.keys.get(path))
        case "enum":
            choices = re.findall(r"'([^']+)'", context["expected"])
            what = "empty" if given is None else f"{_show(given)} is not among its values"
            mend = nearest(str(given), choices) or f"choose one of {', '.join(choices)}"
            return source.problem(path, what, NEEDED if given is None else "no other has a meaning", mend)
        case "string_pattern_mismatch":
            what, why, mend = SHAPES[context["pattern"]]
            return source.problem(path, f"{_show(given)} {what}", why, mend, at=key_at)
        case "string_type" | "list_type" | "dict_type" | "model_type" | "model_attributes_type":
            wanted = {"string_type": "text", "list_type": "a list"}.get(kind, "a mapping of keys to values")
            keys = known_keys(model, path) if path else []
            about = describe(model, path) + f" (keys: {', '.join(keys)})" * bool(keys)
            return source.problem(path, *_wrong_type(given, wanted, about))
        case "string_too_short":
            return source.problem(path, "empty", NEEDED, f"write text: {describe(model, path)}")
        case "string_too_long":
            what, why = f"longer than {context['max_length']} characters", "it stands in one line of a page"
            return source.problem(path, what, why, "shorten it", at=key_at)
        case "too_short":
            count = context["actual_length"]
            what = f"has {count} {'entry' if count == 1 else 'entries'} and needs at least {context['min_length']}"
            return source.problem(path, what, NEEDED, f"add: {describe(model, path)}")
        case "one_line":
            mend = "write it as one line, or fold it with >-"
            return source.problem(path, "more than one line", "it stands in one line of a page", mend)
        case "no_day":
            why = "readers go by it"
            return source.problem(path, f"{_show(given)} is no day of the calendar", why, "write the day it was")
        case "author":
            mend = "give a person's `family` or an organisation's `literal`"
            return source.problem(path, error["msg"], "one of the two is shown", mend)
    return source.problem(path, error["msg"], NEEDED, f"see `catalogue schema`: {describe(model, path)}")


NEEDED = "the page has a place for it"
AS_IT_STANDS = "text is never converted, or 1.10 would become 1.1"


def _wrong_type(given: Any, wanted: str, about: str) -> tuple[str, str, str]:
    """What, why and mend."""
    mend = f"write {wanted}: {about}" if about else f"write {wanted}"
    if given is None:
        return "empty", NEEDED, mend
    if isinstance(given, Number):
        return f"{given.text} is read as a number", AS_IT_STANDS, f'put it in quotes: "{given.text}"'
    if isinstance(given, bool):
        text = str(given).lower()
        return f"{text} is read as true or false", AS_IT_STANDS, f'put it in quotes: "{text}"'
    name = "a list" if isinstance(given, list) else "a mapping" if isinstance(given, dict) else "text"
    return f"is {name}, not {wanted}", NEEDED, mend


def _show(value: Any) -> str:
    text = value.text if isinstance(value, Number) else value if isinstance(value, str) else json.dumps(value)
    text = text if len(text) <= SHOWN else text[:SHOWN] + "…"
    return f"“{text}”" if isinstance(value, str) else text


SHOWN = 80
"""As much of a text as a message repeats."""


def _field_at(model: Any, path: Path_) -> tuple[Any, str]:
    """The annotation at `path`, and the description of the field nearest to it."""
    about = ""
    for part in path:
        if isinstance(model, type) and issubclass(model, BaseModel):
            for name, info in model.model_fields.items():
                if part == (info.alias or name):
                    model, about = info.annotation, info.description or ""
                    break
            else:
                return None, ""
        else:
            inner = [a for a in getattr(model, "__args__", ()) if a is not type(None)]
            model = inner[-1] if inner else None
        while getattr(model, "__metadata__", None):  # Annotated[X, …]
            model = model.__origin__
    return model, about


def describe(model: Any, path: Path_) -> str:
    return _field_at(model, path)[1]


def known_keys(model: Any, path: Path_) -> list[str]:
    found = _field_at(model, path)[0]
    if isinstance(found, type) and issubclass(found, BaseModel):
        return [info.alias or name for name, info in found.model_fields.items()]
    return []
