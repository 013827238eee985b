"""For each pattern on each platform the folder that `distill copy` makes, as a zip archive.

The pages say where the archives are (`data.archive_path`), the sinks put them there. They are not part of what is
rendered, for a copy reads this project's sources, and all of them take a while. The same sources give the same bytes.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from implementations.errors import InputError
from implementations.registry import PLATFORMS

from .data import archive_path
from .load import Catalogue

Cell = tuple[str, str]
EPOCH = (1980, 1, 1, 0, 0, 0)  # the first date that a zip archive can hold
FILE = 0o100644 << 16  # a plain file that its owner may write


def cells(catalogue: Catalogue) -> dict[str, Cell]:
    """Path → pattern and platform, of every archive that the pages link to."""
    pairs = [(pattern, platform) for pattern in sorted(catalogue.patterns) for platform in PLATFORMS]
    return {path: pair for pair in pairs if (path := archive_path(*pair))}


def archives(catalogue: Catalogue) -> Iterator[tuple[str, bytes]]:
    """Every archive with its path. Raises InputError."""
    for path, cell in cells(catalogue).items():
        yield path, archive(*cell)


def archive(pattern: str, platform: str) -> bytes:
    """What `distill copy PATTERN --platform PLATFORM` writes, in one folder. Raises InputError."""
    try:
        from implementations.delivery.copy import copy
    except ImportError as error:
        raise InputError(
            f"{error.name} is not installed, and the downloads need it; run: pip install -e '.[train]'"
        ) from error
    with TemporaryDirectory() as scratch:
        return pack(copy(pattern, platform, Path(scratch) / f"{pattern}-{platform}"))


def pack(folder: Path) -> bytes:
    """``folder`` as a zip archive that depends on nothing but its files' names and contents."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(path.relative_to(folder.parent).as_posix(), EPOCH)
            entry.external_attr, entry.create_system, entry.compress_type = FILE, 3, zipfile.ZIP_DEFLATED
            packed.writestr(entry, path.read_bytes())
    return out.getvalue()
