"""Nothing that stands in YAML, in a record or in a diagram can become an element, an attribute, a script or a link.

The proof is by comparison. The same catalogue is built twice through MkDocs and the site's own theme, once as it is
and once with something hostile at the end of every text. Both must have the same elements with the same attributes.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree

import pytest
from builder_samples import BOMB, GOOD, ROOT, copy_good, load, load_hostile, make_record, poison
from mkdocs.commands.build import build
from mkdocs.config import load_config

from builder import diagram
from builder.load import Catalogue, Measured
from builder.render import render

BOMBS = {
    "script": BOMB,
    "ends": "</title></script></style></textarea></code></p></td></svg><svg onload=alert(1)><base href=//e.org>",
    "comments": "--> <!-- alert(1) ]]> <![CDATA[ x <?php x ?> <!DOCTYPE x",
    "templates": "{{ 7*7 }}{% raw %}${7*7}{: .x #y onclick=alert(1) }{.x}",
    "attributes": "\" onmouseover=\"alert(1)\" x=' onfocus='alert(1)' autofocus `onclick=alert(1)",
    "markdown": "``` ~~~ === \"T\" !!! x ??? x | a | b | # h --8<-- 'x' ++a++ ==a== ^^a^^ ~~a~~ :smile: [TOC] *[a]: b",
    "entities": "&lt;script&gt; &#60;img src=x&#62; &amp;lt; \\<b> \\u003cscript\\u003e %3Cscript%3E \\x3cb",
    "links": "[r]: javascript:x [r] <https://e.org> <a@e.org> [x](//e.org) [x](data:text/html,x) [x](vbscript:x) "
    '[x](JaVaScRiPt:x) [x](term:"onclick=x)',
    "true links": "[x](https://e.org/onfocus=location=name//)",
}
LINK = [("href", "https://e.org/onfocus=location=name//")]
"""The one thing of a bomb that may become an element."""
ADDRESS = "https://e.org/a')](javascript:alert(1))`onclick=alert(1)`&quot;/"


class Skeleton(HTMLParser):
    """A page's elements with the names of their attributes, in order; and where it leads and loads from.

    A longer title takes more lines of a diagram, so what a diagram holds is kept apart.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, ...]] = []
        self.addresses: list[str] = []
        self.drawn: set[str] = set()
        self.drawing = self.linked = False
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.linked = self.linked or (tag == "a" and attrs == LINK)
        if self.linked:
            return
        if self.drawing:
            self.drawn |= {tag, *(name for name, _ in attrs)}
        else:
            self.elements.append((tag, *sorted(name for name, _ in attrs)))
        self.drawing = self.drawing or ("class", "dp-diagram__svg") in attrs
        self.addresses += [value or "" for name, value in attrs if name in ("href", "src", "action", "srcset", "data")]

    def handle_endtag(self, tag: str) -> None:
        if self.linked:
            self.linked = tag != "a"
            return
        self.drawing = self.drawing and tag != "svg"
        if not self.drawing:
            self.elements.append((f"/{tag}",))

    def handle_comment(self, data: str) -> None:
        self.elements.append(("!--",))

    def handle_decl(self, decl: str) -> None:
        self.elements.append((f"!{decl}",))

    def handle_pi(self, data: str) -> None:
        self.elements.append(("?",))


def with_more(catalogue: Catalogue, bomb: str | None) -> Catalogue:
    """With a record, and with the addresses of works, both hostile if there is a bomb."""
    record = make_record()
    if bomb:
        data = poison(record.model_dump(mode="json"), bomb)
        record = type(record).model_validate({**data, "command": record.command, "task": record.task})
    address, doi = (ADDRESS, '10.1/"><script>alert(1)</script>') if bomb else ("https://e.org/a", "10.1/a")
    references = {k: ref.model_copy(update={"URL": address, "DOI": doi}) for k, ref in catalogue.references.items()}
    return replace(catalogue, records=[Measured("made-up", record, False, True)], references=references)


def built(catalogue: Catalogue, out: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Every text file of the site that MkDocs makes of a catalogue, whatever is wrong with it."""
    monkeypatch.setattr("builder.plugin.read", lambda root, own: (catalogue, []))
    monkeypatch.setattr("builder.plugin.check", lambda catalogue: [])
    config = load_config(str(ROOT / "mkdocs.yml"), site_dir=str(out))
    config.plugins.on_startup(command="build", dirty=False)
    build(config)
    kinds = (".html", ".json", ".xml", ".txt", ".bib")
    return {p.relative_to(out).as_posix(): p.read_text("utf-8") for p in out.rglob("*") if p.suffix in kinds}


@pytest.fixture(scope="module")
def harmless(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    with pytest.MonkeyPatch.context() as patch:
        return built(with_more(load(GOOD)[0], None), tmp_path_factory.mktemp("harmless"), patch)


@cache
def redirects() -> set[str]:
    return {path for path in render(load(GOOD)[0]) if path.endswith(".html")}


@pytest.mark.parametrize("name", BOMBS)
def test_nothing_hostile_changes_a_page(
    name: str, harmless: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue, _ = load_hostile(tmp_path / "catalogue", BOMBS[name])
    assert not catalogue.broken
    hostile = built(with_more(catalogue, BOMBS[name]), tmp_path / "site", monkeypatch)
    pages = {path for path in harmless if path.endswith(".html")} - redirects()
    assert len(pages) > 10
    for path in pages:
        ours, theirs = Skeleton(harmless[path]), Skeleton(hostile[path])
        assert theirs.elements == ours.elements, path
        assert theirs.drawn <= {name.lower() for name in diagram.TAGS | diagram.ATTRIBUTES | GIVEN}, path
        assert not [names for _, *names in theirs.elements if any(n.startswith("on") for n in names)], path
        for address in theirs.addresses:
            assert urlsplit(address).scheme in ("", "https"), (path, address)
            assert not address.startswith("//"), (path, address)
    texts = "".join(hostile[path] for path in pages)
    assert texts.count("made-up") > 5 and len(texts) > len("".join(harmless[path] for path in pages)) + 1000
    _compare_redirects(hostile, harmless)
    _compare_data(hostile, harmless)


def _compare_redirects(hostile: dict[str, str], harmless: dict[str, str]) -> None:
    """Their addresses are made of aliases, so they are others; but each is built like any other."""
    (alike, *_) = {tuple(Skeleton(harmless[path]).elements) for path in redirects()}
    made = [path for path in hostile if path.endswith(".html") and path not in harmless]
    assert made
    for path in made:
        assert tuple(Skeleton(hostile[path]).elements) == alike, path
        assert re.fullmatch(r"(patterns|glossary)/[\w-]+\.html", path)


def _compare_data(hostile: dict[str, str], harmless: dict[str, str]) -> None:
    """Feed and sitemap have the same elements, JSON the same keys, and the search index no other markup."""
    for path in ("feed.xml", "sitemap.xml"):
        ours, theirs = (ElementTree.fromstring(files[path]) for files in (harmless, hostile))
        assert [e.tag for e in theirs.iter()] == [e.tag for e in ours.iter()], path
    for path in (path for path in harmless if path.endswith(".json") and not path.startswith("schemas/")):
        assert shape(json.loads(hostile[path])) == shape(json.loads(harmless[path])), path
    ours, theirs = (set(tags_of_search(json.loads(f["search/search_index.json"]))) for f in (harmless, hostile))
    assert theirs <= ours


def shape(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: shape(value) for key, value in data.items()}
    return [shape(item) for item in data] if isinstance(data, list) else type(data).__name__


def tags_of_search(index: dict[str, Any]) -> list[str]:
    """The search shows titles and texts as HTML, so what is no markup must be encoded there."""
    return [tag for doc in index["docs"] for part in ("title", "text") for tag in re.findall(r"<[^>]*>", doc[part])]


# ----------------------------------------------------------------------------------------------- diagrams, scripts


DIAGRAMS = [
    'flowchart LR\n A["<img src=x onerror=alert(1)>"] --> B["</svg><script>alert(1)</script>"]',
    'flowchart LR\n A["x"] -->|"<script>alert(1)</script>"| B["a #quot; onload=alert(1)"]',
    'flowchart LR\n A --> B\n click A href "javascript:alert(1)"\n click B call alert(1)',
    "flowchart LR\n A --> B\n style A fill:url(https://e.org/x),background:url(javascript:x)\n linkStyle 0 stroke:red",
    "flowchart LR\n A:::x --> B\n classDef x fill:#fff;}</style><script>alert(1)</script>",
    '%%{init: {"securityLevel": "loose", "themeCSS": "@import url(https://e.org)"}}%%\nflowchart LR\n A --> B',
    'flowchart LR\n subgraph s["</g><foreignObject><iframe src=https://e.org>"]\n A --> B\n end',
    "flowchart LR\n A[`**b** <b>x</b>`] --> B[fa:fa-ban <i>x</i>]",
    'flowchart LR\n a"onload="alert(1) --> B',
    "sequenceDiagram\n participant A as <script>alert(1)</script>\n A->>B: <img src=x onerror=alert(1)>\n"
    " link A: x @ javascript:alert(1)",
    "sequenceDiagram\n A->>B: x\n Note over A: </text></svg><script>alert(1)</script>",
]
GIVEN = {"id", "role", "aria-label", "xmlns", "marker-end", "marker-start"}


@pytest.mark.parametrize("source", DIAGRAMS)
def test_nothing_hostile_gets_out_of_a_diagram(source: str) -> None:
    try:
        svg = diagram.svg(source, "d", f'"label" {BOMB}')
    except Exception:
        assert list(diagram.errors(source))  # what cannot be drawn is refused
        return
    page = Skeleton(f"<p>{svg}</p>")
    assert [tag for tag, *_ in page.elements] == ["p", "svg", "/svg", "/p"]
    assert page.drawn <= {name.lower() for name in diagram.TAGS | diagram.ATTRIBUTES | GIVEN}
    assert not page.addresses
    for element in ElementTree.fromstring(svg).iter():
        for name, value in element.attrib.items():
            assert name == "aria-label" or not re.search(r"javascript|https?:|url\((?!#)|[<>]", value), (name, value)


def test_our_scripts_write_no_markup() -> None:
    """They make elements and set their text, so nothing that they read from a page or an address becomes markup."""
    writing = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc")
    scripts = sorted((ROOT / "site_overrides/docs/assets").glob("*.js"))
    assert scripts
    for path in scripts:
        assert not writing.search(path.read_text("utf-8")), path.name


@pytest.mark.parametrize("name", ['x"onclick="alert(1)', "<b>", "a b", "a](javascript:x)"])
def test_record_with_a_hostile_name_is_refused(name: str, tmp_path: Path) -> None:
    root = copy_good(tmp_path)
    folder = root / "implementations/records"
    folder.mkdir(parents=True)
    (folder / f"{name}.json").write_text(make_record().model_dump_json(), "utf-8")
    catalogue, problems = load(root)
    assert not catalogue.records
    assert [p.what for p in problems] == [f"“{name}” is no name for a record"]
