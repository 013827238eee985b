"""MkDocs sink: the rendered catalogue as virtual files. Everything of substance is in load, check and render."""

from __future__ import annotations

import os
from html import escape
from pathlib import Path
from typing import Any

from mkdocs.config import config_options as option
from mkdocs.config.base import Config
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.plugins import BasePlugin, get_plugin_logger
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

from .check import check
from .load import CLAIMS, Problem, read
from .render import navigation, render

log = get_plugin_logger("catalogue")
WATCHED = ("patterns", "glossary", "implementations/records")


class CatalogueConfig(Config):
    records = option.Type(str, default="")
    """A run's folder, or one of runs or records, shown beside what is committed; or set CATALOGUE_RECORDS."""


class CataloguePlugin(BasePlugin[CatalogueConfig]):
    """`mkdocs build` stops at a broken catalogue; `mkdocs serve` goes on with the last good one and says so."""

    serving = False
    pages: dict[str, str] | None = None
    nav: list[Any]
    problems: list[Problem]

    def on_startup(self, *, command: str, **_: Any) -> None:
        self.serving = command == "serve"  # having this event also keeps the plugin, and its pages, over rebuilds

    def on_config(self, config: MkDocsConfig) -> MkDocsConfig:
        """Load and check the catalogue, so that nothing is built from a broken one."""
        self.root = Path(config.config_file_path).parent
        given = self.config.records or os.environ.get("CATALOGUE_RECORDS", "")
        own = self.root / given if given else None
        folders = [self.root / folder for folder in WATCHED] + ([own] if own else [])
        config.watch += [str(folder) for folder in folders if folder.is_dir()]
        catalogue, problems = read(self.root, own)
        self.problems = sorted(problems + check(catalogue))
        for problem in self.problems:
            log.error(str(problem))
        if not self.problems:
            self.pages, self.nav = render(catalogue), navigation(catalogue)
        elif not self.serving or self.pages is None:
            some = f"{len(self.problems)} problem{'s' * (len(self.problems) > 1)}"
            raise PluginError(f"{some} in the catalogue, see above")
        config.nav = self.nav
        return config

    def on_files(self, files: Files, config: MkDocsConfig, **_: Any) -> Files:
        assert self.pages is not None
        for path, content in self.pages.items():
            hidden = path.startswith(("glossary/", "patterns/"))  # its list leads to it, whether the navigation does
            inclusion = InclusionLevel.NOT_IN_NAV if hidden else InclusionLevel.UNDEFINED
            file = File.generated(config, path, content=content, inclusion=inclusion)
            file.edit_uri = _origin(path)
            files.append(file)
        return files

    def on_page_markdown(self, _: str, *, page: Page, **__: Any) -> None:
        """The sitemap says when a page's content changed, not when the site was built."""
        page.update_date = page.meta.get("updated", page.update_date)

    def on_page_content(self, html: str, **_: Any) -> str:
        """Under `serve`, what is wrong stands on top of every page, which is the last that was right."""
        if not self.problems:
            return html
        lines = "".join(f"<li><code>{escape(str(problem))}</code></li>" for problem in self.problems)
        return f'<div class="dp-problems"><p>This page is the last good one. To mend:</p><ul>{lines}</ul></div>{html}'


def _origin(path: str) -> str | None:
    """The YAML that a page is made of, for its edit link."""
    folder, _, name = path.rpartition("/")
    if folder in ("patterns", "glossary") and name.endswith(".md") and name != "index.md":
        return f"{folder}/{name.removesuffix('.md')}.yml"
    return CLAIMS if path == "claims.md" else None
