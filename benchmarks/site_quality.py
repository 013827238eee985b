"""What a page costs its reader: Lighthouse's four categories, weight as a server compresses it, and layout shift.

    python benchmarks/site_quality.py [--json FILE]

Builds the site, serves it compressed from this machine and asks Lighthouse (npm, fetched by npx at the version below;
it needs Node.js 18 or newer) with Chromium about four pages: home, a pattern, the chooser, a term. Its default is a
slow phone on a slow network. Take the figures on a machine that does nothing else: a busy one loses points. What
misses its goal is marked, and the status is 1.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LIGHTHOUSE = "lighthouse@12.2.3"  # 13 asks for Node.js 22
PAGES = {
    "home": "index.html",
    "pattern": "patterns/sequence-level.html",
    "chooser": "choose.html",
    "term": "glossary/temperature.html",
}
CATEGORIES = ("performance", "accessibility", "best-practices", "seo")
SCORE, KIB, SHIFT = 95, 300, 0.0
"""The goals: the least score, the most KiB of a page with all that it loads, the most layout shift."""
SWITCHES = "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"


class Compressed(SimpleHTTPRequestHandler):
    """Files as a host of static sites sends them: text in gzip."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            return self.send_error(404)
        content, kind = path.read_bytes(), self.guess_type(path)
        text = kind.startswith("text/") or any(word in kind for word in ("javascript", "json", "xml"))
        self.send_response(200)
        if text:
            content = gzip.compress(content, 6)
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Type", f"{kind}; charset=utf-8" if text else kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "max-age=600")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if not chromium or not shutil.which("npx"):
        print("needs Chromium and npx on the PATH; on Debian: apt-get install chromium npm", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as scratch:
        site = Path(scratch) / "site"
        build = [sys.executable, "-m", "builder.cli", "build", "--root", str(ROOT), "--site", str(site)]
        subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
        with ThreadingHTTPServer(("127.0.0.1", 0), partial(Compressed, directory=str(site))) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            home = f"http://127.0.0.1:{server.server_port}/"
            found = {name: audit(home + page, chromium, Path(scratch)) for name, page in PAGES.items()}
            server.shutdown()
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    return table(found)


def audit(address: str, chromium: str, scratch: Path) -> dict[str, Any]:
    """One page's scores, its weight in KiB with all that it loads, its layout shift, and what cost points."""
    out = scratch / "report.json"
    command = ["npx", "--yes", LIGHTHOUSE, address, "--quiet", "--output=json", f"--output-path={out}"]
    command += [f"--only-categories={','.join(CATEGORIES)}", f"--chrome-flags={SWITCHES}"]
    done = subprocess.run(command, env={**os.environ, "CHROME_PATH": chromium}, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"Lighthouse failed on {address}: {done.stderr.strip()[-600:]}")
    report = json.loads(out.read_text("utf-8"))
    audits = report["audits"]
    refs = [(c, ref) for c in CATEGORIES for ref in report["categories"][c]["auditRefs"] if ref["weight"]]
    return {
        **{c: round(100 * report["categories"][c]["score"]) for c in CATEGORIES},
        "kib": audits["total-byte-weight"]["numericValue"] / 1024,
        "shift": audits["cumulative-layout-shift"]["numericValue"],
        "costs": [f"{c}: {ref['id']}" for c, ref in refs if (audits[ref["id"]]["score"] or 0) < 0.9
                  and audits[ref["id"]]["scoreDisplayMode"] not in ("notApplicable", "informative", "manual")],
    }  # fmt: skip


def table(found: dict[str, dict[str, Any]]) -> int:
    """Print the figures as a table of Markdown. Returns 1 if one misses its goal, else 0."""
    print(f"| page | {' | '.join(CATEGORIES)} | KiB compressed | layout shift |")
    print("| --- |" + " ---: |" * (len(CATEGORIES) + 2))
    missed = 0
    for name, page in found.items():
        cells = [(str(page[c]), page[c] >= SCORE) for c in CATEGORIES]
        cells += [(f"{page['kib']:.0f}", page["kib"] <= KIB), (f"{page['shift']:.3f}", page["shift"] <= SHIFT)]
        missed += sum(not good for _, good in cells)
        print(f"| {name} | " + " | ".join(text if good else f"**{text}**" for text, good in cells) + " |")
    for name, page in found.items():
        for cost in page["costs"]:
            print(f"{name}: points lost by {cost}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
