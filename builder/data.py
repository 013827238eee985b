"""The catalogue as data: what its JSON files hold, where every file stands, and the schemas they follow. Pure.

The models below say what is published on top of what is written. The files are built from the catalogue's own
models; the tests hold each file against its schema.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from pydantic import AwareDatetime, Field, TypeAdapter
from pydantic_core import to_json

from implementations.record import Estimate, Record, Verdict
from implementations.registry import PLATFORMS, RECIPES, CellStatus, cell

from . import find, payback
from .bibliography import written
from .check import headline, texts
from .load import SCHEMAS, SOURCES, Catalogue, Measured
from .models import (
    Citation,
    Claim,
    Criterion,
    Date,
    Difficulty,
    Implementation,
    Key,
    OwnMeasurement,
    Pattern,
    PatternStatus,
    Plain,
    Prose,
    Reference,
    Slug,
    Strict,
    Support,
    Term,
    Url,
)
from .prose import Cite, nodes, plain

FEED, INDEX, CRITERIA, PRICES = "feed.xml", "index.json", "criteria.json", "prices.json"

PAGES = {
    "choose": "choose.md",
    "patterns": "patterns/index.md",
    "matrix": "matrix.md",
    "compare": "compare.md",
    "relations": "relations.md",
    "payback": "payback.md",
    "results": "results.md",
    "glossary": "glossary/index.md",
    "claims": "claims.md",
    "references": "references.md",
}
"""Pages that are about more than one pattern or term."""

# ------------------------------------------------------------------------------------------------ published models


class Published(Strict):
    schema_: Url = Field(alias="$schema", description="the JSON Schema of this file")


class Cell(Strict):
    status: CellStatus = Field(description="how the pattern runs there, computed from what the platform gives")
    note: Prose = Field(description="what to know when the teacher lives there")
    download: Url | None = Field(description="the pattern there as a project of its own, zipped; null if not yet")


class PublishedImplementation(Implementation):
    platforms: dict[Slug, Cell] = Field(description="platform → how the pattern runs there")


class RecordEntry(Strict):
    """One record in short."""

    url: Url = Field(description="the whole record")
    committed: bool = Field(description="false for a run of the reader's own machine")
    smoke: bool = Field(description="true for a shrunk run, whose figures mean nothing")
    stale: bool = Field(description="whether the code has changed since")
    date: AwareDatetime = Field(description="when it was measured")
    platform: Slug = Field(description="where the teacher was")
    retention: Estimate = Field(description="the student's quality over the teacher's, with its 95% interval")
    task: str = Field(description="what was asked; the pattern's own task, unless settings name another")
    settings: dict[str, str] = Field(description="options that make it another experiment than the recipe's own")
    speedup: float | None = Field(
        description="student over teacher, tokens per second; null if the teacher was elsewhere or answers are labels"
    )
    latency_ratio: float | None = Field(
        description="teacher over student, median latency of one answer; null if the teacher was elsewhere"
    )
    verdict: Verdict = Field(description="whether to distil, and why")


class PublishedPattern(Pattern, Published):
    """patterns/<slug>.json: the pattern as written, with what is computed about it."""

    implementation: PublishedImplementation = Field(description="the running example, and every platform")
    citation: Citation = Field(description="how to cite it")
    records: list[RecordEntry] = Field(description="what was measured; the record that the text quotes comes first")
    references: dict[Key, Reference] = Field(description="the works that it cites, in the order of their mention")


class PublishedTerm(Term, Published):
    """glossary/<slug>.json: the term as written, with how to cite it."""

    citation: Citation = Field(description="how to cite it")


class RecordedMeasurement(OwnMeasurement):
    record: Url | None = Field(description="the record that the text quotes; null if none is committed")


class PublishedClaim(Claim):
    slug: Slug = Field(description="its anchor on the page of claims")
    url: Url = Field(description="where it can be read")
    measured: list[RecordedMeasurement] = Field(description="our own measurements of the same question")


class PublishedClaims(Published):
    """claims.json: every claim as written, with its address and the records that its own measurements quote."""

    citation: Citation = Field(description="how to cite them")
    claims: list[PublishedClaim] = Field(description="every claim, in the order of the page")
    references: dict[Key, Reference] = Field(description="the works that they cite, in the order of their mention")


class Options(Strict):
    dimension: Key = Field(description="a dimension of the vocabulary")
    values: list[Key] = Field(description="every answer that it has")


class Reason(Options):
    use: bool = Field(description="true for a reason to use the pattern, false for one to leave it")
    values: list[Key] = Field(description="answers, any of which is this reason")


class Criteria(Published):
    """criteria.json: what the chooser weighs, as keys; their texts are in the patterns and the vocabulary."""

    dimensions: list[Options] = Field(description="the questions, in their order")
    advice: list[dict[Key, list[Key]]] = Field(description="what the vocabulary's advice holds for, in its order")
    steps: dict[Slug, int] = Field(description="pattern → how many simpler ones it builds on; the simpler comes first")
    patterns: dict[Slug, list[Reason]] = Field(description="pattern → reasons to use it, then reasons to leave it")


class LongRates(Strict):
    above: int = Field(description="tokens of a prompt, above which the whole request has these rates")
    input: float = Field(description="of a prompt")
    output: float = Field(description="of an answer")


class TeacherPrice(Strict):
    """US dollars for a million tokens."""

    teacher: str = Field(description="as `--teacher` of `distill` names it")
    platform: str = Field(description="the platform's title")
    input: float = Field(description="of a prompt")
    output: float = Field(description="of an answer")
    long: LongRates | None = Field(description="the rates of long prompts, where they have their own")
    batch: float = Field(description="what a batch job costs of the full price")
    read: Date = Field(description="the last day on which the price is known to have stood at its source")
    until: Date | None = Field(description="the last day of a price that is promised for a time")
    source: Url = Field(description="where it was read")
    note: str = Field(description="what else to know of it")


class Prices(Published):
    """prices.json: what teachers cost, as the page on break-even uses it."""

    teachers: list[TeacherPrice] = Field(description="every model whose price is known")


class Addresses(Strict):
    html: Url = Field(description="the page")
    json_: Url = Field(alias="json", description="the same as JSON, with every field")
    markdown: Url = Field(description="the same as plain Markdown")


class WorkAddresses(Strict):
    bibtex: Url = Field(description="the works cited, as BibTeX")
    csl: Url = Field(description="the works cited, as CSL-JSON")


class PatternAddresses(WorkAddresses, Addresses):
    pass


class PatternEntry(Strict):
    slug: Slug = Field(description="the last part of its address")
    title: str = Field(description="its name")
    summary: str = Field(description="what it does and for whom, in a sentence")
    aliases: list[Plain] = Field(description="other names; each leads to the page from patterns/")
    tags: list[Slug] = Field(description="short labels")
    status: PatternStatus = Field(description="draft, stable or retired")
    created: Date = Field(description="the day it was first published")
    updated: Date = Field(description="the day of its last change")
    when_to_use: list[Criterion] = Field(description="conditions under which it fits")
    when_not_to_use: list[Criterion] = Field(description="conditions under which it does not")
    platforms: dict[Slug, CellStatus] = Field(description="platform → how the pattern runs there")
    records: list[RecordEntry] = Field(description="what was measured")
    urls: PatternAddresses = Field(description="where it can be read")


class TermEntry(Strict):
    slug: Slug = Field(description="the last part of its address")
    term: str = Field(description="the term")
    short: str = Field(description="its meaning in a sentence")
    aliases: list[Plain] = Field(description="other names; each leads to the page from glossary/")
    tags: list[Slug] = Field(description="short labels")
    category: Key = Field(description="a category of the vocabulary")
    difficulty: Difficulty = Field(description="beginner, intermediate or advanced")
    created: Date = Field(description="the day it was first published")
    updated: Date = Field(description="the day of its last change")
    urls: Addresses = Field(description="where it can be read")


class ClaimEntry(Strict):
    slug: Slug = Field(description="its anchor on the page of claims")
    title: str = Field(description="the claim as a heading")
    verdict: Support = Field(description="what the primary source says of it")
    patterns: list[Slug] = Field(description="patterns that it is about")
    terms: list[Slug] = Field(description="terms that it is about")
    checked: Date = Field(description="the day its sources were last looked up")
    urls: Addresses = Field(description="where it can be read, with all other claims")


class Index(Published):
    """index.json: every pattern, term and claim in short, and where everything else is."""

    url: Url = Field(description="the catalogue's home page")
    updated: Date = Field(description="the day of the last change to a pattern or a term, record, or check of a claim")
    pages: dict[str, Url] = Field(description="the pages that are about more than one pattern or term")
    criteria: Url = Field(description="which answers speak for which pattern, as JSON")
    prices: Url = Field(description="what teachers cost, as JSON")
    feed: Url = Field(description="the changes, as an Atom feed")
    references: WorkAddresses = Field(description="every work that a page cites")
    schemas: dict[str, Url] = Field(description="kind of file → its JSON Schema")
    patterns: list[PatternEntry] = Field(description="every pattern, by slug")
    terms: list[TermEntry] = Field(description="every term, by slug")
    claims: list[ClaimEntry] = Field(description="every claim, by slug")


DATA: dict[str, Any] = {
    "schemas/pattern.json": PublishedPattern,
    "schemas/term.json": PublishedTerm,
    "schemas/claims.json": PublishedClaims,
    "schemas/criteria.json": Criteria,
    "schemas/prices.json": Prices,
    "schemas/index.json": Index,
    "schemas/record.json": Record,
    **{f"schemas/source/{kind}.json": model for kind, model in SOURCES.items()},
}


@cache
def schema(model: Any) -> dict[str, Any]:
    """Kept, as a preview asks for it at every change."""
    return TypeAdapter(model).json_schema()


def schema_files() -> dict[str, str]:
    return {f"{SCHEMAS}/{kind}.json": dumps(schema(model)) for kind, model in SOURCES.items()}


def modeline(kind: str) -> str:
    """The first line of a file, by which an editor finds its schema."""
    return f"# yaml-language-server: $schema=../{SCHEMAS}/{kind}.json"


# ------------------------------------------------------------------------------------------------------- addresses


def page_path(model: Pattern | Term) -> str:
    return f"{'patterns' if isinstance(model, Pattern) else 'glossary'}/{model.slug}.md"


def beside(path: str, ending: str) -> str:
    """A file that stands beside a page: `patterns/x.md` → `patterns/x.json`. The twin is `.txt`, for builders of
    sites take every `.md` for a page."""
    return path.removesuffix(".md") + ending


def page_url(catalogue: Catalogue, path: str) -> str:
    """The public address of a page or file."""
    return catalogue.site_url + (beside(path, ".html") if path.endswith(".md") else path)


def claim_url(catalogue: Catalogue, slug: str) -> str:
    return f"{page_url(catalogue, 'claims.md')}#{slug}"


def record_path(measured: Measured) -> str:
    return f"records/{'own/' if measured.own else ''}{measured.name}.json"


def archive_path(pattern: str, platform: str) -> str | None:
    """The pattern on the platform as a project of its own, see downloads.py; None where it does not run."""
    runs = status(pattern, platform) is not CellStatus.NOT_YET
    return f"downloads/{pattern}-{platform}.zip" if runs else None


def urls(catalogue: Catalogue, path: str, **endings: str) -> dict[str, str]:
    return {name: page_url(catalogue, beside(path, ending)) for name, ending in endings.items()}


TWINS = {"html": ".html", "json": ".json", "markdown": ".txt"}
WORKS = {"bibtex": ".bib", "csl": ".csl.json"}

# ----------------------------------------------------------------------------------------------------------- files


def files(catalogue: Catalogue) -> dict[str, str]:
    """Every JSON file of the site by path, but those of a pattern or a term, which stand beside its page."""
    out = {
        INDEX: dumps(index_data(catalogue)),
        CRITERIA: dumps({**_linked(catalogue, "criteria"), **find.criteria(catalogue)}),
        PRICES: dumps({**_linked(catalogue, "prices"), "teachers": payback.data()}),
    }
    if catalogue.claims:
        out["claims.json"] = dumps(claims_data(catalogue))
    for measured in catalogue.records:
        out[record_path(measured)] = measured.record.model_dump_json(indent=1) + "\n"
    for path, model in DATA.items():
        head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": page_url(catalogue, path)}
        out[path] = dumps({**head, **schema(model)})
    return out


def dumps(data: Any) -> str:
    return to_json(data, indent=1).decode() + "\n"


def _linked(catalogue: Catalogue, kind: str) -> dict[str, str]:
    return {"$schema": page_url(catalogue, f"schemas/{kind}.json")}


def term_data(catalogue: Catalogue, term: Term) -> dict[str, Any]:
    written = term.model_dump(mode="json", by_alias=True)
    return {**_linked(catalogue, "term"), **written, "citation": citation(catalogue, page_path(term)).model_dump()}


def pattern_data(catalogue: Catalogue, pattern: Pattern) -> dict[str, Any]:
    """The pattern as written, with what is computed about it."""
    data = pattern.model_dump(mode="json", by_alias=True)
    for slug, note in data["implementation"]["platforms"].items():
        archive = archive_path(pattern.slug, slug)
        data["implementation"]["platforms"][slug] = {
            "status": status(pattern.slug, slug),
            "note": note,
            "download": page_url(catalogue, archive) if archive else None,
        }
    return {
        **_linked(catalogue, "pattern"),
        **data,
        "citation": citation(catalogue, page_path(pattern)).model_dump(),
        "records": _records(catalogue, pattern),
        "references": _references(catalogue, works(pattern)),
    }


def claims_data(catalogue: Catalogue) -> dict[str, Any]:
    """Every claim as written, with its address and the records that its own measurements quote."""
    claims = []
    for slug, claim in catalogue.claims.items():
        data = claim.model_dump(mode="json")
        for item in data["measured"]:
            first = headline(catalogue, item["pattern"], item["task"])
            item["record"] = page_url(catalogue, record_path(first)) if first else None
        claims.append({"slug": slug, "url": claim_url(catalogue, slug), **data})
    return {
        **_linked(catalogue, "claims"),
        "citation": citation(catalogue, "claims.md").model_dump(),
        "claims": claims,
        "references": _references(catalogue, works(*catalogue.claims.values())),
    }


def _references(catalogue: Catalogue, keys: list[str]) -> dict[str, Any]:
    return {key: written(catalogue.references[key]) for key in keys if key in catalogue.references}


def index_data(catalogue: Catalogue) -> dict[str, Any]:
    """Every pattern, term and claim in short. Its texts are words alone; their markup is in the files of one each."""
    same = ("slug", "aliases", "tags", "created", "updated")
    patterns = [
        {
            **pattern.model_dump(mode="json", include={*same, "status"}),
            "title": plain(pattern.title),
            "summary": plain(pattern.summary),
            **{
                name: [item.criterion.model_dump(by_alias=True) for item in getattr(pattern, name)]
                for name in ("when_to_use", "when_not_to_use")
            },
            "platforms": {platform: status(slug, platform) for platform in PLATFORMS},
            "records": _records(catalogue, pattern),
            "urls": urls(catalogue, page_path(pattern), **TWINS, **WORKS),
        }
        for slug, pattern in sorted(catalogue.patterns.items())
    ]
    terms = [
        {
            **term.model_dump(mode="json", include={*same, "category", "difficulty"}),
            "term": plain(term.term),
            "short": plain(term.short),
            "urls": urls(catalogue, page_path(term), **TWINS),
        }
        for _, term in sorted(catalogue.terms.items())
    ]
    claims = [
        {
            **claim.model_dump(mode="json", include={"verdict", "patterns", "terms", "checked"}),
            "slug": slug,
            "title": plain(claim.title),
            "urls": {**urls(catalogue, "claims.md", **TWINS), "html": claim_url(catalogue, slug)},
        }
        for slug, claim in sorted(catalogue.claims.items())
    ]
    return {
        **_linked(catalogue, "index"),
        "url": page_url(catalogue, "index.md"),
        "updated": updated(catalogue),
        "pages": {
            name: page_url(catalogue, path) for name, path in PAGES.items() if catalogue.claims or name != "claims"
        },
        "criteria": page_url(catalogue, CRITERIA),
        "prices": page_url(catalogue, PRICES),
        "feed": page_url(catalogue, FEED),
        "references": urls(catalogue, "references.md", **WORKS),
        "schemas": {
            path.removeprefix("schemas/").removesuffix(".json"): page_url(catalogue, path) for path in sorted(DATA)
        },
        "patterns": patterns,
        "terms": terms,
        "claims": claims,
    }


def _records(catalogue: Catalogue, pattern: Pattern) -> list[dict[str, Any]]:
    return [
        {
            "url": page_url(catalogue, record_path(m)),
            "committed": not m.own,
            "smoke": m.record.smoke,
            "stale": m.stale,
            "date": m.record.date.isoformat(),
            "platform": m.record.platform,
            "retention": m.record.retention.model_dump(),
            "task": m.record.task.name,
            "settings": m.record.settings,
            "speedup": m.record.speedup,
            "latency_ratio": m.record.latency_ratio,
            "verdict": m.record.verdict.model_dump(mode="json"),
        }
        for m in records_of(catalogue, pattern.slug)
    ]


# ----------------------------------------------------------------------------------------- what is computed of them


def citation(catalogue: Catalogue, path: str) -> Citation:
    """How to cite a page that has its JSON beside it."""
    page = page_url(catalogue, path)
    publication = catalogue.vocabulary.publication.model_dump() if catalogue.vocabulary else {}
    links = {
        "canonical_url": page,
        "html_url": page,
        "json_url": page_url(catalogue, beside(path, ".json")),
    }
    return Citation.model_construct(**links, **publication)


def status(pattern: str, platform: str) -> CellStatus:
    """How a pattern runs on a platform: computed, never written."""
    if pattern not in RECIPES or platform not in PLATFORMS:
        return CellStatus.NOT_YET
    return cell(RECIPES[pattern], PLATFORMS[platform])


def records_of(catalogue: Catalogue, slug: str) -> list[Measured]:
    """A pattern's records: the one its text quotes first, then newest first; smoke runs last."""
    first = headline(catalogue, slug)
    found = catalogue.records_by_pattern.get(slug, [])
    return sorted(found, key=lambda m: (m is not first, m.record.smoke, -m.record.date.timestamp()))


def works(*models: Pattern | Term | Claim) -> list[str]:
    """Keys of the works that a page of ``models`` cites, in the order of their first mention."""
    return list(dict.fromkeys(key for model in models for key in _cited(model)))


@cache
def _cited(model: Pattern | Term | Claim) -> list[str]:
    """Kept, as half a dozen files of a pattern ask for it."""
    refs = [ref.reference for ref in model.refs] if isinstance(model, Term) else []
    citing = [text for _, text in texts(model) if "[@" in text]
    return [key for text in citing for node in nodes(text) if isinstance(node, Cite) for key, _ in node.works] + refs


def updated(catalogue: Catalogue, model: Pattern | Term | None = None) -> str:
    """The day of the last change: of one page with its records, or of the whole catalogue."""
    models = [model] if model else [*catalogue.patterns.values(), *catalogue.terms.values()]
    slugs = {m.slug for m in models if isinstance(m, Pattern)}
    measured = [f"{m.record.date:%Y-%m-%d}" for slug in slugs for m in catalogue.records_by_pattern.get(slug, [])]
    checked = [] if model else [claim.checked for claim in catalogue.claims.values()]
    return max([*(m.updated for m in models), *measured, *checked], default="1970-01-01")
