"""What machines read: JSON and its schemas, plain Markdown, llms.txt, the feed, linked data, BibTeX, CSL, redirects."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jinja2
import pytest
import yaml
from builder_samples import GOOD, ROOT, estimate, load, load_hostile, measured, real_catalogue
from jsonschema import Draft202012Validator
from markdown_it import MarkdownIt
from pybtex.database import parse_string

from builder import linked_data
from builder.aliases import redirects, slug_of
from builder.bibliography import bibtex, csl
from builder.downloads import cells
from builder.load import Catalogue
from builder.models import Author, Reference
from builder.render import render
from builder.twin import escape, guard
from implementations.registry import RECIPES

SITE = "https://example.org/c/"
ATOM = "{http://www.w3.org/2005/Atom}"
NASTY = ['a"b', "a'b", "<b>bold</b>", "]]>", "--> x", "new\nline", "{{ 7 * 7 }}", "a & b", "</script><script>alert(1)"]


def sample(**changes: Any) -> Catalogue:
    return replace(load(GOOD)[0], site_url=SITE, **changes)


def nasty() -> Catalogue:
    """Names that `check` may refuse, so that nothing depends on it."""
    catalogue = sample(records=[measured()])
    teacher = catalogue.terms["teacher"].model_copy(update={"aliases": NASTY})
    pattern = catalogue.patterns["sequence-level"].model_copy(update={"aliases": NASTY, "title": " ".join(NASTY)})
    return replace(catalogue, terms={**catalogue.terms, "teacher": teacher}, patterns={pattern.slug: pattern})


CATALOGUES = {
    "sample": lambda: sample(records=[measured(), measured(own=True, name="mine")]),
    "real": lambda: replace(real_catalogue(), site_url=SITE),
    "nasty": nasty,
}


@pytest.fixture(params=CATALOGUES, scope="module")
def catalogue(request: pytest.FixtureRequest) -> Catalogue:
    return CATALOGUES[request.param]()


@pytest.fixture(scope="module")
def pages(catalogue: Catalogue) -> dict[str, str]:
    return render(catalogue)


def front_matter(page: str) -> dict[str, Any]:
    """As MkDocs reads it."""
    return yaml.load(page.split("---\n")[1], getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def built(path: str) -> str:
    """Where a rendered file is in the built site."""
    return path.removesuffix(".md") + ".html" if path.endswith(".md") else path


def test_another_process_renders_the_same_bytes() -> None:
    program = (
        "from builder_samples import *; from builder.render import render; import hashlib\n"
        "print(hashlib.sha256(repr(sorted(render(load(GOOD)[0]).items())).encode()).hexdigest())"
    )
    here = hashlib.sha256(repr(sorted(render(load(GOOD)[0]).items())).encode()).hexdigest()
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == here


# ---------------------------------------------------------------------------------------------------------- JSON


@pytest.mark.parametrize("name", ["sample", "real"])
def test_every_json_file_follows_the_schema_that_it_names(name: str) -> None:
    catalogue = CATALOGUES[name]()
    pages, checked = render(catalogue), 0
    for path, content in pages.items():
        if path.endswith(".json") and not path.startswith(("schemas/", "records/")) and ".csl." not in path:
            data = json.loads(content)
            schema = json.loads(pages[data["$schema"].removeprefix(SITE)])
            problems = [f"{path}: {error.json_path}: {error.message}" for error in validator(schema).iter_errors(data)]
            assert problems == []
            checked += 1
    assert checked == 4 + len(catalogue.patterns) + len(catalogue.terms)


def validator(schema: dict[str, Any]) -> Draft202012Validator:
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def test_schemas_refuse_what_is_wrong() -> None:
    pages = render(sample())
    term = json.loads(pages["glossary/teacher.json"])
    schema = validator(json.loads(pages["schemas/term.json"]))
    assert schema.is_valid(term)
    assert not schema.is_valid({**term, "slug": "Not a slug"})
    assert not schema.is_valid({**term, "colour": "red"})
    assert not schema.is_valid({key: value for key, value in term.items() if key != "citation"})


def test_schemas_of_what_contributors_write_and_of_records() -> None:
    pages = render(sample(records=[measured()]))
    record = json.loads(pages["records/made-up.json"])
    assert validator(json.loads(pages["schemas/record.json"])).is_valid(record)
    for kind, path in WRITTEN.items():
        written = yaml.load((GOOD / path).read_text("utf-8"), yaml.BaseLoader)
        assert validator(json.loads(pages[f"schemas/source/{kind}.json"])).is_valid(written)
    for path, content in pages.items():
        if path.startswith("schemas/"):
            assert json.loads(content)["$id"] == SITE + path


WRITTEN = {
    "pattern": "patterns/sequence-level.yml",
    "term": "glossary/teacher.yml",
    "references": "patterns/_references.yml",
    "vocabulary": "patterns/_vocabulary.yml",
    "claims": "patterns/_claims.yml",
}


def test_index_holds_everything_and_its_addresses_exist(catalogue: Catalogue, pages: dict[str, str]) -> None:
    index = json.loads(pages["index.json"])
    assert [entry["slug"] for entry in index["patterns"]] == sorted(catalogue.patterns)
    assert [entry["slug"] for entry in index["terms"]] == sorted(catalogue.terms)
    assert [entry["slug"] for entry in index["claims"]] == sorted(catalogue.claims)
    files = {SITE + built(path) for path in pages}
    anchors = {f"{SITE}claims.html#{slug}" for slug in catalogue.claims}
    named = re.findall(rf'"({SITE}[^"]*)"', pages["index.json"])
    assert {SITE + built(page) for page in FOUND} <= set(index["pages"].values())
    assert len(named) > 10 and anchors <= set(named) <= files | anchors
    entry = next(e for e in index["patterns"] if e["slug"] == "sequence-level")
    written = catalogue.patterns["sequence-level"]
    assert entry["aliases"] == written.aliases and entry["tags"] == written.tags
    assert entry["when_to_use"][0] == written.when_to_use[0].criterion.model_dump(by_alias=True)
    assert entry["platforms"]["local"] == "direct"
    assert {r["url"] for r in entry["records"]} == {
        SITE + path
        for path, text in pages.items()
        if path.startswith("records/") and json.loads(text)["pattern"] == "sequence-level"
    }


def test_pattern_has_a_citation_block_as_a_term_has() -> None:
    data = json.loads(render(sample())["patterns/sequence-level.json"])["citation"]
    assert data["canonical_url"] == data["html_url"] == f"{SITE}patterns/sequence-level.html"
    assert data["json_url"] == f"{SITE}patterns/sequence-level.json"
    assert data["source"] == "A small catalogue" and data["licence"] == "Apache-2.0"


def test_index_is_as_new_as_its_newest_part() -> None:
    assert json.loads(render(sample())["index.json"])["updated"] == "2026-11-22"
    assert json.loads(render(sample(records=[measured()]))["index.json"])["updated"] == "2031-01-02"


# -------------------------------------------------------------------------------------------------- plain Markdown


def twins(pages: dict[str, str]) -> dict[str, str]:
    return {path: text for path, text in pages.items() if path.endswith(".txt") and path != "robots.txt"}


def prose_of(text: str) -> str:
    """Without code, which is shown as it stands."""
    return re.sub(r"```.*?```|^    .*?$|`[^`\n]*`", "", text, flags=re.M | re.S)


def test_twins_are_plain_and_their_links_are_whole(catalogue: Catalogue, pages: dict[str, str]) -> None:
    found = twins(pages)
    assert len(found) == len(catalogue.patterns) + len(catalogue.terms) + 3
    files = {SITE + built(path) for path in (*pages, *cells(catalogue))}
    files |= {f"{SITE}claims.html#{slug}" for slug in catalogue.claims}
    for path, text in found.items():
        assert not re.search(r"(?<!\\)</?[a-z]+[ >]|\{ ?[.#:]|&#?\w+;|\[\[record|\[@", prose_of(text)), path
        assert "\n\n\n" not in text
        links = re.findall(r"(?<!\\)\]\(([^)]*)\)|<(https?:[^>]*)>", prose_of(text))
        assert links, path
        for target in ("".join(pair) for pair in links):
            assert target.startswith(("https://", "http://")), (path, target)
            assert not target.startswith(SITE) or target in files, (path, target)


def test_twin_has_every_text_of_its_page() -> None:
    pattern = load(GOOD)[0].patterns["sequence-level"]
    text = render(sample(records=[measured()]))["patterns/sequence-level.txt"]
    assert text.startswith("# Sequence-level distillation\n\n> The teacher writes, the student learns to write.\n")
    assert f"The [teacher]({SITE}glossary/teacher.html) writes **all** answers (Kim and Rush 2016, sec. 3)." in text
    assert "It kept 87.7% (84.3% to 90.2%) of the quality." in text
    assert "| Student distilled | 77.7% (75.7% to 79.7%) |" in text
    assert "    flowchart LR\n      A[Teacher] --> B[Student]\n" in text
    assert "Comes after Tiered serving (planned): It uses the student." in text
    assert "## Version history\n\n- 1.0, 22 November 2026: First version.\n" in text
    for part in (pattern.implementation.platforms["vertex"], pattern.deployment.hybrid.guidance, pattern.title):
        assert part in text


def test_twin_without_a_record_says_so() -> None:
    text = render(sample())["patterns/sequence-level.txt"]
    assert "It kept (not measured yet) of the quality." in text and "Not measured yet: no record" in text


def test_twin_has_a_cascades_curve() -> None:
    point = {"share": 0.25, "quality": estimate(0.654), "at_random": estimate(0.543)}
    cascade = {"score": "entropy", "deferred": {}, "added": estimate(0.111), "curve": [point]}
    text = render(sample(records=[measured(cascade=cascade)]))["patterns/sequence-level.txt"]
    assert "| 25% | 65.4% | 63.4% to 67.4% | 54.3% |" in text


def test_twins_have_the_claims_and_what_was_measured() -> None:
    pages = render(sample(records=[measured()]))
    text = pages["claims.txt"]
    assert "**The claim.** “The student keeps 97% of the teacher” (" in text
    assert "- Verdict: supported under conditions\n" in text
    assert "**What we measured.** Our student kept 87.7% (84.3% to 90.2%)." in text
    for path in ("patterns/sequence-level.txt", "glossary/teacher.txt"):
        assert f"- supported under conditions: [Students keep most of it]({SITE}claims.html#keeps-much)" in pages[path]
    assert "What people say" not in pages["glossary/student.txt"]


def test_full_text_is_every_twin(pages: dict[str, str]) -> None:
    for path, text in twins(pages).items():
        if not path.startswith("llms"):
            assert f"\n---\n\n{text}" in pages["llms-full.txt"]


def test_llms_txt_has_the_form_of_llmstxt_org(catalogue: Catalogue, pages: dict[str, str]) -> None:
    """One title, a quotation, text without headings, then sections that are lists of links."""
    start, *sections = re.split(r"^## ", pages["llms.txt"], flags=re.M)
    assert re.fullmatch(r"# [^\n]+\n\n> [^\n]+\n\n[^#]+", start)
    assert [section.split("\n")[0] for section in sections] == [
        "Patterns",
        "Overviews",
        "Glossary",
        "Claims",
        "Data",
        "Optional",
    ]
    listed = {}
    for section in sections:
        for line in section.strip().split("\n")[2:]:
            match = re.fullmatch(r"- \[(.+?)(?<!\\)\]\((\S+)\): (.+)", line)
            assert match, line
            listed[match[2].removeprefix(SITE)] = match[1]
    assert listed.keys() <= set(map(built, pages))
    assert {path for path in listed if path.endswith(".txt")} == twins(pages).keys() - {"llms.txt"}


def test_hostile_text_stays_text_in_the_twins(tmp_path: Path) -> None:
    pages = render(load_hostile(tmp_path)[0])
    markdown = MarkdownIt("commonmark")
    for path, text in twins(pages).items():
        assert "alert(1)" in text or path == "llms.txt", path
        tokens = [t for token in markdown.parse(text) for t in (token, *(token.children or ()))]
        assert not [t for t in tokens if t.type in ("html_block", "html_inline", "image")], path
        assert not [t.attrs for t in tokens if "javascript" in str(t.attrs)], path


@pytest.mark.parametrize(
    "text",
    ["# a", "- a", "+ a", "> a", "1. a", "12) a", "---", "~~~ a", "* a", "```", "_a_", "[a](b)", "<b>", "&lt;", "a|b"],
)
def test_text_is_only_a_paragraph_of_text(text: str) -> None:
    tokens = MarkdownIt("commonmark").enable("table").parse(guard(escape(text)))
    assert [token.type for token in tokens] == ["paragraph_open", "inline", "paragraph_close"]
    assert "".join(child.content for child in tokens[1].children) == text


def test_plain_text_is_left_alone() -> None:
    for text in ("snake_case, 5 < 6, ~3 %, a > b, C#, AT&T and 1.5", "-5 %", "+4.2 points", "#1"):
        assert guard(escape(text)) == text


# ---------------------------------------------------------------------------------------------- feed, robots, aliases


def entries(text: str) -> list[ElementTree.Element]:
    return ElementTree.fromstring(text).findall(f"{ATOM}entry")


def ids(text: str) -> list[str]:
    return [entry.findtext(f"{ATOM}id") or "" for entry in entries(text)]


def test_feed_is_valid_atom(pages: dict[str, str]) -> None:
    root = ElementTree.fromstring(pages["feed.xml"])
    assert root.tag == f"{ATOM}feed"
    assert root.findtext(f"{ATOM}id") == f"{SITE}feed.xml" == root.find(f"{ATOM}link[@rel='self']").get("href")
    assert root.findtext(f"{ATOM}author/{ATOM}name")
    days = []
    for element in [root, *entries(pages["feed.xml"])]:
        assert (element.findtext(f"{ATOM}title") or "").strip()
        days.append(datetime.fromisoformat(element.findtext(f"{ATOM}updated") or ""))
        assert days[-1].tzinfo
        page, _, anchor = element.find(f"{ATOM}link[@rel='alternate']").get("href", "").partition("#")
        source = pages[page.removeprefix(SITE).replace(".html", ".md")]
        assert not anchor or f'<a id="{anchor}">' in source
    assert days[1:] == sorted(days[1:], reverse=True) and days[0] >= days[1]
    assert len(set(ids(pages["feed.xml"]))) == len(ids(pages["feed.xml"]))


def test_feed_takes_patterns_history_and_terms_days() -> None:
    catalogue = sample()
    teacher = catalogue.terms["teacher"].model_copy(update={"updated": "2026-11-25"})
    text = render(replace(catalogue, terms={**catalogue.terms, "teacher": teacher}))["feed.xml"]
    assert [(e.findtext(f"{ATOM}title"), e.findtext(f"{ATOM}updated")) for e in entries(text)] == [
        ("Term revised: Teacher", "2026-11-25T00:00:00Z"),
        ("New term: Student", "2026-11-22T00:00:00Z"),
        ("New term: Teacher", "2026-11-22T00:00:00Z"),
        ("Sequence-level distillation, version 1.0", "2026-11-22T00:00:00Z"),
    ]


def test_a_new_version_moves_no_entry_and_no_id() -> None:
    catalogue = sample()
    pattern = catalogue.patterns["sequence-level"]
    newer = pattern.history[0].model_copy(update={"version": "1.1", "date": "2026-12-01"})
    later = pattern.model_copy(update={"history": [newer, *pattern.history], "updated": newer.date})
    before = ids(render(catalogue)["feed.xml"])
    after = ids(render(replace(catalogue, patterns={later.slug: later}))["feed.xml"])
    assert after == [f"{SITE}patterns/sequence-level.html#version-1.1", *before]


def test_robots_names_the_sitemap() -> None:
    assert f"\nSitemap: {SITE}sitemap.xml\n" in render(sample())["robots.txt"]


def test_every_alias_leads_to_its_page(catalogue: Catalogue, pages: dict[str, str]) -> None:
    for folder, models in (("patterns", catalogue.patterns), ("glossary", catalogue.terms)):
        for slug, model in models.items():
            for alias in model.aliases:
                name = slug_of(alias)
                if name in ("", slug):
                    continue
                text = pages[f"{folder}/{name}.html"]
                assert f'<meta http-equiv="refresh" content="0; url={slug}.html">' in text
                assert f'<link rel="canonical" href="{SITE}{folder}/{slug}.html">' in text
                assert f'<a href="{slug}.html">' in text and "<script" not in text and "<b>" not in text


def test_a_redirect_never_takes_a_pages_place() -> None:
    catalogue = sample()
    aliases = ["Student", "index", "β", "Büro-Modell", "teacher"]
    teacher = catalogue.terms["teacher"].model_copy(update={"aliases": aliases})
    found = redirects(replace(catalogue, terms={**catalogue.terms, "teacher": teacher}))
    assert found == {
        "glossary/buro-modell.html": "glossary/teacher.md",
        "glossary/student-model.html": "glossary/student.md",
    }


# ------------------------------------------------------------------------------------------------------ linked data

REQUIRED = {
    "TechArticle": {
        "headline",
        "description",
        "author",
        "publisher",
        "datePublished",
        "dateModified",
        "url",
        "license",
    },
    "SoftwareSourceCode": {"name", "description", "programmingLanguage", "url", "license", "author"},
    "Dataset": {
        "name",
        "description",
        "url",
        "license",
        "creator",
        "distribution",
        "variableMeasured",
        "datePublished",
    },
    "DefinedTerm": {"name", "description", "inDefinedTermSet", "termCode", "url"},
    "DefinedTermSet": {"name", "description", "hasDefinedTerm", "url"},
    "ClaimReview": {
        "name",
        "claimReviewed",
        "reviewRating",
        "reviewBody",
        "citation",
        "url",
        "datePublished",
        "author",
    },
}


def embedded(page: str) -> str:
    """The script element as the theme writes it."""
    theme = jinja2.Environment().from_string('<script type="application/ld+json">{{ data | tojson }}</script>')
    return theme.render(data=front_matter(page)["linked_data"])


def test_theme_embeds_linked_data_as_json() -> None:
    theme = (ROOT / "site_overrides/theme/main.html").read_text("utf-8")
    assert '<script type="application/ld+json">{{ page.meta.linked_data | tojson }}</script>' in theme


def things(page: str) -> list[dict[str, Any]]:
    script = embedded(page)
    assert script.count("<") == 2  # its own tags: nothing inside can end it
    data = json.loads(re.sub(r"^<script[^>]*>|</script>$", "", script))
    assert data.pop("@context") == "https://schema.org"
    return data.get("@graph", [data])


def test_linked_data_of_every_page(catalogue: Catalogue, pages: dict[str, str]) -> None:
    for path, page in pages.items():
        if not path.endswith(".md") or path in UNLINKED:
            continue
        found = things(page)
        kinds = [thing["@type"] for thing in found]
        if path.startswith("patterns/"):
            slug = Path(path).stem
            described = ["TechArticle", "SoftwareSourceCode"] if slug in RECIPES else ["TechArticle"]
            shown = [m for m in catalogue.records if m.record.pattern == slug and not m.own]
            assert kinds == described + ["Dataset"] * len(shown)
        elif path == "claims.md":
            assert kinds == ["ClaimReview"] * len(catalogue.claims)
            assert [thing["url"] for thing in found] == [f"{SITE}claims.html#{slug}" for slug in catalogue.claims]
        else:
            assert kinds == ["DefinedTermSet" if path == "glossary/index.md" else "DefinedTerm"]
        for thing in found:
            required = REQUIRED[thing["@type"]]
            assert required <= thing.keys() and all(thing[name] for name in required), (path, required - thing.keys())
            assert thing["url"].split("#")[0].removeprefix(SITE) in map(built, pages)
        assert found[0] == (linked(catalogue, path))


FOUND = ("choose.md", "patterns/index.md", "matrix.md", "compare.md", "relations.md", "payback.md", "results.md")
UNLINKED = ("index.md", *FOUND, "references.md")
"""Pages about which linked data says nothing."""


def linked(catalogue: Catalogue, path: str) -> dict[str, Any]:
    """What the front matter must give back, whatever is in it."""
    slug = Path(path).stem
    if path == "glossary/index.md":
        data = linked_data.glossary(catalogue)
    elif path == "claims.md":
        data = linked_data.claims(catalogue)["@graph"][0]
    elif path.startswith("glossary/"):
        data = linked_data.term(catalogue, catalogue.terms[slug])
    else:
        data = linked_data.pattern(catalogue, catalogue.patterns[slug])["@graph"][0]
    return {key: value for key, value in data.items() if key != "@context"}


def test_term_stands_in_the_set_that_names_it(catalogue: Catalogue, pages: dict[str, str]) -> None:
    [whole] = things(pages["glossary/index.md"])
    assert len(whole["hasDefinedTerm"]) == len(catalogue.terms)
    for named in whole["hasDefinedTerm"]:
        [term] = things(pages[named["@id"].removeprefix(SITE).replace(".html", ".md")])
        assert (term["@id"], term["name"], term["inDefinedTermSet"]) == (named["@id"], named["name"], whole["@id"])


def test_front_matter_survives_every_character() -> None:
    catalogue = sample()
    odd = 'emoji 😀, next line \x85, separator \u2028, quote ", backslash \\, colon: #, ---'
    student = catalogue.terms["student"].model_copy(update={"aliases": [odd]})
    page = render(replace(catalogue, terms={**catalogue.terms, "student": student}))["glossary/student.md"]
    assert things(page)[0]["alternateName"] == [odd]


# ------------------------------------------------------------------------------------------------------- references


def work(**changes: Any) -> Reference:
    fields = {
        "type": "paper-conference",
        "title": "On Models",
        "author": [Author(family="Kim", given="Yoon")],
        "issued": "2016-03",
        "container-title": "Proceedings",
        "URL": "https://example.org/a_b?c=%20&d=1#e",
        "accessed": "2026-11-22",
    }
    return Reference.model_validate({**fields, **changes})


def read(text: str) -> Any:
    return parse_string(text, "bibtex").entries


def test_bibtex_reads_back(catalogue: Catalogue, pages: dict[str, str]) -> None:
    entries = read(pages["references.bib"])
    assert list(entries) == sorted(catalogue.references)
    for key, entry in entries.items():
        reference = catalogue.references[key]
        assert entry.fields["year"] == reference.issued[:4] and entry.fields["url"] == reference.URL
        assert len(entry.persons["author"]) == len(reference.author)
        assert entry.fields["title"].strip("{}").replace("\\", "") == reference.title.replace("\\", "")


@pytest.mark.parametrize("kind", ["bib", "csl.json"])
def test_pattern_offers_the_works_that_it_cites(catalogue: Catalogue, pages: dict[str, str], kind: str) -> None:
    for slug in catalogue.patterns:
        text = pages[f"patterns/{slug}.{kind}"]
        keys = list(read(text)) if kind == "bib" else [item["id"] for item in json.loads(text)]
        assert keys == list(json.loads(pages[f"patterns/{slug}.json"])["references"]) != []
        assert f"({slug}.{kind})" in pages[f"patterns/{slug}.md"]
    text = pages[f"claims.{kind}"]
    keys = list(read(text)) if kind == "bib" else [item["id"] for item in json.loads(text)]
    assert keys == list(json.loads(pages["claims.json"])["references"]) != []
    assert f"(claims.{kind})" in pages["claims.md"]
    assert f"(references.{kind})" in pages["references.md"]


def test_bibtex_escapes_what_tex_would_take_for_its_own() -> None:
    title = r"100% of {A} & B_1 #2 $x^2$ ~ \input{x}"
    text = bibtex({"odd2016": work(title=title)})
    assert (
        r"title = {{100\% of \textbraceleft{}A\textbraceright{} \& B\_1 \#2 \$x\textasciicircum{}2\$ \textasciitilde{} "
        r"\textbackslash{}input\textbraceleft{}x\textbraceright{}}}" in text
    )
    entry = read(text)["odd2016"]
    assert entry.type == "inproceedings" and entry.fields["booktitle"] == "Proceedings"
    assert entry.fields["month"] == "March"
    assert entry.fields["url"] == "https://example.org/a_b?c=%20&d=1#e"


def test_no_field_can_end_its_entry() -> None:
    works = {
        "first2016": work(title="} , } @book{evil,", URL="https://example.org/}}{\\x", DOI="10.1/}"),
        "second2016": work(author=[Author(literal="Evil} and {Co")]),
    }
    entries = read(bibtex(works))
    assert list(entries) == list(works)
    assert entries["first2016"].fields["url"] == "https://example.org/%7D%7D%7B%5Cx"


def test_names_in_bibtex() -> None:
    authors = [
        Author(family="von Kim", given="Yoon"),
        Author(literal="Research and Development, Inc."),
        Author(family="Salt and Pepper"),
        Author(literal="and others"),
    ]
    text = bibtex({"a": work(author=authors)})
    assert "author = {von Kim, Yoon and {Research and Development, Inc.} and {Salt and Pepper} and others}" in text
    assert len(read(text)["a"].persons["author"]) == 4


def test_csl_json() -> None:
    authors = [Author(family="Kim", given="Yoon"), Author(literal="and others")]
    [item] = json.loads(csl({"kim2016": work(author=authors, DOI="10.1/x")}))
    assert item == {
        "id": "kim2016",
        "type": "paper-conference",
        "title": "On Models",
        "author": [{"family": "Kim", "given": "Yoon"}],
        "issued": {"date-parts": [[2016, 3]]},
        "container-title": "Proceedings",
        "URL": "https://example.org/a_b?c=%20&d=1#e",
        "DOI": "10.1/x",
        "accessed": {"date-parts": [[2026, 11, 22]]},
    }


# ------------------------------------------------------------------------------------------------- the page's head


def test_alternates_of_every_page_exist(pages: dict[str, str]) -> None:
    for path, page in pages.items():
        if path.endswith(".md"):
            others = front_matter(page)["alternate"]
            assert others
            for other in others:
                target = os.path.normpath(f"{Path(path).parent}/{other['href']}")
                assert target in pages and other["type"] and other["title"]
    kinds = [other["type"] for other in front_matter(pages["patterns/sequence-level.md"])["alternate"]]
    assert kinds[:2] == ["application/json", "text/markdown"]
