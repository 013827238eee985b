"""Progress on the terminal: one bar a stage, with the time left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

Advance = Callable[[int], None]  # told how many of the stage's units are done in all


LINE_SECONDS = 30.0  # between two lines about one stage, where there is no bar


class Stages:
    """Shows each stage as a bar; where nobody watches, as a line when it starts and another now and then."""

    def __init__(self, console: Console):
        self.console = console

    @contextmanager
    def stage(self, title: str, total: int | None) -> Iterator[Advance]:
        """A bar for ``total`` units, or a spinner when how much there is to do is not known."""
        if not self.console.is_terminal:
            self.console.print(title, highlight=False)
            yield self._lines(title, total)
            return
        columns = [SpinnerColumn(), TextColumn("{task.description}"), BarColumn()]
        if total is not None:
            columns += [MofNCompleteColumn(), TimeRemainingColumn(elapsed_when_finished=True)]
        else:
            columns += [TimeElapsedColumn()]
        with Progress(*columns, console=self.console) as progress:
            task = progress.add_task(title, total=total)
            yield lambda done: progress.update(task, completed=done)
            progress.update(task, total=total or 1, completed=total or 1)

    def _lines(self, title: str, total: int | None) -> Advance:
        said = time.monotonic()

        def advance(done: int) -> None:
            nonlocal said
            if total is not None and time.monotonic() - said >= LINE_SECONDS:
                said = time.monotonic()
                self.console.print(f"{title}: {done} of {total}", highlight=False)

        return advance


@contextmanager
def download(console: Console, title: str) -> Iterator[Callable[[int, int], None]]:
    """A bar in bytes: told how many are there, and how many in all, which may grow."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total or None)
