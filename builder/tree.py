"""The second sink: the rendered catalogue as a folder that MkDocs alone, Zensical or another builder can build.

`docs/` holds the pages with the site's own assets and downloads, `mkdocs.yml` inherits the site's settings and says
what our plugin would have said. Zensical takes paths of pages and site only from inside the folder of its settings.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from implementations.errors import InputError

from .downloads import archives
from .load import Catalogue
from .render import navigation, render

CONFIG, ASSETS, THEME = "mkdocs.yml", "site_overrides/docs", "site_overrides/theme"


def write(catalogue: Catalogue, root: Path, folder: Path) -> int:
    """Write the pages, and the settings if the site of `root` has any. Returns how many files it has beside its assets.

    Raises InputError if the downloads cannot be made, or if ``folder`` is where the site's own settings are.
    """
    if (root / CONFIG).is_file() and folder.resolve() == root.resolve():
        why = f"its {CONFIG} would be replaced by one that inherits from itself"
        raise InputError(f"{folder}: is the project's own folder, and {why}; choose another, such as build/")
    docs = folder / "docs"
    files = {path: content.encode() for path, content in render(catalogue).items()} | dict(archives(catalogue))
    if (root / ASSETS).is_dir():
        shutil.copytree(root / ASSETS, docs, dirs_exist_ok=True)
    for name, content in files.items():
        path = docs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    if (root / CONFIG).is_file():
        (folder / CONFIG).write_text(settings(catalogue, root, folder), "utf-8")
    return len(files)


def settings(catalogue: Catalogue, root: Path, folder: Path) -> str:
    """The settings, in JSON, which is YAML. `variant` is Zensical's: it looks like Material."""

    def to(name: str) -> str:
        return Path(os.path.relpath(root.resolve() / name, folder.resolve())).as_posix()

    own = {
        "INHERIT": to(CONFIG),
        "docs_dir": "docs",
        "theme": {"custom_dir": to(THEME), "variant": "classic"},
        "plugins": {"catalogue": {"enabled": False}},
        "nav": navigation(catalogue),
        "not_in_nav": "glossary/*.md\npatterns/*.md",
    }
    return json.dumps(own, ensure_ascii=False, indent=1) + "\n"
