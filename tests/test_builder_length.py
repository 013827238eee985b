"""A pattern's page is long enough to decide by and short enough to be read."""

from __future__ import annotations

from collections import Counter

import pytest
from builder_samples import real_catalogue

from builder.check import texts
from builder.models import Pattern
from builder.prose import plain

WORDS = range(900, 1801)
"""Of the text that belongs to one pattern alone: what its file says in words, the diagram's included. Citations and a
record's figures are no words, what all pages share (answers, axes, code) is not its own, and its history only grows."""

CATALOGUE = real_catalogue()


def words(pattern: Pattern) -> Counter[str]:
    """How many words each part of the file has."""
    found: Counter[str] = Counter()
    for (part, *_), text in texts(pattern):
        if part != "history":
            found[str(part)] += len(plain(text).split())
    return found


@pytest.mark.parametrize("slug", CATALOGUE.patterns)
def test_a_page_has_neither_too_few_words_nor_too_many(slug: str) -> None:
    found = words(CATALOGUE.patterns[slug])
    assert found.total() in WORDS, f"patterns/{slug}.yml has {found.total()} words; {dict(found.most_common())}"


def test_what_counts_as_a_word() -> None:
    pattern = CATALOGUE.patterns["sequence-level"]
    counted = words(pattern)
    summary = "A [student](term:student-model) kept **two** of `5` [[record: retention]] [@hinton2015, sec. 2]."
    changed = words(pattern.model_copy(update={"summary": type(pattern.summary)(summary)}))
    assert changed["summary"] == 6  # A student kept two of 5.
    assert changed - Counter(summary=6) == counted - Counter(summary=counted["summary"])
    assert "history" not in counted and counted["architecture"] > len(plain(pattern.architecture.explanation).split())
