"""What must not grow with the catalogue; benchmarks/catalogue_scale.py has the seconds."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
from builder_samples import ROOT

from builder import cores, diagram, find, load
from builder.check import check
from builder.load import Catalogue, read
from builder.render import LISTED, navigation, render
from implementations.registry import RECIPES

spec = importlib.util.spec_from_file_location("catalogue_scale", ROOT / "benchmarks/catalogue_scale.py")
assert spec and spec.loader
catalogue_scale = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(catalogue_scale)

SMALL, LARGE = 20, 65  # no fewer, for each term that a text links to must be there


def made(patterns: int, root: Path) -> Catalogue:
    copies = catalogue_scale.Copies(patterns)
    copies.write(root)
    copies.register()
    catalogue, problems = read(root)
    assert problems + check(catalogue) == []
    assert (len(catalogue.patterns), len(catalogue.terms)) == (patterns, 3 * patterns)
    return catalogue


@pytest.fixture(scope="module")
def catalogues(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, Catalogue]]:
    with patch.dict(RECIPES), patch.object(load, "code_sha256", load.code_sha256):
        yield {size: made(size, tmp_path_factory.mktemp(f"of{size}") / "root") for size in (SMALL, LARGE)}


@pytest.fixture(scope="module")
def pages(catalogues: dict[int, Catalogue]) -> dict[int, dict[str, str]]:
    return {size: render(catalogue) for size, catalogue in catalogues.items()}


def test_pages_of_one_pattern_or_term_do_not_grow(
    catalogues: dict[int, Catalogue], pages: dict[int, dict[str, str]]
) -> None:
    """A pattern that both have, with a record in both or neither; the median of terms, as each names its users."""
    measured = [catalogues[size].records_by_pattern for size in (SMALL, LARGE)]
    both = [slug for slug in catalogues[SMALL].patterns if (slug in measured[0]) == (slug in measured[1])]
    assert len(both) > SMALL / 2
    for name in (f"patterns/{slug}.{ending}" for slug in both for ending in ("md", "txt", "json")):
        assert len(pages[LARGE][name]) < 1.02 * len(pages[SMALL][name]), name
    terms = [len(text) for name, text in pages[LARGE].items() if name.startswith("glossary/") and name.endswith(".md")]
    assert sorted(terms)[len(terms) // 2] < 9_000


def test_pages_of_all_grow_no_faster_than_the_catalogue(pages: dict[int, dict[str, str]]) -> None:
    whole = ("choose.md", "compare.md", "matrix.md", "relations.md", "patterns/index.md", "glossary/index.md")
    for name in (*whole, "index.md", "index.json", "criteria.json", "llms.txt", "llms-full.txt"):
        assert len(pages[LARGE][name]) < 1.3 * LARGE / SMALL * len(pages[SMALL][name]), name


def test_a_large_catalogue_is_not_in_every_pages_navigation(catalogues: dict[int, Catalogue]) -> None:
    assert SMALL <= LISTED < LARGE
    assert str(navigation(catalogues[SMALL])).count("patterns/") == SMALL + 1
    assert str(navigation(catalogues[LARGE])).count("patterns/") == 1


def test_no_map_is_drawn_that_nobody_could_read(
    catalogues: dict[int, Catalogue], pages: dict[int, dict[str, str]]
) -> None:
    assert list(find.maps(catalogues[SMALL]))
    for drawing in find.maps(catalogues[LARGE]):
        assert drawing.source.count("  n_") - drawing.source.count("--") <= find.DRAWN
    assert "## List" in pages[LARGE]["relations.md"]


# ------------------------------------------------------------------------------------------------------ several cores

forks = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is one process")


@pytest.fixture
def three(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three processes, however little there is to do."""
    monkeypatch.setattr(cores, "APIECE", 1)
    monkeypatch.setattr(cores, "_cores", lambda: 3)


@forks
def test_work_is_shared_and_comes_back_in_order(three: None) -> None:
    found = cores.each(lambda number: (number, os.getpid()), range(10))
    assert [number for number, _ in found] == list(range(10))
    assert len({process for _, process in found}) == 3
    assert found[0][1] == os.getpid()


@forks
def test_a_share_that_fails_elsewhere_is_done_here(three: None) -> None:
    here = os.getpid()
    assert cores.each(lambda number: os._exit(1) if os.getpid() != here else number, range(5)) == list(range(5))
    with pytest.raises(ZeroDivisionError):
        cores.each(lambda number: 1 / (number - 1), range(5))


def test_little_work_starts_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with the catalogue of today."""
    monkeypatch.setattr(cores, "_begin", lambda *_: pytest.fail("a process was started"))
    catalogue, problems = read(ROOT)
    assert problems + check(catalogue) == []
    assert render(catalogue)


@forks
def test_several_processes_make_the_same(
    three: None, pages: dict[int, dict[str, str]], catalogues: dict[int, Catalogue], tmp_path: Path
) -> None:
    """The same pages in the same order, from diagrams that were laid out elsewhere; and the same problems."""
    root = tmp_path / "root"
    catalogue_scale.Copies(SMALL).write(root)
    with patch.dict(diagram.LAID_OUT, clear=True):
        catalogue, _ = read(root)
        assert check(catalogue) == []
        assert len(diagram.LAID_OUT) == SMALL
        assert list(render(catalogue).items()) == list(pages[SMALL].items())
    for path in (root / "glossary").glob("*.yml"):
        text = path.read_text("utf-8").replace("category: ", "category: no_").replace("severity: low", "severity: 1.10")
        path.write_text(re.sub(r"diagram: ", "diagram: x", text), "utf-8")
    for path in sorted((root / "patterns").glob("[a-z]*.yml"))[:5]:
        text = path.read_text("utf-8")
        path.write_text(text.replace("flowchart", "flowchat").replace("summary: ", "summary: <b> 12% "), "utf-8")
    shared = problems_of(root)
    with patch.object(cores, "_cores", lambda: 1):
        assert problems_of(root) == shared
    assert len({problem.what for problem in shared}) > 4


def problems_of(root: Path) -> list[load.Problem]:
    catalogue, problems = read(root)
    return problems + check(catalogue)
