"""`catalogue serve`: every page that can be shown, what is wrong on top of it, and no broken file that ends it."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from builder_samples import BAD, ROOT, copy_good, load
from mkdocs.commands.build import build
from mkdocs.config import load_config
from test_builder_check import TARGETS

from builder.kept import Kept
from builder.preview import Shown, page_of, show
from builder.render import render

TEACHER, STUDENT, PATTERN = "glossary/teacher.md", "glossary/student.md", "patterns/sequence-level.md"


def shown(root: Path, before: Shown | None = None) -> Shown:
    catalogue, problems = load(root)
    return show(catalogue, problems, before)


def edit(root: Path, name: str, old: str, new: str) -> None:
    path = root / name
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")


def test_good_catalogue_is_shown_as_it_is_built(tmp_path: Path) -> None:
    root = copy_good(tmp_path)
    now = shown(root)
    assert now.pages == render(load(root)[0])
    assert {now.banner(path) for path in now.pages} == {""}


def test_file_that_cannot_be_read_keeps_its_last_good_page(tmp_path: Path) -> None:
    root = copy_good(tmp_path)
    good = shown(root)
    edit(root, "glossary/teacher.yml", "slug:", "slgu:")
    edit(root, "glossary/student.yml", "severity: high", "severity: low")
    now = shown(root, good)
    assert now.pages.keys() == good.pages.keys()
    for path in (TEACHER, "glossary/teacher.json", "glossary/teacher.txt"):
        assert now.pages[path] == good.pages[path]
    assert now.pages[STUDENT] != good.pages[STUDENT]  # the others go on
    banner = unescape(now.banner(TEACHER))
    assert "2 problems. This page is the last good one." in re.sub("<[^>]*>", "", banner)
    assert "slgu: unknown key; nothing would show it; did you mean `slug`?" in banner
    elsewhere = now.banner(PATTERN)
    assert "This page is well." in elsewhere and '<a href="../glossary/teacher.html"><code>' in elsewhere
    edit(root, "glossary/teacher.yml", "slgu:", "slug:")
    assert shown(root, now).banner(TEACHER) == ""


@pytest.mark.parametrize("name", ["glossary/teacher", "patterns/sequence-level", "patterns/_vocabulary"])
def test_breaking_a_file_changes_no_page_until_it_is_mended_or_deleted(name: str, tmp_path: Path) -> None:
    root = copy_good(tmp_path)
    good = shown(root)
    path = root / f"{name}.yml"
    text = path.read_text("utf-8")
    path.write_text("slug: [", "utf-8")
    now = shown(root, good)
    assert now.problems and now.pages == good.pages and now.nav == good.nav
    again = shown(root, now)
    assert again.pages == good.pages and again.old == now.old == ({f"{name}.md"} if "_" not in name else set())
    path.write_text(text, "utf-8")
    assert shown(root, again) == good
    if "_" not in name:
        path.unlink()
        assert f"{name}.md" not in shown(root, again).pages


def test_file_that_never_could_be_read_has_a_page_of_its_problems(tmp_path: Path) -> None:
    root = copy_good(tmp_path)
    (root / "glossary/new.yml").write_text("slug: new\n", "utf-8")
    now = shown(root)
    assert now.pages["glossary/new.md"].endswith("\n# new\n")
    assert "There is no page until this is mended." in now.banner("glossary/new.md")
    assert "glossary/new.yml:1:1: term: missing" in now.banner("glossary/new.md")
    again = shown(root, now)
    assert again.stubs == now.stubs and not again.old  # a page of problems is no good page
    (root / "glossary/new.yml").unlink()
    assert "glossary/new.md" not in shown(root, again).pages


def test_text_that_is_read_but_wrong_is_shown_as_it_is(tmp_path: Path) -> None:
    root = copy_good(tmp_path)
    edit(root, "glossary/teacher.yml", "Measure it first.", "It keeps 97% of [<b>](javascript:x).")
    now = shown(root, shown(copy_good(tmp_path / "other")))
    assert "97&#37;" in now.pages[TEACHER] or "97%" in now.pages[TEACHER]
    assert "This has to be mended before the page can be published." in now.banner(TEACHER)
    assert "&lt;b&gt;" in now.banner(TEACHER) and "<b>" not in now.banner(TEACHER)


def test_word_without_a_meaning_takes_away_one_page_only(tmp_path: Path) -> None:
    """Nothing can be made of an unknown dimension; the other pages are as current as ever."""
    root = copy_good(tmp_path)
    good = shown(root)
    edit(root, "patterns/sequence-level.yml", "dimension: labels", "dimension: lables")
    edit(root, "glossary/student.yml", "severity: high", "severity: low")
    now = shown(root, good)
    assert now.pages[PATTERN] == good.pages[PATTERN] and PATTERN in now.old
    assert now.pages[STUDENT] != good.pages[STUDENT]


@pytest.mark.parametrize("name", ["patterns/_vocabulary.yml", "patterns/_references.yml", "patterns/_claims.yml"])
def test_shared_file_that_is_broken(name: str, tmp_path: Path) -> None:
    root = copy_good(tmp_path)
    good = shown(root)
    (root / name).write_text("a: [", "utf-8")
    after, first = shown(root, good), shown(root)
    again = shown(root, first)
    for now in (after, first, again):
        assert re.search(rf"{name}:\d+:\d+: not valid YAML", now.banner("index.md"))
        assert "index.md" in now.pages and now.nav
    assert after.pages.keys() >= {"index.md", TEACHER, PATTERN}
    assert "This page is the last good one" not in again.banner("index.md")  # there never was one


def test_fault_of_our_own_is_shown_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = copy_good(tmp_path)
    good = shown(root)
    monkeypatch.setattr("builder.preview.render", lambda catalogue: {}["fault"])
    now = shown(root, good)
    assert now.pages == good.pages
    assert "KeyError: &#x27;fault&#x27;; the catalogue&#x27;s own code failed" in now.banner("index.md")
    assert "<code>tests/test_builder_preview.py:" in now.banner("index.md")  # where it happened


def test_page_lists_few_problems_of_other_files(tmp_path: Path) -> None:
    root = copy_good(tmp_path)
    (root / "glossary/new.yml").write_text("".join(f"key_{n}: x\n" for n in range(90)), "utf-8")
    now = shown(root)
    assert len(now.problems) > 90
    assert now.banner("index.md").count("<li>") == 21
    assert now.banner("glossary/new.md").count("<li>") == len(now.problems)


@pytest.mark.parametrize(
    ("file", "page"),
    [
        ("glossary/a.yml", "glossary/a.md"),
        ("patterns/a.yml", "patterns/a.md"),
        ("patterns/_claims.yml", "claims.md"),
        ("patterns/_references.yml", "references.md"),
        ("patterns/_vocabulary.yml", None),
        ("glossary/mine/a.yml", None),
        ("implementations/records/a.json", None),
        ("builder/render.py", None),
    ],
)
def test_page_of_a_file(file: str, page: str | None) -> None:
    assert page_of(file) == page


def test_every_bad_file_is_shown(tmp_path: Path) -> None:
    """None of them stops the preview, after a good catalogue or from the beginning. One of three is enough here."""
    root = copy_good(tmp_path)
    good = shown(root)
    for path in sorted(BAD.glob("*.yml"))[::3]:
        target = root / TARGETS[path.stem.split("-")[0]]
        before = target.read_bytes()
        target.write_bytes(path.read_bytes())
        for last in (good, None):
            now = shown(root, last)
            if now.problems:
                assert "dp-problems" in now.banner("index.md"), path
                assert not [problem for problem in now.problems if "own code failed" in problem.why], path
            assert "index.md" in now.pages
        target.write_bytes(before)


# ----------------------------------------------------------------------------------------------------- MkDocs


def site(root: Path) -> Path:
    copy_good(root)
    shutil.copy(ROOT / "mkdocs.yml", root)
    shutil.copytree(ROOT / "site_overrides", root / "site_overrides")
    return root


def test_a_build_alone_keeps_nothing(tmp_path: Path) -> None:
    config = load_config(str(site(tmp_path / "root") / "mkdocs.yml"), site_dir=str(tmp_path / "site"))
    plugin = config.plugins["catalogue"]
    plugin.kept = kept = Kept()
    config.plugins.on_startup(command="build", dirty=False)
    build(config)
    assert not any((kept.read, kept.converted, kept.indexed, kept.written, kept.files))
    assert not any((kept.around, kept.frame, kept.theme[0]))
    assert (tmp_path / "site/index.json").is_file()


def test_second_build_is_like_a_first_one(tmp_path: Path) -> None:
    """What is kept between builds, for speed, changes nothing of what is built."""
    root = site(tmp_path / "root")

    def built(*, anew: bool = False) -> dict[str, Any]:
        config = load_config(str(root / "mkdocs.yml"), site_dir=str(tmp_path / "site"))
        plugin = config.plugins["catalogue"]  # MkDocs keeps it from one config to the next
        if anew:
            plugin.kept = Kept()
        config.plugins.on_startup(command="serve", dirty=False)
        build(config)
        built.kept = plugin.kept
        built.content = {path: result["content"] for path, (_, result) in plugin.kept.converted.items()}
        built.entries = {address: entries for address, (_, entries) in plugin.kept.indexed.items()}
        built.pages = {address: page for address, (_, page) in plugin.kept.written.items()}
        files = [*(tmp_path / "site").rglob("*.html"), tmp_path / "site/search/search_index.json"]
        held = {path: plugin.kept.content(path) for path in plugin.kept.files}  # what is not written
        assert "index.json" in held and not (tmp_path / "site/index.json").exists()
        return held | {p.relative_to(tmp_path).as_posix(): p.read_text("utf-8") for p in files}

    first, content, entries, pages = built(anew=True), built.content, built.entries, built.pages
    assert built() == first
    assert len({id(key[1]) for key, _ in built.kept.converted.values()}) == 1  # not a list of all files for each page
    assert len(content) > 5 and all(built.content[path] is html for path, html in content.items())
    assert len(entries) > 5 and all(built.entries[address] is found for address, found in entries.items())
    assert len(pages) > 5 and all(built.pages[address] is page for address, page in pages.items())
    last = first
    for file, old, new in (
        ("glossary/teacher.yml", "One of two models.", "Another meaning of it."),
        ("glossary/teacher.yml", "term: Teacher", "term: Master"),
        ("glossary/teacher.yml", "severity: high", "severity: none of them"),
        ("mkdocs.yml", "site_name: Distillation Patterns", "site_name: Another name"),
        ("site_overrides/theme/main.html", '<meta name="theme-color"', '<meta name="theme-colour"'),
    ):
        edit(root, file, old, new)
        changed = built()
        assert changed != last and changed == built(anew=True), new
        last = changed


# ------------------------------------------------------------------------------------------------ the real thing


class Server:
    """`catalogue serve` in its own process, asked over loopback."""

    def __init__(self, root: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        command = [sys.executable, "-m", "builder.cli", "serve", "--root", str(root)]
        env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        self.log = root / "serve.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [*command, "--address", f"127.0.0.1:{self.port}"], env=env, stdout=log, stderr=log
            )

    def page(self, path: str) -> str:
        with urlopen(f"http://127.0.0.1:{self.port}/{path}", timeout=240) as answer:
            return answer.read().decode()

    def wait(self, path: str, fits: Callable[[str], bool]) -> str:
        """The page as soon as it fits."""
        text, began = "", time.monotonic()
        while time.monotonic() - began < 300:
            assert self.process.poll() is None, self.log.read_text()
            try:
                text = self.page(path)
            except (URLError, ConnectionError):
                text = ""
            if fits(text):
                return text
            time.sleep(0.1)
        raise AssertionError(f"{path} never fitted; {self.log.read_text()[-2000:]}")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Server, Path]]:
    root = site(tmp_path / "root")
    (root / "glossary/teacher.yml").rename(root / "teacher.good")
    (root / "glossary/teacher.yml").write_text("slug: [", "utf-8")
    serving = Server(root)
    yield serving, root
    serving.process.terminate()
    serving.process.wait(60)


def test_serve_goes_on_through_broken_files(server: tuple[Server, Path]) -> None:
    serving, root = server
    term = root / "glossary/teacher.yml"
    page = serving.wait("glossary/teacher.html", lambda text: "There is no page until this is mended" in text)
    assert "glossary/teacher.yml:2:1: not valid YAML" in page
    assert "livereload(" in page  # the page waits for the mending
    assert "1 problem" in serving.page("index.html")

    shutil.copy(root / "teacher.good", term)
    page = serving.wait("glossary/teacher.html", lambda text: "Measure it first" in text)
    assert "dp-problems" not in page

    edit(root, "glossary/teacher.yml", "severity: high", "severity: hihg")
    page = unescape(serving.wait("glossary/teacher.html", lambda text: "dp-problems" in text))
    assert "did you mean `high`?" in page and "Measure it first" in page and "the last good one" in page

    shutil.copy(root / "teacher.good", term)
    edit(root, "glossary/teacher.yml", "severity: high", "severity: low")  # files that are no pages change with them
    serving.wait("glossary/teacher.json", lambda text: '"severity": "low"' in text)
    style = "assets/catalogue.css"
    assert serving.page(style) == (root / "site_overrides/docs" / style).read_text("utf-8")

    shutil.copy(root / "teacher.good", term)
    vocabulary = root / "patterns/_vocabulary.yml"
    words = vocabulary.read_text("utf-8")
    vocabulary.unlink()
    page = serving.wait("index.html", lambda text: "_vocabulary.yml:1:1: the file is missing" in text)
    vocabulary.write_text(words, "utf-8")
    serving.wait("index.html", lambda text: text and "dp-problems" not in text)
    assert "Traceback" not in serving.log.read_text()
