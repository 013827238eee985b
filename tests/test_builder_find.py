"""The pages that find a pattern: complete without scripts, safe, and ranked as `distill check` ranks."""

from __future__ import annotations

import html
import json
import random
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from builder_samples import GOOD, ROOT, load, measured, real_catalogue, real_pages

from builder import find
from builder.load import Catalogue
from builder.models import Line, Pattern, PatternStatus, Prose
from builder.pages.find import FindPage
from builder.prose import plain
from builder.render import navigation, render
from implementations import criteria
from implementations.checks.model import Decision, Measured
from implementations.checks.report import of_dimension, weigh
from implementations.checks.report import rank as rank_for_check
from implementations.registry import PLATFORMS, RECIPES

ASSETS = ROOT / "site_overrides/docs/assets"
PAGES = ("choose.md", "patterns/index.md", "matrix.md", "compare.md", "relations.md")
NODE = shutil.which("node")


def words(markup: str) -> str:
    """What a reader reads of a piece of a page."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", markup)).split())


def rows(page: str) -> list[list[str]]:
    """Every row of every table of a page, as the words of its cells."""
    found = re.findall(r"<tr\b.*?</tr>", page, re.S)
    return [[words(cell) for cell in re.findall(r"<(?:th|td)\b[^>]*>(.*?)</(?:th|td)>", row, re.S)] for row in found]


# ------------------------------------------------------------------------------------------- the chooser's rules


def cases() -> list[dict[str, str]]:
    """No answer, every single answer, and combinations drawn with a seed."""
    known = {key: list(d.values) for key, d in real_catalogue().vocabulary.dimensions.items()}
    single = [{key: value} for key, values in known.items() for value in values]
    draw = random.Random(6)
    mixed = [
        {key: draw.choice(values) for key, values in known.items() if draw.random() < share}
        for share in (0.3, 0.6, 1.0)
        for _ in range(40)
    ]
    return [{}, *single, *mixed]


def by_check(answers: dict[str, str]) -> list[dict[str, Any]]:
    """What `distill check` would say of these answers: the order of the patterns, and each dimension's part in it."""
    known, catalogue = criteria.dimensions(), criteria.patterns()
    found = {
        key: Measured(
            dimension=key, values=[answers[key]] if key in answers else list(d.values), what="", source="", mend=""
        )
        for key, d in known.items()
    }
    names = {Decision.GO: "for", Decision.NO_GO: "against", Decision.UNSURE: "open"}
    out = []
    for fit in rank_for_check(catalogue, found, known):
        row: dict[str, Any] = {"pattern": fit.pattern, "for": [], "against": [], "open": []}
        for key, one in found.items():
            decision = of_dimension(weigh(catalogue[fit.pattern], found), one)
            if decision:
                row[names[decision]].append(key)
        out.append(row)
    return out


@pytest.mark.skipif(NODE is None, reason="node runs the script; without it, this comparison is not made")
def test_the_script_ranks_as_distill_check_does() -> None:
    program = (
        "const fs = require('fs'), vm = require('vm')\n"
        "const [script, input] = process.argv.slice(1)\n"
        "vm.runInThisContext(fs.readFileSync(script, 'utf8'))\n"
        "const { data, cases } = JSON.parse(fs.readFileSync(input, 'utf8'))\n"
        "process.stdout.write(JSON.stringify(cases.map(answers => rank(data, answers))))"
    )
    given = json.dumps({"data": json.loads(real_pages()["criteria.json"]), "cases": cases()})
    command = [str(NODE), "-e", program, str(ASSETS / "rank.js"), "/dev/stdin"]
    done = subprocess.run(command, input=given, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert len(told) == len(cases()) > 140
    for answers, ranking in zip(cases(), told, strict=True):
        assert ranking == by_check(answers), answers
    assert len({ranking[0]["pattern"] for ranking in told}) > 2  # the cases do tell patterns apart


def test_the_page_carries_the_published_criteria() -> None:
    page = re.search(r"^data: (.*)$", real_pages()["choose.md"], re.M)
    published = json.loads(real_pages()["criteria.json"])
    assert published.pop("$schema").endswith("schemas/criteria.json")
    assert page and json.loads(page[1]) == published == find.criteria(real_catalogue())


# ---------------------------------------------------------------------------------------- without any script


def test_at_most_seven_questions_with_every_answer() -> None:
    page = real_pages()["choose.md"]
    dimensions = real_catalogue().vocabulary.dimensions
    assert page.count("<fieldset>") == len(dimensions) <= 7
    for key, dimension in dimensions.items():
        fields = re.findall(rf'name="{html.escape(key).replace("_", "&#95;")}" value="([^"]*)"', page)
        assert [html.unescape(v) for v in fields] == [*dimension.values, ""]


def test_every_criterion_stands_in_its_table_once() -> None:
    page = real_pages()["choose.md"]
    for slug, pattern in real_catalogue().patterns.items():
        for index, (use, number, item) in enumerate(find.reasons(pattern)):
            found = re.findall(rf'<p class="dp-criterion" data-criterion="{slug}/{index}">(.*?)</p>', page)
            assert len(found) == 1
            told = re.sub(r'<span class="dp-(cites|tag dp-tag--planned)">.*?</span>', "", found[0])
            assert squeezed(plain(item.text)) in squeezed(words(told))
            assert ("use when" if use else "not when") in found[0]
            anchor = f"when-{'to' if use else 'not-to'}-use-{number}"
            assert f'href="patterns/{slug}.html#{anchor}"' in found[0]
            assert f'id="{anchor}"' in real_pages()[f"patterns/{slug}.md"]


def test_every_answer_of_every_pattern_has_its_mark() -> None:
    for title, dimension in ((d.title, d) for d in real_catalogue().vocabulary.dimensions.values()):
        section = (
            real_pages()["choose.md"]
            .split(f"### {FindPage(real_catalogue(), 'choose.md').text(title)}\n")[1]
            .split("\n### ")[0]
        )
        head, *body = rows(section)
        assert head[1:-1] == [plain(answer) for answer in dimension.values.values()]
        assert len(body) == len(real_catalogue().patterns)
        for row in body:
            pattern = next(p for p in real_catalogue().patterns.values() if p.title == row[0])
            for value, cell in zip(dimension.values, row[1:-1], strict=True):
                fits = {use for use, _, g in find.reasons(pattern) if value in values_of(g, dimension)}
                assert cell == (" ".join(w for w, use in (("use", True), ("leave", False)) if use in fits) or "–")


def squeezed(text: str) -> str:
    return re.sub(r"\s", "", text)


def values_of(item: Any, dimension: Any) -> list[str]:
    same = real_catalogue().vocabulary.dimensions[item.criterion.dimension] == dimension
    return item.criterion.values if same else []


def facets_of(page: str) -> dict[str, set[str]]:
    """Name → what may be chosen, of every filter."""
    return {
        name: set(re.findall(r'<option value="([^"]+)"', select))
        for name, select in re.findall(r'<select name="(\w+)">(.*?)</select>', page, re.S)
    }


def test_table_of_patterns_has_every_facet() -> None:
    page = real_pages()["patterns/index.md"]
    options = facets_of(page)
    for pattern in real_catalogue().patterns.values():
        row = next(r for r in re.findall(r"<tr data-.*?</tr>", page, re.S) if f'"{pattern.slug}.html"' in r)
        facets = {k: html.unescape(v).split() for k, v in re.findall(r'data-(\w+)="([^"]*)"', row)}
        assert facets["status"] == [pattern.status.value]
        assert facets["tag"] == pattern.tags
        recipe = RECIPES.get(pattern.slug)
        assert recipe.needs.value in facets["needs"] if recipe else facets["needs"] == []
        assert len(facets["platform"]) == len(PLATFORMS)
        assert all(platform in words(row) for platform in (p.title for p in PLATFORMS.values()))
        assert facets["measured"] == [
            "yes" if any(m.record.pattern == pattern.slug for m in real_catalogue().records) else "no"
        ]
        for name in ("measured", "tag", "task"):
            assert set(facets[name]) <= {html.unescape(option) for option in options[name]}


def test_status_is_asked_where_there_is_more_than_one() -> None:
    catalogue = real_catalogue()
    for others in ({}, {"status": PatternStatus.DRAFT}):
        patterns = catalogue.patterns | {"on-policy": catalogue.patterns["on-policy"].model_copy(update=others)}
        options = facets_of(render(replace(catalogue, patterns=patterns))["patterns/index.md"])
        found = {pattern.status.value for pattern in patterns.values()}
        assert options.get("status") == (found if len(found) > 1 else None)


def test_matrix_leads_to_the_command() -> None:
    page = real_pages()["matrix.md"]
    for slug in real_catalogue().patterns:
        tabs = re.findall(r'^=== "(.*)"$', real_pages()[f"patterns/{slug}.md"], re.M)
        if slug not in RECIPES:  # nothing to run, so no tab that a cell could lead to
            assert f'href="patterns/{slug}.html#__tabbed' not in page
            continue
        assert tabs == [platform.title for platform in PLATFORMS.values()]  # the first tabs of the page are these
        for number in range(1, len(tabs) + 1):
            assert page.count(f'href="patterns/{slug}.html#__tabbed_1_{number}"') == 1
    cells = {row[0].split(" needs ")[0]: row[1:] for row in rows(page)}
    assert cells["Response-based distillation"] == ["direct", "bridged", "bridged", "bridged", "bridged", "bridged"]
    assert cells["Sequence-level distillation"] == ["direct"] * len(PLATFORMS)


def test_without_a_recipe_a_cell_is_no_link(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(RECIPES, "sequence-level")
    out = render(load(GOOD)[0])
    assert "__tabbed" not in out["matrix.md"]
    assert [row[1:] for row in rows(out["matrix.md"])][1] == ["not yet"] * len(PLATFORMS)
    assert 'data-needs=""' in out["patterns/index.md"]


def test_comparison_has_a_column_for_each_pattern_and_its_figures() -> None:
    catalogue = replace(load(GOOD)[0], records=[measured(stale=True)])
    table = {row[0]: row[1:] for row in rows(render(catalogue)["compare.md"])}
    assert "87.7% 84.3% to 90.2%" in table["Quality kept"][0] and "stale" in table["Quality kept"][0]
    assert table["Tokens per second, student ÷ teacher"] == ["7.3×"]
    assert table["Verdict"] == ["distil : Because it was made up."]
    assert "2 January 2031" in table["Date and machine"][0]
    real_rows = rows(real_pages()["compare.md"])
    assert {len(row) for row in real_rows} == {len(real_catalogue().patterns) + 1}
    moved = {
        item.axis
        for p in real_catalogue().patterns.values()
        for item in (*p.tradeoffs.advantages, *p.tradeoffs.disadvantages)
    }
    assert {real_catalogue().vocabulary.axes[axis].title for axis in moved} <= {row[0] for row in real_rows}


def test_relations_are_drawn_and_told() -> None:
    page = real_pages()["relations.md"]
    for pattern in real_catalogue().patterns.values():
        told = words(page.split(f"### {pattern.title}\n")[1].split("\n### ")[0])
        for other in pattern.related:
            assert find.title(real_catalogue(), other.slug) in told
    assert page.count("dp-tag--planned") >= sum(
        o.slug not in real_catalogue().patterns for p in real_catalogue().patterns.values() for o in p.related
    )
    assert page.count('role="img"') == len(list(find.maps(real_catalogue()))) > 2


def test_a_relation_told_from_both_ends_is_drawn_once() -> None:
    maps = {m.relation: m for m in find.maps(real_catalogue())}
    assert "precedes" not in maps  # the other end of "follows"
    assert len(re.findall("n_response_based --> n_on_policy", maps["follows"].source)) == 1
    edges = re.findall(r"(\w+) --- (\w+)", maps["combines_with"].source)
    assert len({frozenset(edge) for edge in edges}) == len(edges)


def test_every_address_leads_somewhere() -> None:
    """HTML links are not seen by MkDocs' own check."""
    for name in PAGES:
        for address in re.findall(r'href="([^"]+)"', real_pages()[name]):
            if not address.startswith("https://"):
                path, _, anchor = html.unescape(address).partition("#")
                target = str((Path("/") / name).parent.joinpath(path).resolve().relative_to("/")).replace(
                    ".html", ".md"
                )
                assert target in real_pages(), address
                assert not anchor or anchor.startswith("__tabbed") or f'id="{anchor}"' in real_pages()[target], address


def test_links_to_terms_say_what_they_mean() -> None:
    links = re.findall(r'<a href="glossary/([\w-]+)\.html"( title="[^"]+")?>', real_pages()["compare.md"])
    assert links
    for slug, title in links:
        assert plain(real_catalogue().terms[slug].short) in html.unescape(title)


def test_navigation_names_them() -> None:
    assert all(f"'{name}'" in str(navigation(real_catalogue())) for name in PAGES)


# ---------------------------------------------------------------------------------------------------- safety

BOMB = '</td><script>alert(1)</script>"onfocus="alert(1)" [x](javascript:alert(1)) `<b>`'
BOMB += " [x](https://e.org/onfocus=location=name//)"


def hostile() -> Catalogue:
    """A catalogue whose titles, names and reasons all try to break out."""
    catalogue = load(GOOD)[0]
    pattern = catalogue.patterns["sequence-level"]
    bad = pattern.model_copy(
        update={
            "title": Line(BOMB),
            "summary": Line(BOMB),
            "aliases": [BOMB],
            "when_to_use": [g.model_copy(update={"text": Prose(BOMB)}) for g in pattern.when_to_use],
            "related": [r.model_copy(update={"why": Prose(BOMB)}) for r in pattern.related],
        }
    )
    vocabulary = catalogue.vocabulary
    dimensions = {
        key: d.model_copy(update={"title": BOMB, "question": BOMB, "values": dict.fromkeys(d.values, BOMB)})
        for key, d in vocabulary.dimensions.items()
    }
    words_ = vocabulary.model_copy(update={"dimensions": dimensions})
    return replace(catalogue, patterns={"sequence-level": bad}, vocabulary=words_)


class Elements(HTMLParser):
    """What a browser would make of a text: the names of elements and attributes, and the addresses."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names |= {tag, *(name for name, _ in attrs)}
        self.addresses += [value or "" for name, value in attrs if name == "href"]


def test_hostile_words_stay_words() -> None:
    catalogue = hostile()
    for name in PAGES:
        page = render(catalogue)[name].split("---\n", 2)[2]
        assert "alert(1)" in page, name
        assert "](javascript" not in page
        found = Elements(page)
        assert not found.names & {"script", "onfocus", "b"} - ({"b"} if name == "compare.md" else set())
        assert not [address for address in found.addresses if address.startswith("javascript")]


def test_hostile_titles_stay_out_of_diagrams() -> None:
    source = next(iter(find.maps(hostile()))).source
    assert not set("<>`()[]{}|;&#") & set(re.search(r'\["(.*)"\]', source)[1])


def test_nothing_is_inline() -> None:
    """A strict Content-Security-Policy lets no handler and no style of an attribute through."""
    for name in PAGES:
        assert not [n for n in Elements(real_pages()[name]).names if n.startswith("on") or n == "style"]
    for script in ("address", "rank", "choose", "filter", "compare"):
        text = (ASSETS / f"{script}.js").read_text("utf-8")
        assert not re.search(r"innerHTML|insertAdjacentHTML|\beval\b|new Function|\.style\b|fetch\(|https?://", text)


def test_pages_name_scripts_that_exist() -> None:
    named = {s for p in PAGES for s in re.findall(r"[\w-]+\.js\b", real_pages()[p].split("---\n")[1])}
    assert named == {"address.js", "rank.js", "choose.js", "filter.js", "compare.js"}
    assert all((ASSETS / name).is_file() for name in named)


def test_twenty_more_patterns_need_no_code() -> None:
    """Copies under other names appear on every page."""
    catalogue = load(GOOD)[0]
    model = catalogue.patterns["sequence-level"]
    more: dict[str, Pattern] = {
        f"copy-{n}": model.model_copy(update={"slug": f"copy-{n}", "title": Line(f"Copied pattern {n}")})
        for n in range(20)
    }
    out = render(replace(catalogue, patterns={**catalogue.patterns, **more}))
    for name in PAGES:
        assert all(f"Copied pattern {n}" in out[name] for n in range(20)), name
    assert len(json.loads(out["criteria.json"])["patterns"]) == 21


# ---------------------------------------------------------------------------------------------------- search


def test_other_names_are_found_as_titles_are() -> None:
    page = real_pages()["patterns/sequence-level.md"]
    assert json.loads(re.search(r"^tags: (.*)$", page, re.M)[1]) == real_catalogue().patterns["sequence-level"].aliases
    settings = (ROOT / "mkdocs.yml").read_text("utf-8")
    assert re.search(r"title: \{boost: 1000\.0\}.*tags: \{boost: 1000\.0\}", settings, re.S)


def test_relations_say_the_same_from_both_ends() -> None:
    patterns = real_catalogue().patterns
    told = {(slug, other.slug): other.relation for slug, pattern in patterns.items() for other in pattern.related}
    reverse = {**find.REVERSED, **{b: a for a, b in find.REVERSED.items()}}
    both = [pair for pair in told if pair[::-1] in told]
    assert len(both) > 10
    assert [pair for pair in both if told[pair[::-1]] != reverse.get(told[pair], told[pair])] == []
