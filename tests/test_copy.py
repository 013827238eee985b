"""What `distill copy` writes, run where this repository cannot be imported."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
from collections.abc import Callable, Iterator
from importlib import metadata
from itertools import product
from pathlib import Path

import pytest
from commands import distill
from loopback import echo
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from platforms import PLATFORMS, serving

from implementations import registry
from implementations.delivery import copy as copying
from implementations.errors import InputError
from implementations.record import ROOT
from implementations.tasks import user_prompts

OFFERED = [slug for slug, platform in registry.PLATFORMS.items() if platform.module]
CELLS = list(product(registry.RECIPES, OFFERED))
COUNT = max(len(registry.RECIPES), len(OFFERED))
DIAGONAL = [(list(registry.RECIPES)[i % len(registry.RECIPES)], OFFERED[i % len(OFFERED)]) for i in range(COUNT)]
Run = Callable[..., subprocess.CompletedProcess[str]]

# Import every module of every copy, one copy after the other; torch is loaded once for all of them.
EVERY_MODULE = """
import importlib, json, pkgutil, sys, traceback
from importlib.util import find_spec

def fail(name):
    raise

found = []
for folder, package in json.load(sys.stdin):
    sys.path.insert(0, folder)
    try:
        for module in pkgutil.walk_packages([folder + "/" + package], package + ".", fail):
            importlib.import_module(module.name)
        choices = sys.modules[package + ".registry"]
        listed, error = [list(choices.RECIPES), list(choices.PLATFORMS)], None
    except Exception:
        listed, error = None, traceback.format_exc()
    files = {name: getattr(module, "__file__", None) for name, module in list(sys.modules.items())}
    mine = {name: file for name, file in files.items() if name.partition(".")[0] == package}
    found.append({"error": error, "listed": listed, "mine": mine, "elsewhere": sorted(filter(None, files.values()))})
    for name in mine:
        del sys.modules[name]
    sys.path.remove(folder)
print(json.dumps({"repository": find_spec("implementations") is not None, "cells": found}))
"""


@pytest.fixture(scope="module")
def away(tmp_path_factory) -> Run:
    """Runs Python with the installed packages, but without what an editable installation adds to its path."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, symlinks=True)
    packages = list(dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib")))

    def run(where: Path, *arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
        fixed = {"PYTHONPATH": os.pathsep.join([str(where), *packages]), "OMP_NUM_THREADS": "1"}  # enough for `tiny`
        environment = os.environ | fixed | options.pop("env", {})
        command = [folder / "bin" / "python", *map(str, arguments)]
        return subprocess.run(command, cwd=where, env=environment, capture_output=True, text=True, **options)

    return run


@pytest.fixture(scope="module")
def copies(tmp_path_factory) -> dict[tuple[str, str], Path]:
    """Every cell, copied."""
    root = tmp_path_factory.mktemp("copies")
    return {cell: copying.copy(*cell, root / "-".join(cell)) for cell in CELLS}


@pytest.fixture(scope="module")
def imported(copies, away, tmp_path_factory) -> dict[tuple[str, str], dict]:
    """What importing every module of a copy did, by cell."""
    question = json.dumps([[str(folder), pattern.replace("-", "_")] for (pattern, _), folder in copies.items()])
    done = away(tmp_path_factory.mktemp("empty"), "-c", EVERY_MODULE, input=question)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert not answer["repository"]
    return dict(zip(copies, answer["cells"], strict=True))


@pytest.mark.parametrize(("pattern", "platform"), CELLS)
def test_a_copy_needs_nothing_of_this_repository(pattern, platform, copies, imported):
    package, got = pattern.replace("-", "_"), imported[pattern, platform]
    assert got["error"] is None, got["error"]
    assert got["listed"] == [[pattern], list(dict.fromkeys(["local", platform]))]
    ours = [str(ROOT / name) + os.sep for name in ("implementations", "builder")]
    assert not [file for file in got["elsewhere"] if file.startswith(tuple(ours))]
    here = str(copies[pattern, platform])
    assert got["mine"] and all(file.startswith(here) for file in got["mine"].values())
    for module in (registry.RECIPES[pattern].module, registry.PLATFORMS[platform].module):
        assert module.replace("implementations", package, 1) in got["mine"]
    others = {p.module for slug, p in registry.PLATFORMS.items() if slug not in ("local", platform)}
    assert not {module.replace("implementations", package, 1) for module in others if module} & set(got["mine"])


@pytest.mark.parametrize(("pattern", "platform"), CELLS)
def test_imports_inside_functions_lead_somewhere(pattern, platform, copies):
    folder = copies[pattern, platform]
    texts = [path.read_text("utf-8") for path in folder.rglob("*") if path.is_file() and path.name != "LICENSE"]
    assert not [text for text in texts if re.search(r"\bimplementations[./]\w", text)]
    for path, node in _imports(folder):
        if not node.level:
            continue
        base = path.parents[node.level - 1].joinpath(*(node.module or "").split("."))
        if base.with_suffix(".py").is_file() and node.module:
            continue
        offered = {entry.stem for entry in base.iterdir()} | _bound((base / "__init__.py").read_text("utf-8"))
        assert {alias.name for alias in node.names} <= offered, f"{path}:{node.lineno}"


def _imports(folder: Path) -> Iterator[tuple[Path, ast.ImportFrom]]:
    for path in folder.rglob("*.py"):
        yield from ((path, n) for n in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(n, ast.ImportFrom))


def _bound(source: str) -> set[str]:
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)]
    return {alias.asname or alias.name for node in nodes for alias in node.names}


@pytest.mark.parametrize(("pattern", "platform"), CELLS)
def test_what_a_copy_imports_is_pinned_as_here(pattern, platform, copies):
    folder = copies[pattern, platform]
    project = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["project"]
    ours = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    assert all(set(pins) <= set(ours["optional-dependencies"][extra]) for extra, pins in extras.items())
    assert set(project["dependencies"]) < set(ours["dependencies"])  # diagrams are the site's alone
    assert extras.get(platform, []) == ours["optional-dependencies"].get(platform, [])
    had = _with_dependencies([*project["dependencies"], *(pin for pins in extras.values() for pin in pins)])
    package, installed = pattern.replace("-", "_"), metadata.packages_distributions()
    tops = {node.module.partition(".")[0] for _, node in _imports(folder) if not node.level}
    for path in folder.rglob("*.py"):
        nodes = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Import)]
        tops |= {alias.name.partition(".")[0] for node in nodes for alias in node.names}
    tops -= sys.stdlib_module_names | {package}
    assert "torch" in tops
    missing = {top for top in tops if not had & {canonicalize_name(name) for name in installed.get(top, [])}}
    assert not missing
    shipped = {path.suffix for path in (folder / package).rglob("*") if path.is_file()} - {".py"}
    assert shipped == {".j2", ".txt", ".yml"}  # what its pyproject.toml says belongs to the package


def _with_dependencies(pins: list[str]) -> set[str]:
    """The distributions that installing ``pins`` installs, as far as they are installed here."""
    left, had = [Requirement(pin) for pin in pins], set()
    while left:
        name = canonicalize_name(left.pop().name)
        if name in had:
            continue
        had.add(name)
        try:
            further = [Requirement(text) for text in metadata.requires(name) or []]
        except metadata.PackageNotFoundError:
            continue
        left += [each for each in further if each.marker is None or each.marker.evaluate({"extra": ""})]
    return had


@pytest.mark.parametrize(("pattern", "platform"), DIAGONAL)
def test_a_copy_passes_its_own_smoke_test(pattern, platform, copies, tiny, away):
    done = away(
        copies[pattern, platform], "-m", "pytest", "-p", "no:cacheprovider", env={"SMOKE_TEACHER": f"local:{tiny}"}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{2 + (platform != 'local')} passed" in done.stdout


def test_a_copy_asks_its_platform(tiny, tmp_path, away, monkeypatch):
    """The README's run on the sample prompts, with a server that speaks the platform's protocol."""
    folder = copying.copy("response-based", "claude", tmp_path / "copy")
    teacher = PLATFORMS["claude"].teacher
    command = ["-m", "response_based.cli", "run", "response-based", "--teacher", teacher, "--prompts", "prompts.jsonl"]
    command += ["--allow-cloud", "--instruction", "Summarize.", "--assistant", tiny, "--student", 2]
    command += ["--price-input", 1, "--price-output", 5, "--budget-usd", 1]
    with serving("claude", echo, tmp_path, monkeypatch) as server:
        done = away(folder, *command, "--smoke", "--workdir", tmp_path / "work")
        assert done.returncode == 0, done.stderr
        assert sum(map(PLATFORMS["claude"].asks, server.calls)) == 8 + 2  # to learn from, held out
    record = json.loads((tmp_path / "work" / "latest" / "record.json").read_text("utf-8"))
    assert record["platform"] == "claude" and record["collection"]["usd"] > 0 and record["smoke"]
    assert record["collection"]["asked"] == 8


def test_sample_prompts_are_enough(copies):
    for folder in copies.values():
        items = user_prompts.read(folder / "prompts.jsonl")
        gold = [item for item in items if item.reference]
        assert len(gold) == copying.SAMPLE.gold and len(items) - len(gold) == copying.SAMPLE.transfer


def test_the_readme_says_where_it_comes_from(copies):
    for (pattern, platform), folder in copies.items():
        text = (folder / "README.md").read_text("utf-8")
        assert f"/patterns/{pattern}.html" in text and "Apache-2.0" in text
        assert f"`distill copy {pattern} --platform {platform}`" in text
        assert registry.PLATFORMS[platform].setup in text or platform == "local"
        extras = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
        assert f"'.[{','.join(extras)}]'" in text
        assert (folder / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


# --------------------------------------------------------------------------------------------------- refused


def test_everything_that_is_wrong_is_said_at_once(tmp_path, monkeypatch, capsys):
    (tmp_path / "dest").mkdir()
    (tmp_path / "dest" / "mine").write_text("kept")
    assert distill(monkeypatch, "copy", "hard-labels", "--platform", "azure", tmp_path / "dest") == 2
    said = capsys.readouterr().err
    assert "no pattern 'hard-labels'; choose one of: " in said and ", ".join(sorted(registry.RECIPES)) in said
    assert f"--platform azure: no such platform here; choose one of: {', '.join(OFFERED)}" in said
    assert "dest: exists and is not an empty folder; give one that does not exist yet" in said
    assert [path.name for path in (tmp_path / "dest").iterdir()] == ["mine"]


def test_the_nearest_is_named_where_one_is_near(tmp_path, monkeypatch, capsys):
    assert distill(monkeypatch, "copy", "on-polcy", "--platform", "bedrok", tmp_path / "dest") == 2
    said = capsys.readouterr().err
    assert "no pattern 'on-polcy'; did you mean `on-policy`?" in said
    assert "--platform bedrok: no such platform here; did you mean `bedrock`?" in said


def test_an_empty_folder_will_do_but_not_the_one_we_are_in(tmp_path, monkeypatch, capsys):
    (empty := tmp_path / "empty").mkdir()
    assert distill(monkeypatch, "copy", "sequence-level", "--platform", "local", empty) == 0
    assert str(empty) in capsys.readouterr().out and (empty / "test_smoke.py").is_file()
    (inside := tmp_path / "inside").mkdir()
    monkeypatch.chdir(inside)
    with pytest.raises(InputError, match="this shell is in it"):
        copying.copy("sequence-level", "local", Path())


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is not an empty folder"):
        copying.copy("sequence-level", "local", tmp_path / "file")
    with pytest.raises(InputError, match=r"cannot be written .*; give another folder"):
        copying.copy("sequence-level", "local", tmp_path / "file" / "dest")


@pytest.mark.parametrize("existed", [False, True])
def test_interrupted_it_leaves_nothing(existed, tmp_path, monkeypatch):
    def interrupt(task):
        [half] = tmp_path.glob(".dest-*/dest")
        assert (half / "README.md").is_file()
        raise KeyboardInterrupt

    monkeypatch.setattr(copying, "_sample", interrupt)
    if existed:
        (tmp_path / "dest").mkdir()
    with pytest.raises(KeyboardInterrupt):
        copying.copy("sequence-level", "local", tmp_path / "dest")
    assert list(tmp_path.rglob("*")) == ([tmp_path / "dest"] if existed else [])
