"""How long a contributor waits: `catalogue check`, and a changed YAML file until its new page is on the screen.

    python benchmarks/preview.py [changes]

A copy of the catalogue is served by `catalogue serve`. Each change is one sentence of one file; then the file is
broken, so that it cannot be read, and mended. The clock runs from the file's closing until the new page has come over
the wire, asked for as a browser does: a request to the reloading address that is answered when the site has been built
again, then the page. So MkDocs' own waiting for changes counts.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.request import urlopen

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("patterns", "glossary", "implementations/records", "site_overrides")
FILES = ("glossary/temperature.yml", "patterns/response-based.yml", "patterns/sequence-level.yml")


def main(changes: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for part in PARTS:
            shutil.copytree(ROOT / part, root / part)
        shutil.copy(ROOT / "mkdocs.yml", root)
        checks = [timed_check(root) for _ in range(5)]
        print(f"catalogue check                {summary(checks)}")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        began = time.perf_counter()
        server = start("serve", "--root", folder, "--address", f"127.0.0.1:{port}")
        try:
            wait_until_up(server, port)
            print(f"catalogue serve, first page    {time.perf_counter() - began:.2f} s")
            for name in FILES:
                page = f"http://127.0.0.1:{port}/{name.replace('.yml', '.html')}"
                print(f"{name:30} {summary([change(root / name, page, n) for n in range(changes)])}")
                broken, mended = zip(*(break_and_mend(root / name, page) for _ in range(changes)), strict=True)
                print(f"{'  broken':30} {summary(broken)}\n{'  mended':30} {summary(mended)}")
        finally:
            server.terminate()
            server.wait()


def start(*arguments: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    quiet = subprocess.DEVNULL
    return subprocess.Popen(
        [sys.executable, "-m", "builder.cli", *arguments], env=environment, stdout=quiet, stderr=quiet
    )


def timed_check(root: Path) -> float:
    began = time.perf_counter()
    if start("check", "--root", str(root)).wait():
        sys.exit("the catalogue has problems; see `catalogue check`")
    return time.perf_counter() - began


def wait_until_up(server: subprocess.Popen[bytes], port: int) -> None:
    while server.poll() is None:
        try:
            urlopen(f"http://127.0.0.1:{port}/").close()
            return
        except OSError:
            time.sleep(0.05)
    sys.exit("`catalogue serve` ended; run it to see why")


def change(path: Path, page: str, number: int) -> float:
    """Seconds from a new word in the file to the page that has it."""
    word = f"Changed-{time.monotonic_ns()}"
    text = path.read_text("utf-8")
    field = "misconception" if path.parent.name == "glossary" else "explanation"
    text = re.sub(r"^ *Changed-\S+ is here\.\n", "", text, flags=re.M)
    changed = re.sub(rf"^( *{field}: [|>]-\n( +))", rf"\g<1>{word} is here.\n\g<2>", text, count=1, flags=re.M)
    assert changed != text, f"{path} has no block {field}"
    time.sleep(0.37 * (number % 3))  # changes come at any moment between two looks
    return write(path, changed, page, lambda now: word in now)


def break_and_mend(path: Path, page: str) -> tuple[float, float]:
    """Seconds from a file that cannot be read to the page that says so, and from the file as it was to its page."""
    text = path.read_text("utf-8")
    broken = write(path, text.replace("slug:", "slug: [", 1), page, lambda now: "dp-problems" in now)
    return broken, write(path, text, page, lambda now: "dp-problems" not in now)


def write(path: Path, text: str, page: str, fits: Callable[[str], bool]) -> float:
    """Seconds until the page fits."""
    epoch = re.search(r"livereload\((\d+), (\d+)\)", urlopen(page).read().decode())
    assert epoch, "the page does not wait for changes"
    path.write_text(text, "utf-8")
    began = time.perf_counter()
    base = page.split("/", 3)
    while True:
        urlopen(f"{base[0]}//{base[2]}/livereload/{epoch[1]}/{epoch[2]}").read()
        if fits(urlopen(page).read().decode()):
            return time.perf_counter() - began
        assert time.perf_counter() - began < 300, "the change did not arrive"


def summary(seconds: Sequence[float]) -> str:
    return f"median {statistics.median(seconds):.2f} s, worst {max(seconds):.2f} s, of {len(seconds)}"


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 6)
