"""Prose: what it understands, and that nothing else of it becomes markup."""

from __future__ import annotations

import re

import markdown
import pytest
from builder_samples import GOOD, load, make_record, measured

from builder import diagram, figures
from builder.pages.page import Page
from builder.prose import Cite, Code, Em, Figure, Link, Strong, Text, inline, parse, plain
from implementations.figures import seconds

EXTENSIONS = ["attr_list", "md_in_html", "tables", "toc", "pymdownx.highlight", "pymdownx.superfences"]


def html(text: str) -> str:
    page = Page(load(GOOD)[0], "patterns/x.md")
    return markdown.markdown(page.blocks(text), extensions=[*EXTENSIONS, "pymdownx.tabbed"])


def test_inline_nodes() -> None:
    assert inline("a **b** *c* `d` [e](term:f) [@g, sec. 2; @h] [[record: i.j | k]]") == (
        Text("a "),
        Strong((Text("b"),)),
        Text(" "),
        Em((Text("c"),)),
        Text(" "),
        Code("d"),
        Text(" "),
        Link((Text("e"),), "term:f"),
        Text(" "),
        Cite((("g", "sec. 2"), ("h", None)), "[@g, sec. 2; @h]"),
        Text(" "),
        Figure("i.j", "k", "[[record: i.j | k]]"),
    )


def test_blocks() -> None:
    kinds = [(block.kind, len(block.items)) for block in parse("One\nline.\n\n- a\n- b\n  more\n1. c")]
    assert kinds == [("paragraph", 1), ("bullets", 2), ("numbers", 1)]


def test_rendering() -> None:
    assert html("**b** `c<d>` and [t](term:teacher)") == (
        "<p><strong>b</strong> <code>c&#60;d&#62;</code> and "
        '<a href="../glossary/teacher.md" title="One of two models.">t</a></p>'
    )
    assert html("- a\n- b").count("<li>") == 2


def test_plain_words() -> None:
    assert plain("Keeps **all** of it [@a, sec. 2], [see](term:b).") == "Keeps all of it, see."


HOSTILE = [
    "<script>alert(1)</script>",
    '<img src=x onerror="alert(1)">',
    "[x](javascript:alert(1))",
    "[x](https://e.org/\"onmouseover='alert(1)')",
    "[x](data:text/html,<script>)",
    "![x](https://e.org/x.png)",
    "word {: onclick=alert(1) }",
    "# Heading { #id onclick=alert(1) }",
    "```\n<script>\n```",
    '=== "Tab"\n\n    <script>',
    "!!! note\n    text",
    "| a | b |\n| - | - |\n| <b> | c |",
    "[ref]: https://e.org\n\n[ref]",
    "`</code><script>alert(1)</script>`",
    "&lt;script&gt; &#60;script&#62;",
    "<https://e.org> <a@b.c>",
    "**<b>** *<i>* [<u>](https://e.org)",
    "\x02wzxhzdk:0\x03 \x02klzzwxh:0000\x03",
    "\\<script>alert(1)\\</script>",
    '<div markdown="1">\n\n<script>\n\n</div>',
    "--8<-- '/etc/passwd'",
]
ALLOWED = re.compile(r"</?(p|strong|em|code|ul|ol|li)>|<a href=\"https://e\.org[^\"<> ]*\">|</a>")


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_hostile_becomes_markup(text: str) -> None:
    left = ALLOWED.sub("", html(text))
    assert "<" not in left and ">" not in left
    for words in re.findall(r"<[^>]*>", html(text)):
        assert "on" not in re.sub(r"strong", "", words).split("href")[0]
        assert "javascript" not in words and "data:" not in words


def test_diagram_keeps_nothing_but_shapes_and_words() -> None:
    svg = diagram.svg(
        'flowchart LR\n A["<script>alert(1)</script>"] --> B\n style A fill:url(https://e.org)\n'
        ' click B href "javascript:alert(1)"',
        "d",
        'a "label" <b>',
    )
    tags = {tag.strip("</") for tag in re.findall(r"</?[a-z]+", svg)}
    assert tags <= {"svg", "defs", "marker", "path", "circle", "g", "rect", "text", "tspan", "polygon"}
    assert not re.search(r"e\.org|javascript|style|href|<script", svg)
    assert 'role="img"' in svg and "&quot;label&quot; &lt;b&gt;" in svg


def test_diagram_errors_name_the_line_of_the_source() -> None:
    source = "flowchart LR\n  %% a comment\n  A --> B\n  %%{init: {}}%%\n  B --> [["
    assert [(error.line, error.what.split(":")[0]) for error in diagram.errors(source)] == [
        (4, "`%%{` has no effect"),
        (5, "Cannot parse node"),
    ]


def test_diagram_view_holds_every_corner() -> None:
    svg = diagram.svg("flowchart TD\n A --> B{A very wide question about it}", "d", "x")
    left, _, width, _ = map(float, re.search(r'viewBox="([^"]+)"', svg)[1].split())
    points = re.search(r'<polygon points="([^"]+)" />', svg)[1]
    assert all(left < float(point.split(",")[0]) < left + width for point in points.split())


# ------------------------------------------------------------------------------------------------- figures


@pytest.mark.parametrize(
    ("path", "form", "text"),
    [
        ("retention", "percent", "87.7% (84.3% to 90.2%)"),
        ("speedup", "times", "7.3×"),
        ("size_ratio", "percent", "25%"),
        ("arms.student_gold.metrics.heldout.fact_f1", "percent", "33.3% (31.3% to 35.3%)"),
        ("comparisons.student_distilled-student_gold.heldout.fact_f1", "points", "+44.4 points (+40.0 to +50.0)"),
        ("serving.student.latency_p50_s", "seconds", "543 ms"),
        ("serving.teacher.latency_p50_s", "seconds", "5.67 s"),
        ("stages.distil", "seconds", "2 min 2 s"),
        ("student.parameters", "count", "123 million"),
        ("student.bytes", "bytes", "500 MB"),
        ("serving.student.peak_memory_mib", "mib", "345 MiB"),
        ("task.sizes.gold", None, "4,321"),
        ("collection.usd", "dollars", "$1.25"),
        ("date", None, "2031-01-02"),
        ("teacher.name", None, "Big"),
        ("machine.gpu", None, "none"),
    ],
)
def test_figures(path: str, form: str | None, text: str) -> None:
    figures.check_path(path)
    assert figures.write(figures.read(make_record(), path), form) == text


@pytest.mark.parametrize("path", ["speedup", "memory_ratio"])
def test_what_was_not_measured_is_no_figure(path: str) -> None:
    away = make_record(serving={"student": make_record().serving["student"]})
    with pytest.raises(figures.FigureError, match=f"^the record has no {path}"):
        figures.read(away, path)


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("retentoin", "a record has no retentoin"),
        ("serving.student", "serving.student is not one figure"),
        ("serving.student.latency", "serving.student has no latency"),
        ("arms.student", "arms is followed by one of"),
        ("comparisons.a-b", "comparisons is followed by"),
        ("speedup.more", "speedup has nothing inside"),
        ("stages", "stages is followed by"),
    ],
)
def test_paths_that_no_record_has(path: str, why: str) -> None:
    with pytest.raises(figures.FigureError, match=f"^{why}"):
        figures.check_path(path)


@pytest.mark.parametrize(
    ("value", "text"), [(0.0042, "4.2 ms"), (0.9, "900 ms"), (59.94, "59.9 s"), (60, "1 min"), (7260, "2 h 1 min")]
)
def test_seconds(value: float, text: str) -> None:
    assert seconds(value) == text


def test_measured_sample_is_not_stale_by_itself() -> None:
    assert not measured().stale and not make_record().stale
