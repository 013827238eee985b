"""How the catalogue scales: python benchmarks/catalogue_scale.py [PATTERNS ...] [--only-ours]

For each size (100 300 1000) a catalogue with that many patterns and three times as many terms, made from the real
ones: every copy has its own slug, aliases, relations, links, diagram and words, so that every check and every page has
work, and nothing is found ready in a cache. The originals are among them. Copies run by their original's recipe; at
least one in ten has a record. Prints the seconds of loading, checking and rendering in a process of their own, then of
a whole strict MkDocs build, the share of rendering in it and that of all our code, and what pages weigh. --only-ours
leaves the build out.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from builder import load as loading
from builder.check import check, texts
from builder.downloads import cells
from builder.load import read
from builder.models import Line, PatternStatus
from builder.render import render
from implementations.registry import RECIPES, Recipe

ROOT = Path(__file__).resolve().parent.parent
SIZES = [100, 300, 1000]
TERMS = 3  # for each pattern
WORKS = 10  # sets of references that the copies cite in turn
MEASURED = 10  # one pattern in so many has a record, or some more
WEIGHED = ("index", "choose", "patterns/index", "matrix", "compare", "relations", "glossary/index", "references")


# ------------------------------------------------------------------------------------------- the made-up catalogue


def name(copy: int) -> str:
    """A word for a copy: no figure, so it needs no source."""
    letters = ""
    while copy:
        copy, digit = divmod(copy, 26)
        letters = chr(ord("a") + digit) + letters
    return f"V{letters}"


def slug_of(original: str, copy: int) -> str:
    return f"{original}-{name(copy).lower()}" if copy else original


class Copies:
    """A catalogue of copies of the real one."""

    def __init__(self, patterns: int) -> None:
        self.real, problems = read(ROOT)
        assert not problems
        self.chance = random.Random(patterns)
        self.patterns = self._slugs(self.real.patterns, patterns)
        self.terms = self._slugs(self.real.terms, TERMS * patterns)
        self.cited: set[str] = set()

    @staticmethod
    def _slugs(originals: dict[str, Any], count: int) -> dict[str, tuple[str, int]]:
        """Slug → original and number of the copy; the originals are copy 0."""
        pairs = [(slug, copy) for copy in range(-(-count // len(originals))) for slug in originals][:count]
        return {slug_of(*pair): pair for pair in pairs}

    def write(self, root: Path) -> None:
        for folder in ("patterns", "glossary", loading.RECORDS):
            (root / folder).mkdir(parents=True)
        for file in (loading.VOCABULARY, loading.CLAIMS):
            shutil.copy(ROOT / file, root / file)
        shutil.copy(ROOT / "mkdocs.yml", root)
        (root / "site_overrides").symlink_to(ROOT / "site_overrides")
        for folder, models, slugs in (
            ("patterns", self.real.patterns, self.patterns),
            ("glossary", self.real.terms, self.terms),
        ):
            for slug, (original, copy) in slugs.items():
                data = self._copy(folder, models[original], original, slug, copy)
                _dump(root / folder / f"{slug}.yml", data)
        works = self.real.sources[loading.REFERENCES].data
        copies = {
            f"{key}_v{copy}" if copy else key: _work(data, copy) for key, data in works.items() for copy in range(WORKS)
        }
        of_claims = re.findall(r"@([a-z0-9_]+)", (ROOT / loading.CLAIMS).read_text("utf-8"))
        known = {key: data for key, data in copies.items() if key in self.cited or key in of_claims}
        _dump(root / loading.REFERENCES, known)
        self._records(root)

    def _copy(self, folder: str, model: Any, original: str, slug: str, copy: int) -> Any:
        data = json.loads(json.dumps(self.real.source(folder, original).data))
        for path, text in texts(model):
            _put(data, path, self._text(text, copy))
        data["slug"] = slug
        for ref in data.get("refs", []):
            ref["reference"] = self._key(ref["reference"], copy)
        if copy:
            data["aliases"] = [f"{alias} {name(copy)}" for alias in data.get("aliases", [])]
        if folder == "patterns":
            if copy:
                diagram = data["architecture"]["diagram"]
                data["architecture"]["diagram"] = re.sub(r'\["(\w+)', rf'["\1 {name(copy)}', diagram)
                data["status"] = PatternStatus.DRAFT.value  # with a sentence more in each text it is longer than a page
            for other in data["related"]:
                other["slug"] = self._other(self.patterns, slug) if copy else other["slug"]
        elif copy:
            for field in ("related", "prerequisites"):
                data[field] = sorted({self._other(self.terms, slug) for _ in data[field]})
        return data

    def _text(self, text: str, copy: int) -> str:
        """The text of a copy: its name in it, links to anything, its own set of works."""
        if copy:
            line = isinstance(text, Line)
            text = re.sub(r"\]\(term:[^)]*\)", lambda _: f"](term:{self._other(self.terms)})", text)
            text = re.sub(r"\]\(pattern:[^)]*\)", lambda _: f"](pattern:{self._other(self.patterns)})", text)
            text = f"{text} {name(copy)}" if line else f"{text} So it is for {name(copy)}."
        return re.sub(r"\[@[^\]]*\]", lambda m: re.sub(r"@(\w+)", lambda k: "@" + self._key(k[1], copy), m[0]), text)

    def _other(self, slugs: dict[str, Any], but: str = "") -> str:
        found = self.chance.choice(list(slugs))
        return found if found != but else self._other(slugs, but)

    def _key(self, key: str, copy: int) -> str:
        key = f"{key}_v{copy % WORKS}" if copy % WORKS else key
        self.cited.add(key)
        return key

    def _records(self, root: Path) -> None:
        found = {m.record.pattern: m.record for m in self.real.records}
        could = [slug for slug, (original, _) in self.patterns.items() if original in found]
        for slug in could[:: max(1, len(could) * MEASURED // len(self.patterns))]:
            record = json.loads(found[self.patterns[slug][0]].model_dump_json())
            record["pattern"], record["retention"]["value"] = slug, 0.5 + self.chance.random() / 2
            (root / loading.RECORDS / f"{slug}.json").write_text(json.dumps(record), "utf-8")

    def register(self) -> None:
        """Copies run by their original's recipe, so their code is hashed once for each original."""
        hashed = loading.code_sha256
        loading.code_sha256 = lambda slug, task=None: hashed(self.patterns[slug][0], task=task)
        for slug, (original, copy) in self.patterns.items():
            if copy and original in RECIPES:
                RECIPES[slug] = CopiedRecipe(**{**vars(RECIPES[original]), "slug": slug}, original=original)


@dataclass(frozen=True)
class CopiedRecipe(Recipe):
    """One whose code is the original's."""

    original: str = ""

    @property
    def module(self) -> str:
        return RECIPES[self.original].module


def _work(data: dict[str, Any], copy: int) -> dict[str, Any]:
    """A work with an address of its own."""
    return {name: f"{value}v{copy}" if copy and name in ("URL", "DOI") else value for name, value in data.items()}


def _put(data: Any, path: tuple[str | int, ...], value: str) -> None:
    for part in path[:-1]:
        data = data[part]
    data[path[-1]] = value


def _dump(path: Path, data: Any) -> None:
    path.write_text(yaml.dump(data, Dumper=Dumper, allow_unicode=True, sort_keys=False, width=110), "utf-8")


class Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):
    def ignore_aliases(self, data: Any) -> bool:
        return True


# ---------------------------------------------------------------------------------------------------- measurements


def timed(act: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    started = time.perf_counter()
    result = act(*arguments)
    return time.perf_counter() - started, result


def ours(root: Path) -> dict[str, float]:
    """Seconds of our three steps, and the memory that they took of this process; on more cores there are others."""
    reading, (catalogue, problems) = timed(read, root)
    checking, more = timed(check, catalogue)
    assert not problems + more, (problems + more)[:3]
    rendering, pages = timed(render, catalogue)
    return {
        "patterns": len(catalogue.patterns),
        "terms": len(catalogue.terms),
        "load": reading,
        "check": checking,
        "render": rendering,
        "files": len(pages),
        "MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def whole(root: Path) -> dict[str, float]:
    """Seconds of the whole strict build, and of what our plugin does in it. Writes the site to root/site.

    The downloads are empty files: what is in them is a matter of a pattern's code, not of the catalogue's size.
    """
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    from builder import plugin

    spent = dict.fromkeys(("load and check", "render", "hooks"), 0.0)

    def counted(part: str, act: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            seconds, result = timed(lambda: act(*arguments, **named))
            spent[part] += seconds
            return result

        return call

    plugin.read, plugin.check = counted("load and check", plugin.read), counted("load and check", plugin.check)
    plugin.render, plugin.navigation = counted("render", plugin.render), counted("render", plugin.navigation)
    plugin.archives = lambda catalogue: ((path, b"") for path in cells(catalogue))
    ours = plugin.CataloguePlugin
    for hook in ("on_files", "on_page_markdown", "on_post_page"):
        setattr(ours, hook, counted("hooks", getattr(ours, hook)))
    config = load_config(str(root / "mkdocs.yml"), strict=True, site_dir=str(root / "site"))
    config.plugins.on_startup(command="build", dirty=False)
    total, _ = timed(build, config)
    return {"build": total, **spent}


def weights(root: Path) -> dict[str, tuple[int, int]]:
    """Bytes of what grows with the catalogue, as they are and compressed; of patterns and terms the heaviest page."""
    site = root / "site"
    paths = {f"{page}.html": site / f"{page}.html" for page in WEIGHED}
    for folder in ("patterns", "glossary"):
        pages = [path for path in (site / folder).glob("*.html") if path.name != "index.html"]
        paths[f"heaviest of {folder}/"] = max(pages, key=lambda path: path.stat().st_size)
    for file in ("index.json", "criteria.json", "llms.txt", "llms-full.txt", "sitemap.xml", "search/search_index.json"):
        paths[file] = site / file
    return {
        label: (len(raw), len(gzip.compress(raw, 6))) for label, path in paths.items() for raw in [path.read_bytes()]
    }


STEPS = {"ours": ours, "whole": whole, "weights": weights}


def apart(step: str, patterns: int, root: Path) -> dict[str, Any]:
    """One step in a process of its own."""
    command = [sys.executable, __file__, str(patterns), "--step", step, "--root", str(root)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def row(*cells: Any) -> None:
    print(" ".join(f"{cell:>14.2f}" if isinstance(cell, float) else f"{cell!s:>14}" for cell in cells), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("patterns", nargs="*", type=int, default=SIZES)
    parser.add_argument("--only-ours", action="store_true")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step:
        Copies(given.patterns[0]).register()
        print(json.dumps(STEPS[given.step](given.root)))
        return
    weighed = {}
    for patterns in given.patterns:
        with tempfile.TemporaryDirectory() as scratch:
            root = Path(scratch)
            Copies(patterns).write(root)
            measured = apart("ours", patterns, root)
            if patterns == given.patterns[0]:
                row(*measured, *(() if given.only_ours else ("build", "render in it", "share", "all of ours")))
            if given.only_ours:
                row(*measured.values())
                continue
            built = apart("whole", patterns, root)
            total = built.pop("build")
            shares = (f"{part / total:.1%}" for part in (built["render"], sum(built.values())))
            row(*measured.values(), total, built["render"], *shares)
            weighed[patterns] = apart("weights", patterns, root)
    for patterns, pages in weighed.items():
        print(f"\nKiB with {patterns} patterns, and compressed")
        for label, (raw, small) in pages.items():
            print(f"{label:32}{raw / 1024:>12,.0f}{small / 1024:>10,.0f}")


if __name__ == "__main__":
    main()
