"""Work that is shared among the processor's cores, where there is enough of it to pay."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

T, R = TypeVar("T"), TypeVar("R")

APIECE = 250
"""No process has less to do than this many items: starting one and fetching what it made takes as long as some ten."""


def each(act: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """``[act(item) for item in items]``, by this process and one more for each further core.

    They are forked, so they know all that this one knows, and only results have to be pickled. Where one fails, its
    share is done here, so that an error is raised as if there were no other process.
    """
    count = max(1, min(_cores(), len(items) // APIECE))
    shares = [items[first::count] for first in range(count)]
    others = [_begin(act, share) for share in shares[1:]]
    done = [[act(item) for item in shares[0]]]
    for share, (process, receiver) in zip(shares[1:], others, strict=True):
        try:
            done.append(receiver.recv())
        except EOFError:
            done.append([act(item) for item in share])
        process.join()
    return [done[number % count][number // count] for number in range(len(items))]


def _cores() -> int:
    """Those that this process may use; one where forking is not safe, as on macOS, or not known, as on Windows."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else 1


def _begin(act: Callable[[T], R], share: Sequence[T]) -> tuple[BaseProcess, Connection]:
    """Start a process that sends what `act` makes of its share, and returns it with the end where that is received."""
    from multiprocessing import get_context  # not needed, and so not read, for a small catalogue

    fork = get_context("fork")
    receiver, sender = fork.Pipe(duplex=False)

    def work() -> None:
        with suppress(Exception):  # the other end learns of it by the closing of the pipe
            sender.send([act(item) for item in share])

    process = fork.Process(target=work, daemon=True)
    process.start()
    sender.close()
    return process, receiver
