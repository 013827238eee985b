"""Servers of the tests' own on 127.0.0.1. Each speaks one provider's wire protocol; a model of ours answers.

A protocol is a function from a Call to a Reply (see protocols/). Loopback carries it over HTTP, counts, and injects
faults; what it counts is the truth that a ledger is held against.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit


class Written(NamedTuple):
    """What a model wrote. ``top_logprobs``: per token, [token, log-probability] of the likeliest, the chosen first."""

    text: str
    prompt_tokens: int
    completion_tokens: int
    truncated: bool
    top_logprobs: list[list[tuple[str, float]]]


Model = Callable[[str, str, int], Written]  # (instruction, prompt, most new tokens)


def echo(instruction: str, prompt: str, limit: int) -> Written:
    """A model that needs no weights: it says the prompt's words again, in capitals. A word is a token."""
    words = prompt.upper().split()
    said = words[:limit]
    logprobs = [[(word + " ", -0.1), ("other ", -2.4)] for word in said]
    cut = len(said) < len(words)
    return Written(" ".join(said), len(f"{instruction} {prompt}".split()), len(said), cut, logprobs)


class TinyModel:
    """The model in ``folder`` behind a protocol. One prompt at a time: torch has the threads."""

    def __init__(self, folder: Path):
        from implementations.teachers.local import load

        self.model, self.tokenizer = load(folder, "cpu")
        self.lock = threading.Lock()

    def __call__(self, instruction: str, prompt: str, limit: int) -> Written:
        from implementations.transfer.generate import generate

        with self.lock:
            [[g]] = generate(self.model, self.tokenizer, instruction, [prompt], limit)
        pieces = self.tokenizer.tokenize(g.text)
        logprobs = [[(piece, -0.1), ("other", -2.4)] for piece in pieces]
        return Written(g.text, g.prompt_tokens, g.completion_tokens, g.truncated, logprobs)


@dataclass(frozen=True)
class Call:
    """One HTTP request. ``query`` maps each name to its last value; ``headers`` has lower-case names."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @cached_property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """What goes back: JSON unless the body is bytes."""

    body: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


def with_teacher(teacher: Any, act: Callable[[Any], Awaitable[Any]]) -> Any:
    """What ``act(teacher)`` comes to; the teacher is closed afterwards."""

    async def once() -> Any:
        try:
            return await act(teacher)
        finally:
            await teacher.close()

    return asyncio.run(once())


def answers(teacher: Any, request: Any, times: int = 1) -> list[Any]:
    """What a teacher answers to one request, asked again and again; it is closed afterwards."""

    async def ask(teacher: Any) -> list[Any]:
        return [await teacher.ask(request) for _ in range(times)]

    return with_teacher(teacher, ask)


class Break(StrEnum):
    """What can go wrong with a connection."""

    RESET = "reset"  # half of the body, then a TCP reset
    GARBAGE = "garbage"  # status 200 and a body that is no JSON
    DRIP = "drip"  # the body byte by byte, slower than any client should wait for
    SILENCE = "silence"  # nothing at all, until the client gives up


Fault = Reply | Break | None


def one_authority(folder: Path) -> Path:
    """A file for SSL_CERT_FILE with one certificate: reading all of them is most of what an SDK's client costs."""
    import certifi

    end = "-----END CERTIFICATE-----\n"
    path = folder / "authorities.pem"
    path.write_text(Path(certifi.where()).read_text().partition(end)[0] + end)
    return path


class Loopback:
    """Serves ``respond`` while it is open. ``fault(n, call)`` may spoil the n-th request, counted from 0.

    ``calls`` holds every request that came, ``served`` those that were answered whole.
    """

    def __init__(
        self,
        respond: Callable[[Call], Reply],
        fault: Callable[[int, Call], Fault] = lambda n, call: None,
        delay: float = 0.0,
    ):
        self.respond, self.fault, self.delay = respond, fault, delay
        self.calls: list[Call] = []
        self.served: list[Call] = []
        self.paths: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.loopback = self
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Loopback:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()

    def take(self, call: Call) -> tuple[Reply, Break | None]:
        """The reply to ``call``, and what is to go wrong with sending it."""
        with self._lock:
            number = len(self.calls)
            self.calls.append(call)
            self.paths[f"{call.method} {call.path}"] += 1
        fault = self.fault(number, call)
        if self.delay:
            time.sleep(self.delay)
        if isinstance(fault, Reply):
            return fault, None
        return self.respond(call), fault

    def wait(self, seconds: float) -> bool:
        """Sleep, but not past the end of the server; whether it is still open."""
        return not self._closing.wait(seconds)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    loopback: Loopback

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    disable_nagle_algorithm = True

    def _any(self) -> None:
        parts = urlsplit(self.path)
        length = self.headers.get("content-length")
        body = self.rfile.read(int(length)) if length else self._chunks()
        if len(body) < int(length or 0):  # the client was gone before it had asked
            self.close_connection = True
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        call = Call(self.command, parts.path, query, headers, body)
        loopback = self.server.loopback
        reply, broken = loopback.take(call)
        data = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        if broken is Break.GARBAGE:
            data = b'{"id": "msg_1", "content": [{"ty\xff'
        if broken is Break.SILENCE:
            loopback.wait(60)
            self.close_connection = True
            return
        self.send_response(reply.status)
        if not isinstance(reply.body, bytes):
            self.send_header("Content-Type", "application/json")
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if broken is Break.RESET:
            self._reset(data[: len(data) // 2])
        elif broken is Break.DRIP:
            self._drip(data)
        elif broken is Break.GARBAGE:
            self.wfile.write(data)
        else:
            self._whole(call, reply, data)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = _any

    def _chunks(self) -> bytes:
        if self.headers.get("transfer-encoding", "").lower() != "chunked":
            return b""
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _whole(self, call: Call, reply: Reply, data: bytes) -> None:
        """Counted before the client can have it all, so that a test may look as soon as its client has returned."""
        served = self.server.loopback.served
        if reply.status < 400:
            served.append(call)
        try:
            self.wfile.write(data)
        except OSError:
            if reply.status < 400:
                served.remove(call)
            raise

    def _reset(self, half: bytes) -> None:
        self.wfile.write(half)
        self.wfile.flush()
        # Lingering for zero seconds makes close() send a reset in place of an orderly end.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def _drip(self, data: bytes) -> None:
        self.close_connection = True
        for i in range(len(data)):
            self.wfile.write(data[i : i + 1])
            self.wfile.flush()
            if not self.server.loopback.wait(0.2):
                return

    def log_message(self, *_: object) -> None:
        """Quiet."""
