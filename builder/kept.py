"""What `catalogue serve` keeps from one build to the next, so that a change is soon on the screen.

MkDocs builds the whole site again at every change. A page that is what it was is not converted again, nor taken apart
for the search index, nor set into the theme; and the theme's files are not looked for, nor its templates compiled.
What is no page is not written, but read when a browser asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from mimetypes import MimeTypes
from pathlib import Path
from typing import Any

import jinja2
from jinja2.bccache import Bucket
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.nav import Navigation
from mkdocs.structure.pages import Page
from mkdocs.utils import meta

from implementations.errors import InputError

CONVERTED = ("content", "toc", "_title_from_render", "present_anchor_ids", "links_to_anchors")
"""What MkDocs notes of a page as it converts it."""


class Kept:
    """Results by page, each with what it was made from."""

    def __init__(self) -> None:
        self.read: dict[str, tuple[str, tuple[str, dict[str, Any]]]] = {}
        self.converted: dict[str, tuple[Any, dict[str, Any]]] = {}
        self.indexed: dict[str, tuple[Any, list[dict[str, Any]]]] = {}
        self.written: dict[str, tuple[Any, str]] = {}
        self.compiled = Compiled()
        self.around: tuple[Any, ...] = ()
        self.frame: tuple[Any, ...] = ()
        self.theme: tuple[Any, list[str]] = ((), [])
        self.files: dict[str, File] = {}

    def look(self, config: MkDocsConfig) -> None:
        """Find the theme's files again only if those of the project among them are others, or other than they were."""
        custom = Path(config.theme.custom_dir or config.docs_dir)
        own = tuple((str(path), path.stat().st_mtime_ns) for path in sorted(custom.rglob("*")))
        if self.theme[0] != own:
            self.theme = (own, [])
        config.theme.get_env = partial(self._environment, config.theme.get_env)

    def _environment(self, make: Callable[[], jinja2.Environment]) -> jinja2.Environment:
        env = make()
        own, names = self.theme
        if not names:  # some ten thousand icons among them, which MkDocs would sort out at each build
            self.theme = own, [name for name in env.loader.list_templates() if not name.startswith(".")]
        env.loader.list_templates = lambda: self.theme[1]
        return env

    def place(self, config: MkDocsConfig, files: Files) -> None:
        """What every page's conversion depends on: one object as long as it stays what it is."""
        settings = repr((config.markdown_extensions, config.mdx_configs, config.validation))
        around = (settings, tuple(files.src_uris))
        self.around = self.around if self.around == around else around

    def take_apart(self, page: Page, _: MkDocsConfig) -> None:
        """Read a page's Markdown and the data on top of it."""
        source = page.file.content_string
        last, result = self.read.get(page.file.src_uri, ("", ("", {})))
        if last != source:
            result = meta.get_data(source)
            self.read[page.file.src_uri] = (source, result)
        page.markdown, page.meta = result[0], dict(result[1])

    def convert(self, page: Page, config: MkDocsConfig, files: Files) -> None:
        """Convert a page's Markdown, unless it and all that it might link to are what they were the last time."""
        key = (page.markdown, self.around)
        last, result = self.converted.get(page.file.src_uri, (None, {}))
        if last == key:
            links = {files.src_uris[f.src_uri]: anchors for f, anchors in result["links_to_anchors"].items()}
            vars(page).update(result, links_to_anchors=links)
        else:
            type(page).render(page, config, files)
            self.converted[page.file.src_uri] = (key, {name: getattr(page, name) or {} for name in CONVERTED})

    def equip(self, env: jinja2.Environment, config: MkDocsConfig, nav: Navigation) -> None:
        """Have the theme's environment and the search index go through what is kept. All pages have been converted."""
        env.bytecode_cache = self.compiled
        frame = (Path(config.config_file_path).read_text("utf-8"), str(nav), self.theme[0])
        self.frame = self.frame if self.frame == frame else frame
        env.template_class = type("Template", (PageTemplate,), {"kept": self})
        if search := config.plugins.get("material/search"):
            index = search.search_index
            index.add_entry_from_context = partial(self._index, index.add_entry_from_context, index.entries)

    def hold(self, files: Files) -> None:
        """Have no file written that is not a page, for there are seven times as many; `content` reads them."""
        self.files = {file.dest_uri: file for file in files if not file.is_documentation_page()}
        for file in self.files.values():
            file.copy_file = lambda dirty=False: None

    def content(self, path: str) -> bytes | None:
        file = self.files.get(path)
        return file.content_bytes if file else None

    def _index(self, add: Callable[[Page], None], entries: list[dict[str, Any]], page: Page) -> None:
        """Have a page's entries added, which takes its HTML apart."""
        key = (page.content, page.title, page.meta)
        last, result = self.indexed.get(page.url, (None, []))
        if last == key:
            entries += result
        else:
            before = len(entries)
            add(page)
            self.indexed[page.url] = (key, entries[before:])


class PageTemplate(jinja2.Template):
    """A template of the theme, which sets a page into itself unless it did so when all else was the same."""

    kept: Kept

    def render(self, context: dict[str, Any]) -> str:
        page = context.get("page")
        if page is None:
            return super().render(context)
        key = (self.name, page.content, page.title, page.meta, page.edit_url, self.kept.frame)
        last, output = self.kept.written.get(page.url, (None, ""))
        if last != key:
            output = super().render(context)
            self.kept.written[page.url] = (key, output)
        return output


def on_demand(
    app: Callable[[dict, Callable], Iterable[bytes]], content: Callable[[str], bytes | None], root: str
) -> Callable:
    """The WSGI ``app`` with files that are made or read when they are asked for, so that a preview need not wait.

    ``content`` gives what is at a path below ``root``, or None if that is the app's. It may raise InputError.
    """

    def serve(environ: dict[str, Any], start_response: Callable) -> Iterable[bytes]:
        path = environ["PATH_INFO"].removeprefix(root)
        try:
            found, status, kind = content(path), "200 OK", KINDS.guess_type(path)[0] or "application/octet-stream"
        except InputError as error:
            found, status, kind = str(error).encode(), "500 Internal Server Error", "text/plain"
        if found is None:
            return app(environ, start_response)
        kind += "; charset=utf-8" if kind.startswith("text/") else ""
        start_response(status, [("Content-Type", kind), ("Content-Length", str(len(found)))])
        return [found]

    return serve


KINDS = MimeTypes()
"""Python's own table: a system's may take a script for a plain text, and then no browser runs it."""


class Compiled(jinja2.BytecodeCache):
    """Compiled templates; jinja2 asks by name and by a hash of the source."""

    def __init__(self) -> None:
        self.code: dict[tuple[str, str], bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if code := self.code.get((bucket.key, bucket.checksum)):
            bucket.bytecode_from_string(code)

    def dump_bytecode(self, bucket: Bucket) -> None:
        self.code[bucket.key, bucket.checksum] = bucket.bytecode_to_string()
