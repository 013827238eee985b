"""What the container of a Vertex AI job runs: ``python -m implementations.compute.vertex_worker gs://… run PATTERN …``

`distill` with those arguments, in a folder of which a copy is kept in Cloud Storage: the work folder as it was when the
last machine was taken away comes down first, and what changes goes up again and again. Nothing is trusted that is half
there. What never changes once it is whole (a model, a checkpoint) is taken only with the object WHOLE, which goes up
last; any other file is one object, and goes up after the models that it speaks of.

    gs://BUCKET/FOLDER/NAME/
        inputs/         what the launcher sent: prompts, data, models
        work/           the copy of the work folder, its ledger among it
        links.json      the work folder's links, which Cloud Storage has not
        log/            what the run printed, in parts
"""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from types import FrameType

from .storage import Folder

INPUTS, WORK, LINKS, LOG, WHOLE = "inputs/", "work/", "links.json", "log/", "WHOLE"
CACHE = INPUTS + "cache/"  # downloads of the launcher's, so that the machine needs no client for them
PAUSE = 20.0  # seconds between two looks at what has changed
LAST_WORDS = 5.0  # seconds; a process that the run had started may hold its output open
# What is whole or nothing. The embedded model is not among it: every machine unpacks it from its package.
UNIT = re.compile(r"models/(?!embedded/)[^/]+/(model|checkpoint-\d+)")
OWN = re.compile(r"lock|\.gitignore|ledger\.sqlite.*|.*\.part(/.*)?|models/embedded/.*")  # of a machine, or half there
LEDGER = "ledger.sqlite"


class Mirror:
    """The work folder ``root`` and its copy in ``folder``."""

    def __init__(self, root: Path, folder: Folder):
        self.root, self.folder = root, folder
        self._sent: dict[str, tuple[int, int]] = {}  # what each file was like when it went up
        self._there: set[str] = set()  # units of which there is something
        self._whole: set[str] = set()

    def restore(self) -> int:
        """Fetch the copy; how many files it had."""
        blobs = {name.removeprefix(WORK): blob for name, blob in self.folder.list(WORK).items()}
        self._whole = {name.rpartition("/")[0] for name in blobs if name.endswith(f"/{WHOLE}")}
        fetched = 0
        for name, blob in blobs.items():
            if unit := _unit(name):
                self._there.add(unit)
            if name.endswith(f"/{WHOLE}") or (unit and unit not in self._whole):
                continue
            self.folder.fetch(blob, self.root / name)
            self._sent[name] = _state(self.root / name)
            fetched += 1
        for name, target in _links(self.folder).items():
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).symlink_to(target)
        return fetched

    def sync(self) -> None:
        """Send what has changed. A checkpoint that is gone here goes there too, once what follows it is there."""
        before = set(self._whole_here())
        files = {name: _state(self.root / name) for name in self._loose()}
        units = set(self._whole_here())
        self._send_ledger()
        for unit in sorted(units - self._whole):
            with suppress(FileNotFoundError):  # a checkpoint may be replaced by its successor at any moment
                self._send_unit(unit)
        self._send_links()
        for name, state in files.items():
            if self._sent.get(name) != state:
                with suppress(FileNotFoundError):
                    self.folder.write(WORK + name, self.root / name)
                    self._sent[name] = state
        for unit in self._there - before - units:
            self._delete(unit)

    def _paths(self) -> Iterator[str]:
        """Files under the root. Links are not followed."""
        for where, _, names in os.walk(self.root):
            yield from (Path(where, name).relative_to(self.root).as_posix() for name in names)

    def _loose(self) -> list[str]:
        """Files that are each for itself."""
        return [n for n in self._paths() if not (_unit(n) or OWN.fullmatch(n) or (self.root / n).is_symlink())]

    def _whole_here(self) -> Iterator[str]:
        for folder in (self.root / "models").glob("*/*"):
            unit = folder.relative_to(self.root).as_posix()
            if UNIT.fullmatch(unit) and (folder.name == "model" or _is_whole(folder)):
                yield unit

    def _send_unit(self, unit: str) -> None:
        self._there.add(unit)
        for path in sorted((self.root / unit).iterdir()):
            self.folder.write(f"{WORK}{unit}/{path.name}", path)
        self.folder.write(f"{WORK}{unit}/{WHOLE}", b"")
        self._whole.add(unit)

    def _delete(self, unit: str) -> None:
        there = self.folder.list(f"{WORK}{unit}/")
        for name in sorted(there, key=lambda name: not name.endswith(f"/{WHOLE}")):
            self.folder.delete(name)
        self._whole.discard(unit)
        self._there.discard(unit)

    def _send_ledger(self) -> None:
        """A copy that SQLite makes, for the run writes to it all the while."""
        path, state = self.root / LEDGER, self._ledger_state()
        if not path.exists() or self._sent.get(LEDGER) == state:
            return
        with tempfile.TemporaryDirectory() as scratch:
            copy = Path(scratch) / LEDGER
            with closing(sqlite3.connect(path)) as ledger, closing(sqlite3.connect(copy)) as other:
                ledger.backup(other)
            self.folder.write(WORK + LEDGER, copy)
        self._sent[LEDGER] = state

    def _ledger_state(self) -> tuple[int, int]:
        """Of the ledger and its write-ahead log: the newest change, and how much there is."""
        states = [_state(path) for path in self.root.glob(f"{LEDGER}*") if not path.name.endswith("-shm")]
        return max((changed for changed, _ in states), default=0), sum(size for _, size in states)

    def _send_links(self) -> None:
        links = {name: str((self.root / name).readlink()) for name in self._links_here()}
        content = json.dumps(links, sort_keys=True).encode()
        state = (len(links), hash(content))
        if links and self._sent.get(LINKS) != state:
            self.folder.write(LINKS, content)
            self._sent[LINKS] = state

    def _links_here(self) -> Iterator[str]:
        for pattern in ("*", "*/*"):
            yield from (p.relative_to(self.root).as_posix() for p in self.root.glob(pattern) if p.is_symlink())


class Log:
    """What the run prints: shown here, and kept in parts that the launcher reads."""

    def __init__(self, folder: Folder):
        self.folder, self._lines, self._lock = folder, [], threading.Lock()
        self._number = len(folder.list(LOG))

    def add(self, line: str) -> None:
        print(line, end="", flush=True)
        with self._lock:
            self._lines.append(line)

    def send(self) -> None:
        with self._lock:
            lines, self._lines = self._lines, []
        if not lines:
            return
        try:
            self.folder.write(f"{LOG}{self._number:06}", "".join(lines).encode())
            self._number += 1
        except Exception:
            with self._lock:
                self._lines = lines + self._lines
            raise


def main() -> int:
    """The exit status of the run."""
    place, *arguments = sys.argv[1:]
    folder = Folder(place)
    log, mirror = Log(folder), Mirror(Path(WORK), folder)
    for name, blob in folder.list(INPUTS).items():
        folder.fetch(blob, Path(name))
    log.add(f"machine  {os.uname().nodename}: {mirror.restore()} files of the work folder are here\n")
    command = [sys.executable, "-m", "implementations.cli", *arguments, "--workdir", WORK]
    cache = {"XDG_CACHE_HOME": str(Path(CACHE).resolve())}
    environment = os.environ | cache | {"COLUMNS": "200", "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env=environment
    )
    taken = threading.Event()

    def take_away(number: int, frame: FrameType | None) -> None:
        """The machine is about to go: the run is safe to kill, and what it has done goes up."""
        taken.set()
        process.kill()

    signal.signal(signal.SIGTERM, take_away)
    reader = threading.Thread(target=lambda: [log.add(line) for line in process.stdout], daemon=True)
    reader.start()
    while True:
        try:
            process.wait(PAUSE)
            break
        except subprocess.TimeoutExpired:
            _try_to_send(mirror, log)
    reader.join(LAST_WORDS)
    mirror.sync()
    log.send()
    if taken.is_set():
        return 128 + signal.SIGTERM
    return process.returncode if process.returncode >= 0 else 128 - process.returncode


def _try_to_send(mirror: Mirror, log: Log) -> None:
    """What does not go up now does so the next time: no reason to lose the run."""
    try:
        log.send()
        mirror.sync()
    except Exception as error:
        print(f"warning  the copy in Cloud Storage is behind ({type(error).__name__})", file=sys.stderr, flush=True)


def _unit(name: str) -> str | None:
    found = UNIT.match(name)
    return found[0] if found and name[found.end() :].startswith("/") else None


def _state(path: Path) -> tuple[int, int]:
    try:
        seen = path.stat()
    except FileNotFoundError:
        return 0, 0
    return seen.st_mtime_ns, seen.st_size


def _is_whole(checkpoint: Path) -> bool:
    """Whether the file that the Trainer writes last is complete."""
    try:
        json.loads((checkpoint / "trainer_state.json").read_text())
    except (OSError, ValueError):
        return False
    return True


def _links(folder: Folder) -> dict[str, str]:
    return json.loads(folder.read(LINKS)) if LINKS in folder.list(LINKS) else {}


if __name__ == "__main__":
    sys.exit(main())
