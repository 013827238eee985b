"""`distill copy`: one pattern on one platform as a small project of its own, to be kept in somebody else's repository.

What is copied follows from the code: the modules that the command line, the recipe, the platform and the teacher on
this machine import, also inside functions; the files of data that these name; the packages that they import, at the
versions that are pinned here. `cli.py` and `registry.py` keep what is left to do and to choose, and the package is
called after the pattern, so that it can be installed beside this one. Nothing else changes, and the same sources give
the same bytes.
"""

from __future__ import annotations

import ast
import json
import re
import shlex
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module, metadata
from modulefinder import ModuleFinder
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ..errors import InputError, choose
from ..evaluation.environment import commit
from ..record import ROOT
from ..registry import PLATFORMS, RECIPES, TASKS, Platform, Recipe, cell
from ..settings import story
from ..tasks.task import Sizes, Task

PACKAGE = Path(__file__).resolve().parent.parent
HOME = "local"  # the platform that every copy has: students are trained here, and smoke runs need no key
COMMANDS = {"list", "run", "plan", "report"}
SAMPLE = Sizes(gold=16, dev=0, transfer=32, heldout=0, unseen=0)
TEMPLATES = Path(__file__).with_name("standalone")
PROMPTS = "prompts.jsonl"


def copy(pattern: str, platform: str, dest: Path) -> Path:
    """Write the project to ``dest``, all of it or nothing; return its absolute path.

    Raises InputError: unknown pattern or platform, ``dest`` holds something or cannot be written, no pyproject.toml.
    """
    dest = dest.expanduser().resolve()
    recipe, chosen = _check(pattern, platform, dest)
    project = _project()
    try:
        dest.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{dest.name}-", dir=dest.parent) as scratch:
            made = Path(scratch) / dest.name
            _write(made, Path(scratch) / "whole", recipe, chosen, project)
            made.replace(dest)
    except OSError as error:
        raise InputError(f"{dest}: cannot be written ({error.strerror}); give another folder") from error
    return dest


def _check(pattern: str, platform: str, dest: Path) -> tuple[Recipe, Platform]:
    """The recipe and the platform of these names. Raises InputError with everything that is wrong."""
    offered = [slug for slug, known in PLATFORMS.items() if known.module]
    problems = []
    if pattern not in RECIPES:
        problems.append(f"no pattern {pattern!r}; {choose(pattern, sorted(RECIPES))}")
    if platform not in offered:
        problems.append(f"--platform {platform}: no such platform here; {choose(platform, offered)}")
    if dest == Path.cwd():
        problems.append(f"{dest}: this shell is in it; give a folder that does not exist yet")
    elif dest.exists() and not (dest.is_dir() and not any(dest.iterdir())):
        problems.append(f"{dest}: exists and is not an empty folder; give one that does not exist yet")
    if problems:
        raise InputError("\n".join(problems))
    return RECIPES[pattern], PLATFORMS[platform]


def _project() -> dict:
    """This project's own metadata: the one place where versions are pinned."""
    try:
        return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    except OSError as error:
        raise InputError(f"{ROOT}: {error.strerror}; copy from the project's folder, installed with -e") from error


def _write(made: Path, whole: Path, recipe: Recipe, platform: Platform, project: dict) -> None:
    """The project in ``made``; ``whole`` is a folder to work in."""
    package = recipe.slug.replace("-", "_")
    for path in PACKAGE.rglob("*.py"):
        _put(whole / package / path.relative_to(PACKAGE), _renamed(path, package))
    kept, imported = _reduce(whole, package, {recipe.slug}, {HOME, platform.slug})
    for path in kept:
        inside = path.relative_to(whole / package)
        _put(made / package / inside, path.read_text("utf-8"))
        for data in _data(PACKAGE / inside):
            _put(made / package / data.relative_to(PACKAGE), _renamed(data, package))
    task, module = story(recipe.slug), import_module(recipe.module)
    facts = {
        "package": package,
        "recipe": recipe,
        "platform": platform,
        "remote": platform.slug != HOME,
        "cell": cell(recipe, platform).value,
        "logs": hasattr(module, "from_logs"),
        "about": module.__doc__.strip().split("\n\n", 1)[1],
        "page": re.search(r"https?://\S+", module.__doc__).group(),
        "instruction": shlex.quote(task.instruction),
        "prompts": PROMPTS,
        "pins": _pins(project, imported | {"pytest"}, platform.slug),
        "python": project["requires-python"],
        "commit": commit(),
        "version": project["version"],
    }
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=True,
    )  # fmt: skip
    environment.filters["quoted"] = json.dumps
    for template in sorted(TEMPLATES.glob("*.j2")):
        _put(made / template.stem, environment.get_template(template.name).render(facts))
    _put(made / PROMPTS, _sample(task))
    shutil.copyfile(ROOT / "LICENSE", made / "LICENSE")


def _put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


def _renamed(path: Path, package: str) -> str:
    """The text of ``path`` with this package's name, in dotted names and in paths, replaced by ``package``."""
    return re.sub(rf"\b{PACKAGE.name}(?=\.\w|/)", package, path.read_text("utf-8"))


def _sample(task: Task) -> str:
    """Some of the built-in task's items as a user's own: those with an expert's answer, and those without."""
    drawn = task.splits(SAMPLE, seed=0)
    rows = [{"id": item.id, "prompt": item.prompt, "reference": item.reference} for item in drawn.gold]
    rows += [{"id": item.id, "prompt": item.prompt} for item in drawn.transfer]
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _pins(project: dict, imported: set[str], platform: str) -> dict[str, list[str]]:
    """The pinned requirements by extra, those that every install needs under "".

    Extras keep their names, so that what messages say to install is right. The platform's own is kept whole, for some
    of its packages are found by name while it runs; of the others, what is imported.
    """
    installed = _distributions()
    wanted = {_canonical(name) for top in imported for name in installed.get(top, [top])}
    groups = {"": project["dependencies"], **project["optional-dependencies"]}
    needed = {
        extra: [pin for pin in pins if extra == platform or _canonical(pin) in wanted] for extra, pins in groups.items()
    }
    return {extra: pins for extra, pins in needed.items() if pins}


@cache
def _distributions() -> Mapping[str, list[str]]:
    """The distributions that are installed here, by the names that they are imported by."""
    return metadata.packages_distributions()


def _canonical(requirement: str) -> str:
    """The distribution that ``requirement`` names, in its canonical spelling (PEP 503)."""
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", requirement).group()).lower()


def _data(module: Path) -> Iterator[Path]:
    """The files of data beside ``module`` that it names."""
    for text in _strings(module.read_text("utf-8")):
        if re.fullmatch(r"[\w.-]+\.\w+", text):
            path = module.with_name(text)
            if path.suffix != ".py" and path.is_file():
                yield path


# ----------------------------------------------------------------------------------------- what a copy is made of


def _reduce(whole: Path, package: str, recipes: set[str], platforms: set[str]) -> tuple[list[Path], set[str]]:
    """The modules that are needed of ``package`` in ``whole``, and the packages that they import.

    Its registry and its command line lose what is not among ``recipes`` with their tasks, ``platforms`` and COMMANDS.
    """
    cli, registry = whole / package / "cli.py", whole / package / "registry.py"
    source = _without_commands(cli.read_text("utf-8"))
    cli.write_text(_without_unused(source, {"main"}), "utf-8")
    tasks = {RECIPES[slug].task for slug in recipes}
    entries = {"Recipe": recipes, "Platform": platforms, "BuiltIn": tasks}
    source = _without_entries(registry.read_text("utf-8"), entries)
    registry.write_text(source, "utf-8")
    finder = ModuleFinder([str(whole)])
    modules = [RECIPES[slug].module for slug in recipes] + [PLATFORMS[slug].module for slug in platforms]
    modules += [TASKS[slug].module for slug in tasks]
    for module in (f"{package}.cli", *(f"{package}.{module.partition('.')[2]}" for module in modules)):
        finder.import_hook(module)
    asked = {name for path in _files(finder) if path != registry for name in _mentions(path.read_text("utf-8"))}
    registry.write_text(source := _without_unused(source, asked), "utf-8")
    for text in _strings(source):  # whatever else the registry names is imported by that name
        if re.fullmatch(rf"{package}(\.\w+)+", text):
            finder.import_hook(text)
    elsewhere = {name.partition(".")[0] for name in finder.badmodules} - sys.stdlib_module_names - {package}
    return _files(finder), elsewhere


def _files(finder: ModuleFinder) -> list[Path]:
    found = (module.__file__ for module in finder.modules.values())
    return sorted(Path(file) for file in found if file)  # built-in modules have none


@cache  # as _strings below: the site has a copy of every cell, and most of their modules are alike
def _mentions(source: str) -> set[str]:
    """Every name that ``source`` imports, reads or looks up in something."""
    nodes = list(ast.walk(ast.parse(source)))
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    names |= {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    return names | {node.name for node in nodes if isinstance(node, ast.alias)}


@cache
def _strings(source: str) -> list[str]:
    nodes = ast.walk(ast.parse(source))
    return [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]


def _without_entries(source: str, keep: dict[str, set[str]]) -> str:
    """``source`` without the calls of each function in ``keep`` whose first argument is not in its set."""
    dropped = [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in keep
        and node.args[0].value not in keep[node.func.id]
    ]
    return _cut(source, [(node, "") for node in dropped])


def _without_commands(source: str) -> str:
    """``source`` of the command line without the commands that are not in COMMANDS."""
    statements = ast.parse(source).body
    return _cut(source, [(s, "") for s in statements if (name := _command(s)) and name not in COMMANDS])


def _command(statement: ast.stmt) -> str | None:
    """What the command is called that ``statement`` defines, if it does: ``@app.command()``."""
    for decorator in getattr(statement, "decorator_list", []):
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "app.command":
            return decorator.args[0].value if decorator.args else statement.name
    return None


def _without_unused(source: str, used: set[str]) -> str:
    """``source`` without what it defines or imports and neither itself nor anybody who needs ``used`` mentions."""
    while True:
        statements = ast.parse(source).body
        reads = [{node.id for node in ast.walk(s) if isinstance(node, ast.Name)} for s in statements]
        cuts = []
        for at, statement in enumerate(statements):
            read = used.union(*reads[:at], *reads[at + 1 :])
            if _command(statement) or not (names := _defined(statement)) or names <= read:
                continue
            if isinstance(statement, ast.Import | ast.ImportFrom):
                statement.names = [alias for alias in statement.names if _bound(alias) in read]
                cuts.append((statement, ast.unparse(statement) if statement.names else ""))
            elif not names & read:
                cuts.append((statement, ""))
        if not cuts:
            return source
        source = _cut(source, cuts)


def _defined(statement: ast.stmt) -> set[str]:
    """The names that ``statement`` binds in its module; empty for one that does something beside."""
    match statement:
        case ast.FunctionDef() | ast.ClassDef():
            return {statement.name}
        case ast.Import() | ast.ImportFrom() if getattr(statement, "module", "") != "__future__":
            return {_bound(alias) for alias in statement.names}
        case ast.Assign() | ast.AnnAssign():
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            flat = [name for target in targets for name in getattr(target, "elts", [target])]
            return {name.id for name in flat} if all(isinstance(name, ast.Name) for name in flat) else set()
        case ast.If(test=ast.Name("TYPE_CHECKING")):
            return set().union(*map(_defined, statement.body))
    return set()


def _bound(alias: ast.alias) -> str:
    return alias.asname or alias.name.partition(".")[0]


def _cut(source: str, cuts: list[tuple[ast.AST, str]]) -> str:
    """``source`` with the lines of each node, and comments right above them, replaced by a text; "" leaves none."""
    lines = source.split("\n")
    for node, text in sorted(cuts, key=lambda cut: -cut[0].lineno):
        first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))]) - 1
        while not text and first and lines[first - 1].lstrip().startswith("#"):
            first -= 1
        lines[first : node.end_lineno] = [text] if text else []
    return re.sub(r"\n{4,}", "\n\n\n", "\n".join(lines)).rstrip("\n") + "\n"
