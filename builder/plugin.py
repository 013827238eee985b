"""MkDocs sink: the rendered catalogue as virtual files. Everything of substance is in load, check and render."""

from __future__ import annotations

import fnmatch
import os
from functools import partial
from pathlib import Path
from typing import Any

import jinja2
from mkdocs.config import config_options as option
from mkdocs.config.base import Config
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.livereload import LiveReloadServer
from mkdocs.plugins import BasePlugin, get_plugin_logger
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.nav import Navigation
from mkdocs.structure.pages import Page
from watchdog.observers.polling import PollingObserver

from implementations.errors import InputError

from .check import check
from .downloads import archive, archives, cells
from .kept import Kept, on_demand
from .load import CLAIMS, Catalogue, read
from .preview import Shown, show
from .render import navigation, render

log = get_plugin_logger("catalogue")
WATCHED = ("patterns", "glossary", "implementations/records")
THEME_SCRIPT = "assets/javascripts/bundle.*.js"
ARTICLE = '<article class="md-content__inner md-typeset">'
"""With which the theme begins a page's own part."""
COMPILE_HINT = b"//# allFunctionsCalledOnLoad\n"
"""Chromium compiles a script that begins so as it arrives, on another thread; else each function at its first call, on
the one that draws (https://v8.dev/blog/explicit-compile-hints). To other browsers it is a comment."""


class CatalogueConfig(Config):
    records = option.Type(str, default="")
    """A run's folder, or one of runs or records, shown beside what is committed; or set CATALOGUE_RECORDS."""


class CataloguePlugin(BasePlugin[CatalogueConfig]):
    """`mkdocs build` stops at a broken catalogue; `mkdocs serve` shows what it can of it, and what is wrong."""

    serving = False
    catalogue: Catalogue
    shown: Shown | None = None

    def __init__(self) -> None:
        self.kept = Kept()

    def on_startup(self, *, command: str, **_: Any) -> None:
        self.serving = command == "serve"  # having this event also keeps the plugin, and its pages, over rebuilds

    def on_config(self, config: MkDocsConfig) -> MkDocsConfig:
        """Load and check the catalogue, so that nothing is built from a broken one."""
        self.root = Path(config.config_file_path).parent
        given = self.config.records or os.environ.get("CATALOGUE_RECORDS", "")
        own = self.root / given if given else None
        folders = [self.root / folder for folder in WATCHED] + ([own] if own else [])
        config.watch += [str(folder) for folder in folders if folder.is_dir()]
        self.catalogue, problems = read(self.root, own)
        problems = sorted(problems + check(self.catalogue))
        for problem in problems:
            log.error(str(problem))
        if self.serving:
            self.kept.look(config)
            self.shown = show(self.catalogue, problems, self.shown)
        elif problems:
            some = f"{len(problems)} problem{'s' * (len(problems) > 1)}"
            raise PluginError(f"{some} in the catalogue, see above")
        else:
            self.shown = Shown(render(self.catalogue), navigation(self.catalogue))
        config.nav = self.shown.nav
        return config

    def on_files(self, files: Files, config: MkDocsConfig, **_: Any) -> Files:
        assert self.shown
        for path, content in self.shown.pages.items():
            hidden = path.startswith(("glossary/", "patterns/"))  # its list leads to it, whether the navigation does
            hidden = hidden or path in self.shown.stubs
            inclusion = InclusionLevel.NOT_IN_NAV if hidden else InclusionLevel.UNDEFINED
            file = File.generated(config, path, content=content, inclusion=inclusion)
            file.edit_uri = _origin(path)
            files.append(file)
        if not self.serving:
            _hint(files, config)
            try:
                for path, content in archives(self.catalogue):
                    files.append(File.generated(config, path, content=content))
            except InputError as error:
                raise PluginError(str(error)) from error
        return files

    def on_page_markdown(self, _: str, *, page: Page, **__: Any) -> None:
        """The sitemap says when a page's content changed, not when the site was built."""
        page.update_date = page.meta.get("updated", page.update_date)

    # -- while serving

    def on_nav(self, nav: Navigation, *, config: MkDocsConfig, files: Files) -> None:
        if self.serving:
            self.nav = nav
            self.kept.place(config, files)

    def on_pre_page(self, page: Page, *, config: MkDocsConfig, files: Files) -> Page:
        if self.serving:
            page.read_source = partial(self.kept.take_apart, page)
            page.render = partial(self.kept.convert, page)
        return page

    def on_serve(self, server: LiveReloadServer, **_: Any) -> LiveReloadServer:
        """Look for changes ten times a second, where MkDocs looks twice; make or read a file when it is asked for."""
        server.set_app(on_demand(server.serve_request, self._content, server.mount_path))
        watched = list(server._watched_paths)
        for path in watched:
            server.unwatch(path)
        server.observer = PollingObserver(timeout=0.1)
        for path in watched:
            server.watch(path)
        return server

    def _content(self, path: str) -> bytes | None:
        """An archive's, or another file's that is not written."""
        cell = cells(self.catalogue).get(path)
        return archive(*cell) if cell else self.kept.content(path)

    def on_env(self, env: jinja2.Environment, *, config: MkDocsConfig, files: Files) -> jinja2.Environment:
        if self.serving:
            self.kept.equip(env, config, self.nav)
            self.kept.hold(files)
        return env

    def on_post_page(self, output: str, *, page: Page, **_: Any) -> str:
        """What is wrong stands on top of every page; and the site's policy must let MkDocs' reloading script run.

        It comes last, for what is wrong changes neither a page's entry in the search index nor how it is set.
        """
        if not self.serving:
            return output
        assert self.shown
        output = output.replace("script-src 'self'", "script-src 'self' 'unsafe-inline'", 1)
        return output.replace(ARTICLE, ARTICLE + self.shown.banner(page.file.src_uri), 1)


def _hint(files: Files, config: MkDocsConfig) -> None:
    """Have the theme's script begin with the hint: nearly all of it is called when a page is opened."""
    for file in fnmatch.filter(files.src_uris, THEME_SCRIPT):
        content = COMPILE_HINT + files.src_uris[file].content_bytes
        files.remove(files.src_uris[file])
        files.append(File.generated(config, file, content=content))


def _origin(path: str) -> str | None:
    """The YAML that a page is made of, for its edit link."""
    folder, _, name = path.rpartition("/")
    if folder in ("patterns", "glossary") and name.endswith(".md") and name != "index.md":
        return f"{folder}/{name.removesuffix('.md')}.yml"
    return CLAIMS if path == "claims.md" else None
