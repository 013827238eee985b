"""The two sinks: MkDocs and `catalogue render` carry the same tree; the command line's manners."""

from __future__ import annotations

import json
import posixpath
import re
import shutil
import socket
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree
from zipfile import ZipFile

import material
import pytest
from builder_samples import ROOT, copy_good, load, make_record, real_catalogue, real_pages
from typer.testing import CliRunner

from builder.cli import BUILT, app
from builder.data import updated
from builder.downloads import cells
from builder.plugin import COMPILE_HINT, THEME_SCRIPT
from builder.render import render
from implementations.delivery.copy import copy
from implementations.record import save


def run(*arguments: str | Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, result.stderr


def site(root: Path) -> Path:
    """A good sample catalogue with the project's own theme and settings."""
    copy_good(root)
    shutil.copy(ROOT / "mkdocs.yml", root)
    shutil.copytree(ROOT / "site_overrides", root / "site_overrides")
    return root


def mkdocs(root: Path, config: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Into out/, or with other settings where these say."""
    where = ["--config-file", str(config)] if config else ["--site-dir", str(root / "out")]
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", *where]
    env = {"PATH": "/usr/bin:/bin", "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(command, cwd=root, capture_output=True, text=True, env=env)


def test_mkdocs_builds_strictly_and_equals_render(tmp_path: Path) -> None:
    root = site(tmp_path)
    save(make_record(code_sha256="0" * 64), root / "implementations/records/made-up.json")
    done = mkdocs(root)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    assert run("render", root / "pages", "--root", root)[0] == 0
    pages = render(load(root)[0])
    for name, content in pages.items():
        assert (root / "pages/docs" / name).read_text("utf-8") == content
        if name.endswith(".md"):
            built = (root / "out" / name.replace(".md", ".html")).read_text("utf-8")
            assert headings(built) == re.findall(r"^(#+) ", outside_tabs(content), re.M)
        else:
            assert (root / "out" / name).read_text("utf-8") == content
    written = {p.relative_to(root / "pages/docs").as_posix() for p in (root / "pages/docs").rglob("*") if p.is_file()}
    assets = {path.relative_to(ROOT / "site_overrides/docs").as_posix() for path in assets_of(ROOT)}
    zipped = cells(load(root)[0]).keys()
    assert zipped and written == pages.keys() | assets | zipped
    for name in zipped:
        assert (root / "out" / name).read_bytes() == (root / "pages/docs" / name).read_bytes()


def outside_tabs(page: str) -> str:
    return re.sub(r"```.*?```", "", page, flags=re.S)


def headings(built: str) -> list[str]:
    article = built.split("<article")[1].split("</article>")[0]
    return ["#" * int(level) for level in re.findall(r"<h([1-6])[ >]", article)]


def assets_of(root: Path) -> list[Path]:
    return [path for path in (root / "site_overrides/docs").rglob("*") if path.is_file()]


def test_real_site_asks_nothing_of_third_parties(real: Path) -> None:
    loading = re.compile(
        r"""<(?:script|img|iframe|source|video|audio)\b[^>]*\bsrc=["']?(?:https?:)?//|<link\b[^>]*>|@import|url\(\s*["']?(?:https?:)?//"""
    )
    for path in real.rglob("*.html"):
        for found in loading.findall(path.read_text("utf-8")):
            assert re.search(r'rel="?(canonical|prev|next)', found) or "//" not in found, (path, found)
    assert "url(http" not in (real / "assets/catalogue.css").read_text("utf-8")


def test_real_site_has_its_pages_and_their_data(real: Path) -> None:
    catalogue, _ = load(ROOT)
    for slug in catalogue.patterns:
        assert (real / f"patterns/{slug}.html").exists() and (real / f"patterns/{slug}.json").exists()
    for slug in catalogue.terms:
        page = (real / f"glossary/{slug}.html").read_text("utf-8")
        data = json.loads((real / f"glossary/{slug}.json").read_text("utf-8"))
        linked = json.loads(re.search(r'<script type="application/ld\+json">(.*?)</script>', page, re.S)[1])
        assert linked["@type"] == "DefinedTerm" and linked["url"] == data["citation"]["canonical_url"]


def test_real_site_links_to_what_machines_read(real: Path) -> None:
    kinds = {}
    for path in real.rglob("*.html"):
        text = path.read_text("utf-8")
        if 'http-equiv="refresh"' in text:
            continue
        for link in re.findall(r'<link rel="alternate alternate"[^>]*>', text):
            name = path.relative_to(real).as_posix()
            kinds.setdefault(name, []).append(re.search(r'type="([^"]+)"', link)[1])
            address = re.search(r'href="([^"]+)"', link)[1]
            target = real / address.lstrip("/") if address.startswith("/") else path.parent / address
            assert target.is_file(), (name, address)
    assert kinds["patterns/sequence-level.html"][:3] == ["application/atom+xml", "application/json", "text/markdown"]
    assert kinds["glossary/temperature.html"] == ["application/atom+xml", "application/json", "text/markdown"]
    assert "404.html" in kinds


def test_the_themes_script_is_what_it_was_but_for_the_hint_on_its_first_line(real: Path) -> None:
    [bundle] = real.glob(THEME_SCRIPT)
    original = Path(material.__file__).parent / "templates" / bundle.relative_to(real)
    assert bundle.read_bytes() == COMPILE_HINT + original.read_bytes()


def test_sitemap_lists_every_page_and_nothing_else_with_the_day_of_its_change(real: Path) -> None:
    catalogue, _ = load(ROOT)
    found = ElementTree.parse(real / "sitemap.xml").getroot()
    days = {url[0].text.removeprefix(catalogue.site_url): url[1].text for url in found}
    pages = {name.replace(".md", ".html") for name in render(catalogue) if name.endswith(".md")}
    assert {address or "index.html" for address in days} == pages
    assert days["glossary/temperature.html"] == catalogue.terms["temperature"].updated
    assert days["glossary/index.html"] == updated(catalogue)


# --------------------------------------------------------------------------------------- two builders, one tree


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real catalogue as `catalogue render` writes it: docs/ and mkdocs.yml."""
    folder = tmp_path_factory.mktemp("tree")
    assert run("render", folder, "--root", ROOT)[0] == 0
    return folder


@pytest.fixture(scope="module")
def zensical(tree: Path) -> Path:
    """The same site, built strictly by Zensical."""
    pytest.importorskip("zensical", reason="Zensical is not installed; `pip install -e '.[dev]'` brings it")
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean", "-f", str(tree / "mkdocs.yml")]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return tree / "site"


class Built(HTMLParser):
    """What a built page says: the content with its links and headings, the navigation, and what its head tells."""

    def __init__(self, path: Path, site: Path) -> None:
        super().__init__()
        self.here = path.relative_to(site).parent
        self.links: list[str] = []  # of the content
        self.headings: list[tuple[str, str | None, str]] = []
        self.nav: set[str] = set()
        self.head: list[tuple[str | None, ...]] = []
        self.data: list[object] = []  # every JSON that we embed
        self._within: list[str] = []  # article, nav, a heading or a script, the innermost last
        self._text = ""
        source = path.read_text("utf-8")
        self.feed(source)
        article = re.search(r"<article[^>]*>(.*)</article>", source, re.S)
        self.content = re.sub(r" +", " ", ADDED.sub("", re.sub(r"\s+", " ", article[1]))) if article else ""

    def address(self, href: str) -> str:
        """From the site's root, as the two write relative addresses in two ways."""
        return href if "://" in href or href.startswith(("/", "#")) else posixpath.normpath(f"{self.here}/{href}")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        a = dict(attrs)
        if tag in ("article", "nav", *HEADINGS) or (tag == "script" and a.get("id") != "__config"):
            self._within.append(tag)
            self._text = ""
            self._is = a.get("type", "") if tag == "script" else a.get("id")
        if a.get("href") and "article" in self._within:
            self.links.append(self.address(a["href"]))
        elif a.get("href") and "nav" in self._within:
            self.nav.add(self.address(a["href"]))
        if tag == "link" and a.get("rel") in ("alternate", "canonical"):
            self.head.append((a["rel"], a.get("type"), a.get("title"), self.address(a["href"])))
        elif tag == "meta" and a.get("name") == "description":
            self.head.append(("description", a.get("content")))

    def handle_endtag(self, tag: str) -> None:
        if not self._within or self._within[-1] != tag:
            return
        self._within.pop()
        if tag == "script" and "json" in self._is:
            self.data.append(json.loads(self._text))
        elif tag in HEADINGS and "article" in self._within:
            self.headings.append((tag, self._is, self._text))

    def handle_data(self, data: str) -> None:
        self._text += data


HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
ADDED = re.compile(
    r'<a id="__skip" tabindex="-1"></a>|<nav class="md-tags" hidden ?>.*?</nav>| data-search-exclude(="")?'
)
"""What only one of them has: where Zensical's first link leads, tags (which only search shall see), and a mark."""


def files_of(site: Path) -> dict[str, Path]:
    return {path.relative_to(site).as_posix(): path for path in site.rglob("*") if path.is_file()}


def test_zensical_builds_the_same_pages(real: Path, zensical: Path) -> None:
    """Every page: its content to the letter, links, headings, navigation, alternates, description and linked data."""
    ours, theirs = ({n: p for n, p in files_of(site).items() if n.endswith(".html")} for site in (real, zensical))
    assert ours.keys() == theirs.keys()
    for name in ours:
        one, other = Built(ours[name], real), Built(theirs[name], zensical)
        for part in ("links", "headings", "head", "data", "nav", "content"):
            assert getattr(one, part) == getattr(other, part), (name, part)
    page = Built(ours["patterns/sequence-level.html"], real)
    assert len(page.links) > 50 and len(page.headings) > 10 and len(page.nav) > 10 and len(page.data) == 1


def test_zensical_keeps_every_file_that_is_no_page(real: Path, zensical: Path) -> None:
    """JSON, plain Markdown, feed, BibTeX, redirects and assets, byte for byte."""
    assets = [path.relative_to(ROOT / "site_overrides/docs").as_posix() for path in assets_of(ROOT)]
    names = [name for name in real_pages() if not name.endswith(".md")]
    assert sum(name.endswith(".json") for name in names) > 70
    for name in [*names, *assets]:
        assert (zensical / name).read_bytes() == (real / name).read_bytes(), name


def test_what_zensical_does_not_do(real: Path, zensical: Path) -> None:
    """All that is known. Whatever it learns fails here, and its line goes."""
    ours, theirs = (ElementTree.parse(site / "sitemap.xml").getroot() for site in (real, zensical))
    addresses = [sorted(url[0].text.removesuffix("index.html") for url in urls) for urls in (ours, theirs)]
    assert addresses[0] == addresses[1]
    assert [len(url) for url in theirs] == [1] * len(ours)  # its sitemap says no day of a page's change

    search = json.loads((real / "search/search_index.json").read_text("utf-8"))
    other = json.loads((zensical / "search.json").read_text("utf-8"))
    assert {d["location"] for d in search["docs"]} == {d["location"] for d in other["items"]}
    assert (
        "fields" in search["config"] and "fields" not in other["config"]
    )  # titles and aliases count no more than text
    assert any("boost" in d for d in search["docs"])
    assert not any("boost" in d for d in other["items"])  # nor patterns more than other pages
    script = next((zensical / "assets/javascripts").glob("bundle*.js")).read_text("utf-8")
    assert "search.suggest" not in script  # no word is completed


def test_mkdocs_builds_the_tree_without_our_plugin(tmp_path: Path) -> None:
    root = site(tmp_path)
    assert run("render", root / "pages", "--root", root)[0] == 0
    assert mkdocs(root, root / "pages/mkdocs.yml").returncode == 0
    assert mkdocs(root).returncode == 0
    ours, theirs = files_of(root / "out"), files_of(root / "pages/site")
    assert ours.keys() == theirs.keys()
    for name in ours:
        if not name.startswith(("sitemap", "search/")):  # our plugin alone knows a page's day; the order is another
            assert ours[name].read_bytes().removeprefix(COMPILE_HINT) == theirs[name].read_bytes(), name


# ------------------------------------------------------------------------------------------------- the plugin


def test_mkdocs_refuses_a_broken_catalogue(tmp_path: Path) -> None:
    root = site(tmp_path)
    (root / "glossary/teacher.yml").write_text("slug: [", "utf-8")
    done = mkdocs(root)
    assert done.returncode != 0
    assert "glossary/teacher.yml:2:1: not valid YAML" in done.stderr
    assert "1 problem in the catalogue" in done.stderr
    assert "Traceback" not in done.stderr


def test_mkdocs_shows_your_own_records(tmp_path: Path) -> None:
    root = site(tmp_path)
    save(make_record(), root / "mine/run.json")
    assert mkdocs(root, CATALOGUE_RECORDS=str(root / "mine")).returncode == 0
    page = (root / "out/patterns/sequence-level.html").read_text("utf-8")
    assert "your own run, not committed" in page and "87.7%" in page
    assert (root / "out/records/own/run.json").exists()


# ------------------------------------------------------------------------------------------------- commands


def test_check_says_that_all_is_well() -> None:
    code, out, err = run("check", "--root", ROOT)
    assert (code, err) == (0, "")
    assert out.startswith("No problem in ")


def test_check_prints_every_problem_and_exits_with_2(tmp_path: Path) -> None:
    root = copy_good(tmp_path)
    for name in ("teacher", "student"):
        path = root / f"glossary/{name}.yml"
        path.write_text(path.read_text("utf-8").replace("severity: high", "severity: hihg"), "utf-8")
    code, out, err = run("check", "--root", root)
    assert (code, out) == (2, "")
    wrong = "severity: “hihg” is not among its values; no other has a meaning; did you mean `high`?"
    assert err.splitlines() == [
        f"glossary/student.yml:19:11: {wrong}",
        f"glossary/teacher.yml:19:11: {wrong}",
        "2 problems in 2 files",
    ]


def test_check_where_there_is_no_catalogue(tmp_path: Path) -> None:
    code, out, err = run("check", "--root", tmp_path)
    wrong = f"{tmp_path.resolve()}: holds neither patterns/ nor glossary/; run this where they are, or pass --root\n"
    assert (code, out, err) == (2, "", wrong)


def test_missing_folder_of_records(tmp_path: Path) -> None:
    code, _, err = run("check", "--root", copy_good(tmp_path), "--records", tmp_path / "nowhere")
    assert code == 2
    assert "there is no such folder of records; nothing of yours can be shown; pass the folder of a run" in err


def test_render_into_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, _, err = run("render", tmp_path / "file", "--root", ROOT)
    assert code == 2
    assert "cannot be written" in err and "Traceback" not in err


def test_render_into_the_project_itself_is_refused(tmp_path: Path) -> None:
    root = copy_good(tmp_path)
    (root / "mkdocs.yml").write_text("site_name: x\n", "utf-8")
    code, _, err = run("render", root, "--root", root)
    assert code == 2 and "inherits from itself; choose another" in err
    assert (root / "mkdocs.yml").read_text("utf-8") == "site_name: x\n"


def test_build_without_settings(tmp_path: Path) -> None:
    code, _, err = run("build", "--root", copy_good(tmp_path))
    assert code == 2
    assert "mkdocs.yml: the file is missing" in err


def test_a_build_empties_no_folder_that_it_did_not_write(tmp_path: Path) -> None:
    root, mine = copy_good(tmp_path / "root"), tmp_path / "mine"
    mine.mkdir()
    (mine / "notes.txt").write_text("mine", "utf-8")
    for folder in (mine, root, mine / "notes.txt"):
        code, _, err = run("build", "--root", root, "--site", folder)
        assert code == 2 and "a build empties it" in err
    assert (mine / "notes.txt").read_text("utf-8") == "mine" and (root / "patterns").exists()
    (mine / "search").mkdir()
    (mine / BUILT).write_text("{}", "utf-8")
    code, _, err = run("build", "--root", root, "--site", mine)
    assert "mkdocs.yml: the file is missing" in err


@pytest.mark.parametrize("address", ["8000", "localhost", "127.0.0.1:99999", "127.0.0.1:x", "nowhere.invalid:8000"])
def test_an_address_that_cannot_be_served_is_told_before_anything_is_built(address: str, tmp_path: Path) -> None:
    code, _, err = run("serve", "--root", tmp_path, "--address", address)
    assert code == 2 and err.startswith(f"--address {address}: ") and "Traceback" not in err


def test_a_port_in_use_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, _, err = run("serve", "--root", tmp_path, "--address", f"127.0.0.1:{port}")
    assert code == 2 and "give another port" in err


@pytest.mark.parametrize("kind", ["pattern", "term", "vocabulary", "references"])
def test_schema(kind: str) -> None:
    code, out, _ = run("schema", kind)
    assert code == 0
    schema = json.loads(out)
    for model in (schema, *schema.get("$defs", {}).values()):
        for name, field in model.get("properties", {}).items():
            assert field.get("description"), name


def test_unknown_schema() -> None:
    assert run("schema", "patern") == (2, "", "there is no schema “patern”; did you mean `pattern`?\n")


def test_the_command_line_is_light() -> None:
    """Importing it must stay quick, so neither torch nor MkDocs may come along."""
    program = (
        "import sys, builder.cli, builder.render\n"
        "print([m for m in ('torch', 'transformers', 'mkdocs', 'numpy', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_download_is_what_distill_copy_writes(real: Path, tmp_path: Path) -> None:
    expected = cells(real_catalogue())
    assert {path.relative_to(real).as_posix() for path in (real / "downloads").iterdir()} == expected.keys()
    for name, (pattern, platform) in expected.items():
        folder = copy(pattern, platform, tmp_path / Path(name).stem)
        written = {p.relative_to(tmp_path).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
        with ZipFile(real / name) as packed:
            assert {entry: packed.read(entry) for entry in packed.namelist()} == written, name
