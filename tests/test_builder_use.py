"""Using a pattern: what each platform's tab says; that commands are ones, code is the file's, archives are copies."""

from __future__ import annotations

import html
import inspect
import io
import re
import shlex
import subprocess
import sys
import textwrap
import tomllib
import zipfile
from dataclasses import replace
from itertools import product

import pytest
import typer
from builder_samples import ROOT, measured, real_catalogue, real_pages
from typer.core import TyperGroup

from builder import cli as catalogue_cli
from builder.downloads import archive, cells
from builder.kept import on_demand
from builder.load import Measured
from builder.plugin import CataloguePlugin
from builder.render import render
from implementations import cli
from implementations.delivery import copy as copying
from implementations.errors import InputError
from implementations.registry import PLATFORMS, RECIPES

CELLS = list(product(RECIPES, PLATFORMS))


def tabs(page: str) -> dict[str, str]:
    """Title → Markdown of every platform's tab."""
    found = re.findall(r'^=== "([^"]+)"\n(.*?)(?=^\S)', page, re.M | re.S)
    return {title: textwrap.dedent(text) for title, text in found}


def with_records(*records: Measured) -> dict[str, dict[str, str]]:
    """Pattern → tabs, of the real catalogue with these records alone."""
    pages = render(replace(real_catalogue(), records=list(records)))
    return {slug: tabs(pages[f"patterns/{slug}.md"]) for slug in RECIPES}


@pytest.fixture(scope="module")
def unmeasured() -> dict[str, dict[str, str]]:
    return with_records()


def words(text: str) -> str:
    return " ".join(html.unescape(re.sub(r"</?(?:code|a|span)\b[^>]*>|`", "", text)).split())


# -------------------------------------------------------------------------------------------------- the tabs


@pytest.mark.parametrize(("pattern", "platform"), CELLS)
def test_a_tab_answers_every_question(pattern, platform, unmeasured):
    known = PLATFORMS[platform]
    assert list(unmeasured[pattern]) == [p.title for p in PLATFORMS.values()]
    tab = unmeasured[pattern][known.title]
    said = words(tab)
    teacher = "" if platform == "local" else f" --teacher {known.teacher}"
    assert f"distill run {pattern}{teacher}\n" in tab
    leaves = "The instruction, and the prompts" if known.leaves_machine else "Nothing."
    assert f"What leaves your machine:** {leaves}" in said
    assert ("those that experts answered" in said) == (known.leaves_machine and RECIPES[pattern].committee)
    assert ("--allow-cloud" in said) == known.leaves_machine
    assert "What it cost:** not measured" in said and f"distill run {pattern}{teacher} --record\n" in tab
    assert f'<a href="../downloads/{pattern}-{platform}.zip" download>' in tab
    assert f"distill copy {pattern} --platform {platform} " in tab


def test_what_a_run_cost_stands_with_its_platform_alone():
    dear = measured(platform="claude", name="dear")
    tab_of = with_records(dear, measured(platform="local", name="free", stale=True))["sequence-level"]
    claude = words(tab_of["Claude"])
    assert "What it cost:** $1.25 to providers and 3 min 3 s for 2 seeds, controls and measuring included" in claude
    assert "50 answers, 10 tokens read and 20 written" in claude and "2 January 2031, Abacus" in claude
    assert "#run-dear" in tab_of["Claude"] and "--record" not in tab_of["Claude"] and ">stale<" not in claude
    assert "#run-free" in tab_of["Local"] and "dp-tag--stale" in tab_of["Local"]
    others = {p.title for slug, p in PLATFORMS.items() if slug not in ("local", "claude")}
    assert all("not measured" in words(tab_of[title]) for title in others)


def test_what_a_classifier_cost_is_told_without_tokens():
    collection = measured().record.collection.model_copy(update={"prompt_tokens": 50, "completion_tokens": 50})
    digits = measured(settings={"task": "digits"}, collection=collection.model_dump())
    pages = render(replace(real_catalogue(), records=[digits]))
    for page in (pages["patterns/sequence-level.md"], pages["patterns/sequence-level.txt"]):
        [told] = re.findall(r"What it cost, with task digits.*", page.replace("\\", ""))
        assert "with 50 answers; 2 January 2031" in told and "tokens" not in told


def test_the_plain_page_says_the_same():
    pages = render(replace(real_catalogue(), records=[measured(platform="claude")]))
    plain = pages["patterns/sequence-level.txt"]
    part = dict(re.findall(r"^### ([^:\n]+): \w+\n(.*?)(?=^### )", plain, re.M | re.S))
    assert list(part) == [platform.title for platform in PLATFORMS.values()]
    for slug, platform in PLATFORMS.items():
        text = part[platform.title]
        assert ("What leaves your machine: The instruction" in text) == platform.leaves_machine
        assert ("What it cost: $1.25" in text.replace("\\", "")) == (slug == "claude") != ("--record\n" in text)
        assert f"/downloads/sequence-level-{slug}.zip>" in text


# -------------------------------------------------------------------------------------------------- the code


def blocks(text: str, kind: str) -> list[str]:
    found = re.findall(rf"^( *)```(?:{kind}| {{ \.{kind} [^\n]*}})\n(.*?)^\1```", text, re.M | re.S)
    return [textwrap.dedent(block) for _, block in found]


@pytest.mark.parametrize("pattern", RECIPES)
def test_the_recipe_is_the_file(pattern):
    page = real_pages()[f"patterns/{pattern}.md"]
    path = RECIPES[pattern].module.replace(".", "/") + ".py"
    assert f"`{path}`" in page
    assert blocks(page, "python")[-1] == (ROOT / path).read_text("utf-8")


@pytest.mark.parametrize(("pattern", "platform"), [(next(iter(RECIPES)), platform) for platform in PLATFORMS])
def test_how_a_teacher_is_asked_is_in_its_file(pattern, platform, unmeasured):
    path = PLATFORMS[platform].module.replace(".", "/") + ".py"
    tab, source = unmeasured[pattern][PLATFORMS[platform].title], (ROOT / path).read_text("utf-8")
    assert f"of `{path}`" in tab
    [code] = blocks(tab, "python")
    functions = re.split(r"\n\n(?=(?:async )?def )", code.rstrip())
    assert re.match(r"(?:async )?def (?:ask|answer)\(", functions[0])
    assert "request.prompt" in code
    for function in functions:
        assert function in source or textwrap.indent(function, "    ") in source


# ---------------------------------------------------------------------------------------------- the commands


def commands(text: str, kind: str) -> set[str]:
    """Every command of the blocks of one kind, without the folder that it is in."""
    joined = "\n".join(blocks(text, kind)).replace("\\\n", " ")
    return {line.replace(".venv/bin/", "") for line in map(str.strip, joined.splitlines()) if line}


def parse(program: typer.Typer, arguments: list[str]) -> None:
    """Have the command line read ``arguments`` and run nothing. Raises what it would say of them."""
    group = typer.main.get_command(program)
    assert isinstance(group, TyperGroup)
    name, command, rest = group.resolve_command(
        group.make_context("it", arguments[:1], resilient_parsing=True), arguments
    )
    assert command is not None, name
    given = command.make_context(name, rest).params
    shared = inspect.signature(cli._options).parameters
    if program is cli.app and shared.keys() <= given.keys():
        cli._options(**{name: given[name] for name in shared})  # which option goes with which


def check(command: str) -> None:
    program, *arguments = shlex.split(command, comments=True)
    if program == "distill":
        parse(cli.app, arguments)
    elif program == "catalogue":
        parse(catalogue_cli.app, arguments)
    elif program == "make":
        assert re.search(rf"^{arguments[0]}:", (ROOT / "Makefile").read_text("utf-8"), re.M), command
    elif program == "pip" and "-e" in arguments:
        extras = re.search(r"\[(.*)\]", arguments[-1])[1].split(",")
        project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
        assert set(extras) <= project["optional-dependencies"].keys(), command
    else:
        assert program in ("export", "python3", "pip"), command


def shown() -> list[str]:
    pages = [text for path, text in real_pages().items() if path.startswith("patterns/") and path.endswith(".md")]
    found = set().union(*(commands(page, "bash") for page in pages))
    for name in ("README.md", "CONTRIBUTING.md"):
        found |= commands((ROOT / name).read_text("utf-8"), "console")
    return sorted(found)


@pytest.mark.parametrize("command", shown())
def test_a_command_that_is_shown_is_one(command):
    check(command)


@pytest.mark.parametrize(
    "command",
    ["distill rum sequence-level", "distill run nothing", "distill run sequence-level --no-such", "make nothing"],
)
def test_a_command_that_is_none_is_noticed(command):
    with pytest.raises((AssertionError, InputError, typer._click.exceptions.UsageError)):
        check(command)


# --------------------------------------------------------------------------------------------- the downloads


def unpacked(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as packed:
        assert packed.testzip() is None
        assert {entry.date_time[0] for entry in packed.infolist()} == {1980}
        return {name: packed.read(name) for name in packed.namelist()}


def test_every_cell_has_an_archive():
    assert sorted(cells(real_catalogue()).values()) == sorted(CELLS)


def test_the_same_sources_give_the_same_bytes(tmp_path):
    content = archive("sequence-level", "claude")
    assert content == archive("sequence-level", "claude")
    folder = copying.copy("sequence-level", "claude", tmp_path / "sequence-level-claude")
    files = {path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert unpacked(content) == files and list(unpacked(content)) == sorted(files)


def test_a_preview_makes_an_archive_when_it_is_asked_for():
    def app(environ, start_response):
        start_response("404 Not Found", [])
        return [b"not here"]

    plugin = CataloguePlugin()
    served = on_demand(app, plugin._content, "/under/")
    plugin.catalogue = real_catalogue()  # read when the site has been served for a while
    said: list[tuple[str, list]] = []
    [content] = served({"PATH_INFO": "/under/downloads/on-policy-local.zip"}, lambda *given: said.append(given))
    assert content == archive("on-policy", "local")
    assert served({"PATH_INFO": "/under/downloads/none-local.zip"}, lambda *given: said.append(given)) == [b"not here"]
    assert [status for status, _ in said] == ["200 OK", "404 Not Found"]
    assert dict(said[0][1]) == {"Content-Type": "application/zip", "Content-Length": str(len(content))}


def test_what_the_downloads_need_is_named(monkeypatch):
    for module in ("copy", "__init__"):
        monkeypatch.delitem(sys.modules, f"implementations.delivery.{module}", raising=False)
    monkeypatch.delitem(sys.modules, "implementations.evaluation.environment", raising=False)
    monkeypatch.delattr("implementations.delivery.copy", raising=False)
    monkeypatch.setitem(sys.modules, "psutil", None)
    with pytest.raises(InputError, match=r"psutil is not installed, and the downloads need it; run: pip install"):
        archive("sequence-level", "local")
    said: list[str] = []
    served = on_demand(lambda *_: [], lambda _: archive("sequence-level", "local"), "/")
    [told] = served({"PATH_INFO": "/x.zip"}, lambda status, _: said.append(status))
    assert said == ["500 Internal Server Error"] and told.startswith(b"psutil is not installed")


def test_the_builder_starts_without_torch_and_without_the_copy():
    program = "import sys, builder.cli, builder.plugin; print(*({'torch', 'numpy', 'psutil'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0 and done.stdout.split() == [], done.stdout + done.stderr
