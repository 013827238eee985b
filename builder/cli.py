"""`catalogue`: check the files, build or serve the site, or write its pages for another builder.

What draws pages is imported when a command draws some, so that `catalogue check` starts sooner.
"""

from __future__ import annotations

import os
import re
import socket
import sys
from datetime import date
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.text import Text

from implementations.errors import InputError, choose

from .check import SLUG
from .check import check as check_catalogue
from .load import SCHEMAS, SOURCES, Catalogue, Problem, read

ABOUT = __doc__.splitlines()[0]
app = typer.Typer(no_args_is_help=True, add_completion=False, help=ABOUT, pretty_exceptions_enable=False)
FOLDERS = {"pattern": "patterns", "term": "glossary"}

Root = Annotated[Path, typer.Option("--root", file_okay=False, help="The folder that holds patterns/ and glossary/.")]
Records = Annotated[
    Path | None,
    typer.Option(
        "--records",
        envvar="CATALOGUE_RECORDS",
        help="A run's folder, or one of runs or records: shown beside what is committed, and marked as yours.",
    ),
]


@app.command()
def check(root: Root = Path(), records: Records = None) -> None:
    """Say everything that is wrong with the catalogue's files. Exits with 2 if anything is."""
    catalogue = _load(root, records)
    counts = (
        f"{len(catalogue.patterns)} patterns, {len(catalogue.terms)} terms, {len(catalogue.claims)} claims, "
        f"{len(catalogue.references)} references, {len(catalogue.records)} records"
    )
    print(f"No problem in {counts}.")


@app.command()
def render(
    folder: Annotated[Path, typer.Argument(help="Where to write; files of the same name are replaced.")],
    root: Root = Path(),
    records: Records = None,
) -> None:
    """Write the pages as Markdown and JSON, with the site's assets, downloads and settings, for MkDocs or Zensical."""
    from . import tree

    catalogue = _load(root, records)
    try:
        count = tree.write(catalogue, root, folder)
    except InputError as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"{error.filename or folder}: cannot be written: {error.strerror}; choose another folder")
    print(f"{count} files written to {folder / 'docs'}")


@app.command()
def build(
    root: Root = Path(),
    records: Records = None,
    site: Annotated[Path | None, typer.Option("--site", help="Where to put the site; site/ by default.")] = None,
) -> None:
    """Build the site, strictly. Needs the `site` extra."""
    site = site or root / "site"
    if site.exists() and not (site.is_dir() and (not any(site.iterdir()) or (site / BUILT).exists())):
        _fail(f"--site {site}: holds what no build wrote, and a build empties it; name an empty folder or a new one")
    _load(root, records)
    _mkdocs("build", "--strict", "--site-dir", str(site.resolve()), root=root, records=records)


@app.command()
def serve(
    root: Root = Path(),
    records: Records = None,
    address: Annotated[str, typer.Option("--address", help="Host and port.")] = "127.0.0.1:8000",
) -> None:
    """Show the site on this machine, with whatever is wrong, and again at every change. Needs the `site` extra."""
    _check_free(address)
    _mkdocs("serve", "--dev-addr", address, root=root, records=records)


@app.command()
def new(
    kind: Annotated[str, typer.Argument(help="pattern or term")],
    slug: Annotated[str, typer.Argument(help="The file's name and the page's address: small letters and hyphens.")],
    root: Root = Path(),
) -> None:
    """Begin a pattern or a term: write a file with every field and what belongs there."""
    from .scaffold import scaffold

    if kind not in FOLDERS:
        _fail(f"“{kind}” is no kind of entry; {choose(kind, FOLDERS)}")
    if slug == "index" or not re.fullmatch(SLUG, slug) or len(slug) > 60:
        _fail(f"“{slug}” cannot be an address; use small letters, digits and single hyphens, as in soft-label")
    path = root / FOLDERS[kind] / f"{slug}.yml"
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(scaffold(kind, slug, date.today().isoformat()))
    except FileExistsError:
        _fail(f"{path}: the file exists; edit it, or choose another slug")
    except OSError as error:
        _fail(f"{path}: cannot be written: {error.strerror}; run this where {FOLDERS[kind]}/ is, or pass --root")
    print(f"{path} written. Fill in its blanks: `catalogue check` names them, `catalogue serve` shows the page.")


@app.command()
def schema(
    kind: Annotated[str, typer.Argument(help=f"One of {', '.join(SOURCES)}.")] = "pattern",
    write: Annotated[bool, typer.Option("--write", help=f"Write all of them to {SCHEMAS}/, for editors.")] = False,
    root: Root = Path(),
) -> None:
    """Print the JSON Schema of one kind of file."""
    from .data import dumps, schema_files
    from .data import schema as json_schema

    if kind not in SOURCES:
        _fail(f"there is no schema “{kind}”; {choose(kind, SOURCES)}")
    if not write:
        print(dumps(json_schema(SOURCES[kind])), end="")
        return
    (root / SCHEMAS).mkdir(exist_ok=True)
    for name, text in schema_files().items():
        (root / name).write_text(text, "utf-8")
        print(root / name)


def _load(root: Path, records: Path | None) -> Catalogue:
    """The catalogue, or every problem of it and exit status 2."""
    if not any((root / folder).is_dir() for folder in FOLDERS.values()):
        _fail(f"{root.resolve()}: holds neither patterns/ nor glossary/; run this where they are, or pass --root")
    catalogue, problems = read(root.resolve(), records.resolve() if records else None)
    problems = sorted(problems + check_catalogue(catalogue))
    if problems:
        _report(problems)
        raise typer.Exit(2)
    return catalogue


def _report(problems: list[Problem]) -> None:
    """Colour for a terminal; plain `file:line:column: …` lines for everything else."""
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    if not console.is_terminal:
        for problem in problems:
            print(problem, file=sys.stderr)
    else:
        for problem in problems:
            line = Text.assemble((f"{problem.place}: ", "cyan"), (f"{problem.path}: " * bool(problem.path), "bold"))
            line.append(problem.what, "red").append(f"; {problem.why}").append(f"; {problem.mend}", "green")
            console.print(line)
    files = len({problem.file for problem in problems})
    some = f"{len(problems)} problem{'s' * (len(problems) > 1)} in {files} file{'s' * (files > 1)}"
    print(some, file=sys.stderr)


def _mkdocs(*arguments: str, root: Path, records: Path | None) -> None:
    try:
        from mkdocs.__main__ import cli as mkdocs
    except ImportError:
        _fail("mkdocs is not installed; install it with: pip install -e '.[site]'")
    if records:
        os.environ["CATALOGUE_RECORDS"] = str(records.resolve())
    os.environ.setdefault("NO_MKDOCS_2_WARNING", "1")  # the successor is known and planned for
    config = root / "mkdocs.yml"
    if not config.exists():
        _fail(f"{config}: the file is missing; run this where mkdocs.yml is, or pass --root")
    mkdocs([*arguments, "--config-file", str(config)], standalone_mode=True)


def _check_free(address: str) -> None:
    """Before the pages are built, which takes a while."""
    host, _, port = address.rpartition(":")
    if not (host and port.isdecimal() and int(port) < 2**16):
        _fail(f"--address {address}: give a host and a port, as in 127.0.0.1:8000")
    try:
        socket.create_server((host, int(port))).close()
    except OSError as error:
        _fail(f"--address {address}: {error.strerror or error}; give another port, or stop what uses it")


BUILT = "search/search_index.json"
"""A folder that holds this holds a site, which may be built anew."""


def _fail(message: str) -> NoReturn:
    print(message, file=sys.stderr)
    raise typer.Exit(2)


def main() -> None:
    app()


if __name__ == "__main__":
    main()
