"""Claims: checked like every other file, shown with our own measurements, linked from the pages they are about.

The bad files are `fixtures/bad/claims-*.yml`; test_builder_check.py compares their messages.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from builder_samples import BAD, GOOD, copy_good, load, measured, real_catalogue

from builder.load import CLAIMS, Catalogue, Measured
from builder.models import Claim, Support
from builder.render import navigation, render
from implementations.registry import RECIPES


def pages(*records: Measured) -> dict[str, str]:
    return render(replace(load(GOOD)[0], records=list(records)))


def section(page: str, slug: str) -> str:
    """One claim of the page: from its heading to the next."""
    return re.search(rf"^## [^\n]* {{ #{slug} }}\n.*?(?=^## )", page, re.M | re.S)[0]


# ------------------------------------------------------------------------------------------------ checking


def test_every_way_of_being_wrong_has_a_bad_file() -> None:
    names = {path.stem.removeprefix("claims-") for path in BAD.glob("claims-*.yml")}
    assert names >= {"unknown-pattern", "unknown-term", "unknown-key", "uncited-number", "verdict", "nobody-named"}


def add_work(root: Path) -> None:
    """A second work, kim2017, which nothing cites yet."""
    works = root / "patterns/_references.yml"
    text = works.read_text("utf-8")
    more = text.split("docs:")[0].replace("kim2016:", "kim2017:").replace("1606.07947", "1707.00001")
    works.write_text(text + more, "utf-8")


def test_a_work_that_only_a_claim_cites_is_used(tmp_path: Path) -> None:
    root = copy_good(tmp_path)
    add_work(root)
    (unused,) = load(root)[1]
    assert str(unused).startswith("patterns/_references.yml:15:1: kim2017: nothing cites it; ")
    claims = root / CLAIMS
    claims.write_text(claims.read_text("utf-8").replace("@kim2016", "@kim2017"), "utf-8")
    assert load(root)[1] == []


def test_claims_that_cannot_be_read_do_not_make_their_works_unused(tmp_path: Path) -> None:
    root = copy_good(tmp_path)
    add_work(root)
    (root / CLAIMS).write_text("keeps-much: [", "utf-8")
    assert {problem.file for problem in load(root)[1]} == {CLAIMS}


def test_a_catalogue_may_have_no_claims(tmp_path: Path) -> None:
    root = copy_good(tmp_path)
    (root / CLAIMS).unlink()
    catalogue, problems = load(root)
    assert problems == []
    out = render(catalogue)
    assert not [path for path in out if path.startswith("claims")] and "claims.md" not in str(navigation(catalogue))
    assert "What people say about it" not in "".join(out.values())


# ----------------------------------------------------------------------------------------------- rendering


def test_a_claim_is_shown_whole_under_its_anchor() -> None:
    claim = section(pages()["claims.md"], "keeps-much")
    for text in (
        '<span class="dp-tag dp-tag--conditional">supported under conditions</span>',
        "“The student keeps 97% of the teacher”",
        "The makers of the manual",
        "One model on one task kept 90%",
        "Ask on which task.",
        "sources looked up on 22 November 2026",
    ):
        assert text in claim, text


@pytest.mark.parametrize(
    ("record", "figure"),
    [
        (measured(), '<span class="dp-figure dp-figure--measured"'),
        (measured(stale=True), '<span class="dp-figure dp-figure--stale"'),
        (measured(own=True), '<span class="dp-figure dp-figure--own"'),
    ],
    ids=["committed", "stale", "own"],
)
def test_our_measurement_is_that_of_the_named_pattern(record: Measured, figure: str) -> None:
    claim = section(pages(record)["claims.md"], "keeps-much")
    assert figure in claim and ">87.7% (84.3% to 90.2%)</span>" in claim
    assert f"records/{'own/' if record.own else ''}made-up.json) of 2 January 2031" in claim


@pytest.mark.parametrize(
    "record", [measured(smoke=True), measured(pattern="on-policy")], ids=["a smoke run", "another pattern's"]
)
def test_without_a_record_of_that_pattern_it_is_not_measured_yet(record: Measured) -> None:
    claim = section(pages(record)["claims.md"], "keeps-much")
    assert "Our student kept" in claim and ">not measured yet</span>" in claim and "no record is committed" in claim
    assert "87.7%" not in claim


def test_verdicts_are_in_words_and_best_supported_first() -> None:
    catalogue = load(GOOD)[0]
    some = catalogue.claims["said-of-nothing"]
    claims = {f"c{i}": some.model_copy(update={"verdict": support}) for i, support in enumerate(reversed(Support))}
    page = render(replace(catalogue, claims=claims))["claims.md"]
    verdicts = re.findall(r'^<p class="dp-support"><span class="dp-tag dp-tag--\w+">([^<]+)</span></p>$', page, re.M)
    assert verdicts == ["supported", "supported under conditions", "not supported", "no source found"]


def test_pages_link_to_the_claims_about_them() -> None:
    out = pages()
    link = re.compile(r"supported under conditions</span> \[Students keep most of it\]\(\.\./claims\.md#keeps-much\)")
    for page in ("patterns/sequence-level.md", "glossary/teacher.md"):
        assert len(link.findall(out[page])) == 1, page
    assert "claims.md" not in out["glossary/student.md"]
    claim = section(out["claims.md"], "keeps-much")
    assert "(patterns/sequence-level.md)" in claim and "(glossary/teacher.md)" in claim


def test_claims_as_data() -> None:
    catalogue = replace(load(GOOD)[0], records=[measured()], site_url="https://example.org/c/")
    data = json.loads(render(catalogue)["claims.json"])
    first, second = data["claims"]
    assert list(first) == ["slug", "url", *Claim.model_fields]
    assert first["url"] == "https://example.org/c/claims.html#keeps-much"
    assert first["measured"][0]["record"] == "https://example.org/c/records/made-up.json"
    assert (first["verdict"], second["verdict"]) == ("supported under conditions", "no source found")
    assert set(data["references"]) == {"docs", "kim2016"}
    assert data["citation"]["html_url"] == "https://example.org/c/claims.html"
    assert json.loads(pages()["claims.json"])["claims"][0]["measured"][0]["record"] is None


# ------------------------------------------------------------------------------------------- the real claims


@pytest.fixture(scope="module")
def real() -> Catalogue:
    return real_catalogue()


def test_there_are_many_claims_and_every_verdict_occurs(real: Catalogue) -> None:
    assert len(real.claims) >= 12
    assert {claim.verdict for claim in real.claims.values()} == set(Support)


def test_every_claim_can_be_reached_from_a_page(real: Catalogue) -> None:
    out = render(real)
    for slug, claim in real.claims.items():
        about = [*(f"patterns/{p}.md" for p in claim.patterns), *(f"glossary/{t}.md" for t in claim.terms)]
        assert any(f"../claims.md#{slug})" in out.get(page, "") for page in about), slug


def test_every_measurement_is_of_a_pattern_that_can_be_run(real: Catalogue) -> None:
    named = {item.pattern for claim in real.claims.values() for item in claim.measured}
    assert named and named <= RECIPES.keys()
