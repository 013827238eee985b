"""What the tests of pages in a browser share: Chromium, the site over http, and an address opened in a window."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import pytest

if TYPE_CHECKING:  # conftest loads this, and the tests of the engine run where there is no Playwright
    from playwright.sync_api import Browser, Locator, Page

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SWITCHES = "--disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update"
DESKTOP, PHONE, ZOOMED = (1280, 800), (390, 844), (320, 640)  # the last is a desktop at 400%
SHEET = (718, 1047)  # A4 without margins of a centimetre
Open = Callable[..., "Page"]


@contextmanager
def chromium() -> Iterator[Browser]:
    if not CHROMIUM:  # no package of Python's brings one; where none can be installed, the other tests still say much
        pytest.skip("no Chromium is installed, so no page is opened in one; on Debian: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=CHROMIUM, chromium_sandbox=False, args=[*SWITCHES.split(), "--disable-sync"]
        )
        yield browser
        browser.close()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


class Halting(Quiet):
    """Sends a page as far as `mark`, and what remains when `rest` is set: what a slow network does at any place."""

    def __init__(self, *arguments: object, mark: bytes, rest: threading.Event, **options: object) -> None:
        self.mark, self.rest = mark, rest
        super().__init__(*arguments, **options)

    def copyfile(self, source: BinaryIO, outputfile: BinaryIO) -> None:
        first, mark, remainder = source.read().partition(self.mark)
        outputfile.write(first)
        if mark:
            outputfile.flush()
            self.rest.wait(10)
            outputfile.write(mark + remainder)


@contextmanager
def served(site: Path, handler: Callable[..., SimpleHTTPRequestHandler] = Quiet) -> Iterator[str]:
    """The address of the site on a server of this machine."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@contextmanager
def windows(browser: Browser) -> Iterator[Open]:
    """Opens an address in a window that nobody has used before; at the end, nothing may have gone wrong in any."""
    contexts, troubles = [], []

    def open_(
        address: str,
        size: tuple[int, int] = DESKTOP,
        scheme: str = "light",
        scripts: bool = True,
        first: str = "",  # a script that runs before any of the page's own
        until: str = "load",
        **options: object,
    ) -> Page:
        context = browser.new_context(
            viewport={"width": size[0], "height": size[1]}, color_scheme=scheme, java_script_enabled=scripts, **options
        )
        contexts.append(context)
        context.set_default_timeout(10_000)
        page = context.new_page()
        home = re.match(r"http://[^/]+/|file:///", address)[0]
        own = (home, "data:", "blob:", "about:")
        page.on("request", lambda r: None if r.url.startswith(own) else troubles.append(f"asked for {r.url}"))
        page.on("console", lambda m: troubles.append(f"{m.type}: {m.text}") if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: troubles.append(f"error: {error}"))
        page.add_init_script(first)
        page.goto(address, wait_until=until)
        return page

    open_.troubles = troubles
    yield open_
    for context in contexts:
        context.close()
    assert not troubles, "\n".join(troubles)


def titles(items: Locator) -> list[str]:
    return [text.strip() for text in items.all_inner_texts()]
