"""schema.org's description of each page, as JSON-LD (https://schema.org). Pure: it returns plain data."""

from __future__ import annotations

from functools import cache
from typing import Any

from implementations.registry import RECIPES

from .bibliography import OTHERS
from .data import citation, claim_url, page_path, page_url, record_path, records_of, updated, works
from .load import Catalogue, Measured
from .models import Claim, Pattern, Reference, ReferenceType, Term
from .prose import plain

CONTEXT = {"@context": "https://schema.org"}
WORKS = {
    ReferenceType.BOOK: "Book",
    ReferenceType.CHAPTER: "Chapter",
    ReferenceType.REPORT: "Report",
    ReferenceType.WEBPAGE: "WebPage",
    ReferenceType.POST_WEBLOG: "BlogPosting",
    ReferenceType.SOFTWARE: "SoftwareApplication",
    ReferenceType.DATASET: "Dataset",
    ReferenceType.STANDARD: "CreativeWork",
}


def pattern(catalogue: Catalogue, pattern: Pattern) -> dict[str, Any]:
    """A TechArticle, the code that runs it, and a Dataset for each committed record."""
    measured = [m for m in records_of(catalogue, pattern.slug) if not m.own and not m.record.smoke]
    code = [_code(catalogue, pattern)] if pattern.slug in RECIPES else []
    return {**CONTEXT, "@graph": [_article(catalogue, pattern), *code, *(_dataset(catalogue, m) for m in measured)]}


def _article(catalogue: Catalogue, pattern: Pattern) -> dict[str, Any]:
    page, cite = page_url(catalogue, page_path(pattern)), citation(catalogue, page_path(pattern))
    return {
        "@type": "TechArticle",
        "@id": page,
        "url": page,
        "headline": plain(pattern.title),
        "alternateName": list(pattern.aliases),
        "description": plain(pattern.summary),
        "datePublished": pattern.created,
        "dateModified": updated(catalogue, pattern),
        "version": pattern.history[0].version,
        "keywords": list(pattern.tags),
        "inLanguage": "en",
        "isPartOf": {"@type": "WebSite", "name": cite.source, "url": page_url(catalogue, "index.md")},
        "citation": [_work(catalogue.references[key]) for key in works(pattern) if key in catalogue.references],
        **_rights(catalogue),
    }


def _rights(catalogue: Catalogue) -> dict[str, Any]:
    cite = citation(catalogue, "index.md")
    author = {"@type": "Organization", "name": cite.author}
    return {"author": author, "publisher": author, "license": f"https://spdx.org/licenses/{cite.licence}.html"}


@cache
def _work(ref: Reference) -> dict[str, Any]:
    """A work cited. An author list that is cut short has no place in schema.org, so it ends where it is cut."""
    people = [
        {
            "@type": "Person" if a.family else "Organization",
            "name": " ".join(filter(None, (a.given, a.family or a.literal))),
        }
        for a in ref.author
        if a.literal != OTHERS
    ]
    return {
        "@type": WORKS.get(ref.type, "ScholarlyArticle"),
        "name": ref.title,
        "author": people,
        "datePublished": ref.issued,
        "url": ref.URL,
    }


def _code(catalogue: Catalogue, pattern: Pattern) -> dict[str, Any]:
    page = page_url(catalogue, page_path(pattern))
    return {
        "@type": "SoftwareSourceCode",
        "@id": f"{page}#implementation-examples",
        "url": f"{page}#implementation-examples",
        "name": f"Recipe of {plain(pattern.title)}",
        "description": plain(pattern.implementation.task),
        "programmingLanguage": "Python",
        "runtimePlatform": "PyTorch",
        "codeSampleType": "full solution",
        "mainEntityOfPage": {"@id": page},
        **_rights(catalogue),
    }


def _dataset(catalogue: Catalogue, measured: Measured) -> dict[str, Any]:
    record, address = measured.record, page_url(catalogue, record_path(measured))
    pattern = catalogue.patterns[record.pattern]
    rights = _rights(catalogue)
    day = f"{record.date:%Y-%m-%d}"
    return {
        "@type": "Dataset",
        "@id": address,
        "url": address,
        "name": f"{plain(pattern.title)} on {record.platform}, measured on {day}",
        "description": f"What one run of {plain(pattern.title)} measured: quality of every arm with 95% intervals, "
        f"latency, tokens per second, memory, tokens used and time. Teacher {record.teacher.name}, student "
        f"{record.student.name}. Task: {record.task.title}.",
        "dateCreated": record.date.isoformat(),
        "datePublished": day,
        "measurementTechnique": record.command,
        "variableMeasured": sorted({m for arm in record.arms for values in arm.metrics.values() for m in values}),
        "distribution": {"@type": "DataDownload", "encodingFormat": "application/json", "contentUrl": address},
        "mainEntityOfPage": {"@id": page_url(catalogue, page_path(pattern))},
        "creator": rights["author"],
        "license": rights["license"],
    }


def term(catalogue: Catalogue, term: Term) -> dict[str, Any]:
    page = page_url(catalogue, page_path(term))
    return {
        **CONTEXT,
        "@type": "DefinedTerm",
        "@id": page,
        "url": page,
        "name": plain(term.term),
        "termCode": term.slug,
        "alternateName": list(term.aliases),
        "description": plain(term.short),
        "inDefinedTermSet": page_url(catalogue, "glossary/index.md"),
    }


def glossary(catalogue: Catalogue) -> dict[str, Any]:
    page = page_url(catalogue, "glossary/index.md")
    return {
        **CONTEXT,
        "@type": "DefinedTermSet",
        "@id": page,
        "url": page,
        "name": "Glossary of knowledge distillation",
        "description": "The terms of knowledge distillation, what people get wrong about them, and what to do.",
        "inLanguage": "en",
        "hasDefinedTerm": [
            {"@type": "DefinedTerm", "@id": address, "url": address, "name": plain(term.term)}
            for _, term in sorted(catalogue.terms.items())
            for address in [page_url(catalogue, page_path(term))]
        ],
    }


def claims(catalogue: Catalogue) -> dict[str, Any]:
    """A ClaimReview for each claim: who claims it stands in its text, the verdict is ours."""
    return {**CONTEXT, "@graph": [_review(catalogue, slug, claim) for slug, claim in catalogue.claims.items()]}


def _review(catalogue: Catalogue, slug: str, claim: Claim) -> dict[str, Any]:
    address = claim_url(catalogue, slug)
    return {
        "@type": "ClaimReview",
        "@id": address,
        "url": address,
        "name": plain(claim.title),
        "claimReviewed": plain(claim.claim),
        "reviewRating": {"@type": "Rating", "alternateName": claim.verdict},
        "reviewBody": plain(claim.takeaway),
        "datePublished": claim.checked,
        "inLanguage": "en",
        "citation": [_work(catalogue.references[key]) for key in works(claim) if key in catalogue.references],
        **_rights(catalogue),
    }
