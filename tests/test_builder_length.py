"""A pattern's page is long enough to decide by and short enough to be read."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from builder_samples import copy_good, load, real_catalogue

from builder.check import WORDS_OF_PAGE, words
from builder.prose import plain

CATALOGUE = real_catalogue()


def test_the_limits() -> None:
    assert (min(WORDS_OF_PAGE), max(WORDS_OF_PAGE)) == (900, 1800)


@pytest.mark.parametrize("slug", CATALOGUE.patterns)
def test_a_page_has_neither_too_few_words_nor_too_many(slug: str) -> None:
    found = words(CATALOGUE.patterns[slug])
    assert found.total() in WORDS_OF_PAGE, f"patterns/{slug}.yml has {found.total()} words; {dict(found.most_common())}"


@pytest.mark.parametrize("status", ["draft", "stable", "retired"])
@pytest.mark.parametrize(("more", "fits"), [(699, False), (700, True), (1600, True), (1601, False)])
def test_only_a_stable_page_must_fit(status: str, more: int, fits: bool, tmp_path: Path) -> None:
    """The sample's page has 200 words with these."""
    root = copy_good(tmp_path)
    path = root / "patterns/sequence-level.yml"
    text = path.read_text("utf-8").replace("status: draft", f"status: {status}")
    has = words(load(root)[0].patterns["sequence-level"]).total()
    assert has < 200
    path.write_text(text.replace("task: A note", f"task: {'word ' * (200 - has + more)}A note"), "utf-8")
    problems = load(root)[1]
    assert [problem.file for problem in problems] == ["patterns/sequence-level.yml"] * (status == "stable" and not fits)
    assert all(problem.what.startswith(f"{200 + more:,} words") and problem.line == 1 for problem in problems)


def test_what_counts_as_a_word() -> None:
    pattern = CATALOGUE.patterns["sequence-level"]
    counted = words(pattern)
    summary = "A [student](term:student-model) kept **two** of `5` [[record: retention]] [@hinton2015, sec. 2]."
    changed = words(pattern.model_copy(update={"summary": type(pattern.summary)(summary)}))
    assert changed["summary"] == 6  # A student kept two of 5.
    assert changed - Counter(summary=6) == counted - Counter(summary=counted["summary"])
    assert "history" not in counted and counted["architecture"] > len(plain(pattern.architecture.explanation).split())
