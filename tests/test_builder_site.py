"""The two sinks: MkDocs and `catalogue render` carry the same tree; the command line's manners."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from builder_samples import ROOT, copy_good, load, make_record
from typer.testing import CliRunner

from builder.cli import app
from builder.data import updated
from builder.render import render
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


def mkdocs(root: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(root / "out")]
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
        assert (root / "pages" / name).read_text("utf-8") == content
        if name.endswith(".md"):
            built = (root / "out" / name.replace(".md", ".html")).read_text("utf-8")
            assert headings(built) == re.findall(r"^(#+) ", outside_tabs(content), re.M)
        else:
            assert (root / "out" / name).read_text("utf-8") == content
    written = {p.relative_to(root / "pages").as_posix() for p in (root / "pages").rglob("*") if p.is_file()}
    assets = {path.relative_to(ROOT / "site_overrides/docs").as_posix() for path in assets_of(ROOT)}
    assert written == pages.keys() | assets


def outside_tabs(page: str) -> str:
    return re.sub(r"```.*?```", "", page, flags=re.S)


def headings(built: str) -> list[str]:
    article = built.split("<article")[1].split("</article>")[0]
    return ["#" * int(level) for level in re.findall(r"<h([1-6])[ >]", article)]


def assets_of(root: Path) -> list[Path]:
    return [path for path in (root / "site_overrides/docs").rglob("*") if path.is_file()]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real site, built strictly."""
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out


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
        for link in re.findall(r'<link rel="alternate"[^>]*>', text):
            name = path.relative_to(real).as_posix()
            kinds.setdefault(name, []).append(re.search(r'type="([^"]+)"', link)[1])
            address = re.search(r'href="([^"]+)"', link)[1]
            target = real / address.lstrip("/") if address.startswith("/") else path.parent / address
            assert target.is_file(), (name, address)
    assert kinds["patterns/sequence-level.html"][:3] == ["application/atom+xml", "application/json", "text/markdown"]
    assert kinds["glossary/temperature.html"] == ["application/atom+xml", "application/json", "text/markdown"]
    assert "404.html" in kinds


def test_sitemap_lists_every_page_and_nothing_else_with_the_day_of_its_change(real: Path) -> None:
    catalogue, _ = load(ROOT)
    found = ElementTree.parse(real / "sitemap.xml").getroot()
    days = {url[0].text.removeprefix(catalogue.site_url): url[1].text for url in found}
    pages = {name.replace(".md", ".html") for name in render(catalogue) if name.endswith(".md")}
    assert {address or "index.html" for address in days} == pages
    assert days["glossary/temperature.html"] == catalogue.terms["temperature"].updated
    assert days["glossary/index.html"] == updated(catalogue)


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


def test_missing_folder_of_records(tmp_path: Path) -> None:
    code, _, err = run("check", "--root", copy_good(tmp_path), "--records", tmp_path / "nowhere")
    assert code == 2
    assert "there is no such folder of records; pass the folder of a run" in err


def test_render_into_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, _, err = run("render", tmp_path / "file", "--root", ROOT)
    assert code == 2
    assert "cannot be written" in err and "Traceback" not in err


def test_build_without_settings(tmp_path: Path) -> None:
    code, _, err = run("build", "--root", copy_good(tmp_path))
    assert code == 2
    assert "mkdocs.yml: the file is missing" in err


@pytest.mark.parametrize("kind", ["pattern", "term", "vocabulary", "references"])
def test_schema(kind: str) -> None:
    code, out, _ = run("schema", kind)
    assert code == 0
    schema = json.loads(out)
    for model in (schema, *schema.get("$defs", {}).values()):
        for name, field in model.get("properties", {}).items():
            assert field.get("description"), name


def test_unknown_schema() -> None:
    assert run("schema", "patern")[0] == 2


def test_the_command_line_is_light() -> None:
    """Importing it must stay quick, so neither torch nor MkDocs may come along."""
    program = (
        "import sys, builder.cli, builder.render\n"
        "print([m for m in ('torch', 'transformers', 'mkdocs', 'numpy', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
