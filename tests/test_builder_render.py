"""The renderer: pure, the same every time, honest about what was measured, and safe with hostile content."""

from __future__ import annotations

import builtins
import copy
import dataclasses
import html
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from builder_samples import GOOD, ROOT, load, load_hostile, measured

from builder.load import Catalogue, Measured
from builder.models import Citation, Line, Pattern, Term
from builder.render import navigation, render
from implementations.registry import PLATFORMS, RECIPES

PAGE = "patterns/sequence-level.md"


def with_records(*records: Measured) -> Catalogue:
    return replace(load(GOOD)[0], records=list(records))


def body(page: str) -> str:
    """The page without addresses, tags, dates, versions, code, references and front matter: what a reader reads."""
    text = page.split("---\n", 2)[2].split("\n## References")[0]
    text = re.sub(r"``` \{ \.python .*?```", "", text, flags=re.S)
    return html.unescape(re.sub(r"<[^>]*>|\]\([^)]*\)|\{ #[^}]*\}", "", text))


def test_render_is_pure(monkeypatch: pytest.MonkeyPatch) -> None:
    catalogue = with_records(measured())
    before = copy.deepcopy(catalogue)

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("the renderer touched the disk")

    with monkeypatch.context() as patch:
        for owner, name in ((builtins, "open"), (Path, "open"), (Path, "read_text"), (Path, "stat")):
            patch.setattr(owner, name, forbidden)
        first = render(catalogue)
    assert render(catalogue) == first
    assert catalogue == before


def test_order_of_files_does_not_matter() -> None:
    catalogue = load(GOOD)[0]
    turned = replace(catalogue, terms=dict(reversed(catalogue.terms.items())))
    assert render(turned) == render(catalogue)


def test_every_file_is_there() -> None:
    assert set(render(with_records(measured(), measured(own=True)))) == {
        "index.md",
        "index.json",
        *("choose.md", "criteria.json", "matrix.md", "compare.md", "relations.md"),
        *("payback.md", "prices.json", "results.md"),
        *(f"claims.{ending}" for ending in ("md", "txt", "json", "bib", "csl.json")),
        *("llms.txt", "llms-full.txt", "robots.txt", "feed.xml"),
        *("references.md", "references.bib", "references.csl.json"),
        "patterns/index.md",
        *(f"patterns/sequence-level.{ending}" for ending in ("md", "txt", "json", "bib", "csl.json")),
        "glossary/index.md",
        *(f"glossary/{slug}.{ending}" for slug in ("student", "teacher") for ending in ("md", "txt", "json")),
        *("glossary/student-model.html", "glossary/teacher-model.html"),  # aliases
        *(f"schemas/{kind}.json" for kind in ("index", "pattern", "term", "claims", "criteria", "prices", "record")),
        *(f"schemas/source/{kind}.json" for kind in ("pattern", "term", "references", "vocabulary", "claims")),
        "records/made-up.json",
        "records/own/made-up.json",
    }


def test_navigation_names_existing_pages() -> None:
    catalogue = load(GOOD)[0]
    named = re.findall(r"'([\w/-]+\.md)'", str(navigation(catalogue)))
    assert named and set(named) <= render(catalogue).keys()


# ------------------------------------------------------------------------------------------------- records


def test_page_shows_its_record() -> None:
    page = render(with_records(measured()))[PAGE]
    for figure in (
        *("87.7%", "84.3%", "90.2%", "7.3×", "25%"),  # retention and its interval, speed-up, size
        *("77.7%", "75.7%", "79.7%", "76.7% · 78.7%", "77.2%"),  # the distilled arm, its seeds, the unseen slice
        *("+44.4 points (+40.0 to +50.0)", "543 ms", "1.98 s", "5.67 s", "345 MiB", "500 MB", "123 million"),
        *("1 min 1 s", "3 min 3 s", "4,321", "&#36;1.25"),
        *("2 January 2031", "13 cores", "3.5 GiB", "Verdict: distil.", "Because it was made up."),
    ):
        assert figure in page, figure
    assert "../records/made-up.json" in page
    assert "not measured yet" not in page and "own run" not in page and "dp-tag--stale" not in page


def test_page_without_record_says_so_and_has_no_figure() -> None:
    page = render(load(GOOD)[0])[PAGE]
    assert "not measured yet" in page
    assert "distill run sequence-level --record" in page
    assert page.count("Not measured yet") == 1  # in the section on performance
    read = body(page).split("## Overview")[1]
    read = re.sub(r"Kim and Rush 2016, sec. 3|Its makers 2026", "", read)
    assert not re.search(r"\d", read), re.findall(r".{,20}\d.{,20}", read)


def test_page_without_recipe_offers_nothing_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(RECIPES, "sequence-level")
    page = render(load(GOOD)[0])[PAGE]
    assert "distill run" not in page and "distill plan" not in page
    assert page.count("has no recipe") == 2 + len(PLATFORMS)  # the card, the section on performance, each platform
    assert page.count("Not measured yet") == 1


def test_stale_record_is_marked() -> None:
    page = render(with_records(measured(stale=True)))[PAGE]
    assert "dp-tag--stale" in page and "dp-figure--stale" in page


def test_own_run_stands_beside_the_committed_one() -> None:
    own = measured(own=True, name="mine", retention={"value": 0.5, "low": 0.45, "high": 0.55, "n": 9})
    page = render(with_records(measured(), own))[PAGE]
    assert "It kept <span" in page and ">87.7% (84.3% to 90.2%)</span> of the quality" in page
    assert "your own run" in page and "50.0%" in page
    assert "../records/own/mine.json" in page


def test_own_run_alone_is_shown_and_marked() -> None:
    pages = render(with_records(measured(own=True)))
    assert "your own run, not committed" in pages[PAGE] and "87.7%" in pages[PAGE]
    assert "your own run, not committed" in pages["index.md"]
    assert "Not measured yet" not in pages[PAGE]


def test_smoke_run_is_no_measurement() -> None:
    page = render(with_records(measured(own=True, smoke=True)))[PAGE]
    assert "Its figures mean nothing." in page
    assert "Not measured yet" in page
    assert "It kept <span class=" in page and ">not measured yet</span> of the quality" in page


def test_newest_current_record_is_quoted() -> None:
    old = measured(name="old", date="2030-01-01T00:00:00Z", retention={"value": 0.1, "low": 0, "high": 0.2, "n": 9})
    gone = measured(name="gone", stale=True, date="2040-01-01T00:00:00Z")
    new = measured(name="new", retention={"value": 0.6, "low": 0.5, "high": 0.7, "n": 9})
    page = render(with_records(old, gone, new))[PAGE]
    assert ">60.0% (50.0% to 70.0%)</span> of the quality" in page
    assert all(f"../records/{name}.json" in page for name in ("old", "gone", "new"))


# ------------------------------------------------------------------------------------------------- platforms


def test_platform_tabs_come_from_the_registry() -> None:
    page = render(load(GOOD)[0])[PAGE]
    tabs = dict(re.findall(r'^=== "([^"]+)"\n(.*?)(?=^===|^##)', page, re.M | re.S))
    assert list(tabs) == [platform.title for platform in PLATFORMS.values()]
    assert "dp-tag--direct" in tabs["Local"] and "distill run sequence-level\n" in tabs["Local"]
    for slug, platform in PLATFORMS.items():
        if slug != "local":
            assert f"distill plan sequence-level --teacher {platform.teacher}\n" in tabs[platform.title]
            assert f"pip install -e '.[{slug}]'" in tabs[platform.title]


def test_a_platform_without_a_teacher_says_not_yet(monkeypatch) -> None:
    monkeypatch.setitem(PLATFORMS, "claude", dataclasses.replace(PLATFORMS["claude"], module=None))
    page = render(load(GOOD)[0])[PAGE]
    tab = re.search(r'^=== "Claude"\n(.*?)(?=^===|^##)', page, re.M | re.S)[1]
    assert "not yet" in tab and "distill run" not in tab and "would run direct" in tab


# ------------------------------------------------------------------------------------------------- sections


SECTION = re.compile(r"^## ([^\n{]+?)(?: {[^\n]*})?\n(.*?)(?=^## |\Z)", re.M | re.S)
"""A heading without its attributes, and what stands below it."""


@pytest.mark.parametrize("root", [GOOD, ROOT], ids=["sample", "real"])
def test_every_section_of_the_template_has_text(root: Path) -> None:
    pages = render(load(root)[0])
    for slug in load(root)[0].patterns:
        sections = dict(SECTION.findall(pages[f"patterns/{slug}.md"]))
        assert list(sections) == [
            "Overview",
            "When to use",
            "When not to use",
            "Architecture",
            "Implementation examples",
            "Performance characteristics",
            "Trade-offs",
            "Use cases",
            "Well-Architected alignment",
            "Deployment considerations",
            "Related patterns",
            "References",
            "Version history",
        ]
        assert all(len(text.strip()) > 20 for text in sections.values())


def test_no_table_is_left_to_the_theme() -> None:
    """Its script frames those without a class one by one, and the page is laid out anew each time."""
    pages = render(with_records(measured(), measured(own=True)))
    for path, page in pages.items():
        if path.endswith(".md"):
            assert not re.search(r"<table(?![^>]* class=)|^\|", page, re.M), path
    assert '<div class="dp-scroll dp-scroll--figures" role="group" tabindex="0" aria-label="Serving"' in pages[PAGE]


def test_diagram_is_drawn_and_told() -> None:
    page = render(load(GOOD)[0])[PAGE]
    assert 'role="img" aria-label="The teacher leads to the student."' in page
    assert "A&#91;Teacher&#93; --&gt; B&#91;Student&#93;" in page
    assert "<script" not in page


def test_planned_pattern_is_text_and_not_a_link() -> None:
    page = render(load(GOOD)[0])[PAGE]
    assert 'Tiered serving <span class="dp-tag dp-tag--planned">planned</span>' in page
    assert "tiered-serving.md" not in page


def test_citations_lead_to_references() -> None:
    for root in (GOOD, ROOT):
        for path, page in render(load(root)[0]).items():
            if path.endswith(".md"):
                cited = set(re.findall(r'href="#(ref-\w+)"', page))
                assert cited <= set(re.findall(r'<a id="(ref-\w+)">', page)), path


def test_a_text_shown_elsewhere_has_its_figures_and_its_citations() -> None:
    catalogue = load(GOOD)[0]
    pattern, term = catalogue.patterns["sequence-level"], catalogue.terms["student"]
    (key, *_) = catalogue.references
    text = Line(f"It is [[record: speedup | times]] as fast [@{key}, sec. 9].")
    good = pattern.tradeoffs.advantages[0].model_copy(update={"text": text})
    tradeoffs = pattern.tradeoffs.model_copy(update={"advantages": [good]})
    pattern = pattern.model_copy(update={"summary": text, "tradeoffs": tradeoffs})
    term = term.model_copy(update={"short": Line(f"A model [@{key}, sec. 9].")})
    catalogue = replace(
        catalogue,
        records=[measured()],
        patterns={"sequence-level": pattern},
        terms={**catalogue.terms, "student": term},
    )
    pages = render(catalogue)
    for path, many in {"index.md": 1, "compare.md": 2, "patterns/index.md": 1}.items():
        assert pages[path].count(">7.3×</span> as fast") == many, path
    for path in ("index.md", "compare.md", "patterns/index.md", "glossary/index.md"):
        assert f'references.html#{key}">' in pages[path] and "#ref-" not in pages[path], path
    assert f'<a id="{key}"></a>' in pages["references.md"]


def test_alike_references_get_letters() -> None:
    catalogue = load(GOOD)[0]
    twins = {**catalogue.references, "kim2016b": catalogue.references["kim2016"]}
    page = render(replace(catalogue, references=twins))["references.md"]
    assert "**Kim and Rush 2016a**" in page and "**Kim and Rush 2016b**" in page


# ------------------------------------------------------------------------------------------------- data files


def test_term_json_has_every_field_and_the_citation() -> None:
    pages = render(replace(load(GOOD)[0], site_url="https://example.org/c/"))
    data = json.loads(pages["glossary/teacher.json"])
    assert list(data) == ["$schema", *Term.model_fields, "citation"]
    assert list(data["citation"]) == list(Citation.model_fields)
    assert data["citation"]["json_url"] == "https://example.org/c/glossary/teacher.json"
    assert data["citation"]["html_url"] == "https://example.org/c/glossary/teacher.html"
    assert data["citation"]["licence"] == "Apache-2.0"
    for text in (data["misconception"], data["quick_fix"], *data["common_mistakes"], data["refs"][0]["note"]):
        assert text in pages["glossary/teacher.md"]


def test_pattern_json_has_every_field_and_what_is_computed() -> None:
    data = json.loads(render(with_records(measured()))["patterns/sequence-level.json"])
    assert data.keys() == {"$schema", *Pattern.model_fields, "citation", "records", "references"}
    assert data["implementation"]["platforms"]["local"]["status"] == "direct"
    assert data["implementation"]["platforms"]["claude"]["status"] == "direct"
    assert data["when_to_use"][0]["criterion"] == {"dimension": "labels", "in": ["few"]}
    assert data["records"][0]["retention"]["value"] == 0.8767
    assert set(data["references"]) == {"kim2016", "docs"}


def test_record_file_reads_back() -> None:
    sample = measured()
    text = render(with_records(sample))["records/made-up.json"]
    assert type(sample.record).model_validate_json(text) == sample.record


# ------------------------------------------------------------------------------------------------- hostile


def test_hostile_yaml_cannot_inject(tmp_path: Path) -> None:
    """Even a catalogue that `check` refuses renders without a foreign element, attribute or address."""
    catalogue, problems = load_hostile(tmp_path)
    assert len(problems) > 100
    assert catalogue.broken == frozenset() and catalogue.references and catalogue.vocabulary
    text = "".join(page for path, page in render(catalogue).items() if path.endswith(".md"))
    text = re.sub(r"^linked_data: .*", "", text, flags=re.M)  # JSON, which the theme encodes for its place
    assert text.count("alert(1)") > 150
    assert "<script" not in text and "<img" not in text
    text = re.sub(r"^(title|description|tags): .*", "", text, flags=re.M)  # no Markdown is read there
    assert "](javascript" not in text and "{: onclick" not in text


def test_hostile_record_cannot_inject() -> None:
    page = render(with_records(measured(verdict={"decision": "unsure", "reason": "</p><script>alert(1)</script>"})))
    assert "&lt;script&gt;alert(1)" in page[PAGE]
    assert "<script" not in "".join(content for path, content in page.items() if path.endswith(".md"))
