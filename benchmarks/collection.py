"""How much collection over a network adds: wall time, processor time and memory a request; resuming a large ledger.

    python benchmarks/collection.py            # 1,000 requests, 50 ms each, 32 at once; then 100,000 rows

A server in a process of its own answers after 50 ms. It is asked by a teacher that does nothing but send the request
(asyncio streams, no SDK): what is left is the journal, the gate and the budget; and by Claude's official SDK, which
shows what an SDK costs beside them. The peer is the same requests through that SDK with an asyncio.Semaphore and
nothing kept.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import resource
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from implementations.teachers.claude import ClaudeTeacher
from implementations.teachers.collect import Collector
from implementations.teachers.ledger import End, Ledger, Outcome
from implementations.teachers.prices import given
from implementations.teachers.spending import Spending
from implementations.teachers.teacher import Answer, Kind, Request

LATENCY, CONCURRENCY, REQUESTS, ROWS = 0.05, 32, 1000, 100_000
SPENDING = Spending(CONCURRENCY, 100.0, given(1.0, 5.0), False)
ANSWER = Answer("four words of answer", Kind.COMPLETE, 8, 5)


class Bare:
    """A teacher that sends a request over a connection that it keeps, and reads the answer."""

    name = identity = "bare:echo"
    platform, model, folder, gives = "bare", "echo", None, frozenset()

    def __init__(self, url: str):
        self.host, _, self.port = url.removeprefix("http://").partition(":")
        self.idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def ask(self, request: Request) -> Answer:
        reader, writer = self.idle.pop() if self.idle else await asyncio.open_connection(self.host, int(self.port))
        body = json.dumps({"prompt": request.prompt}).encode()
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        said = json.loads(await reader.readexactly(length))
        self.idle.append((reader, writer))
        return replace(ANSWER, text=said["content"][0]["text"])

    async def count_tokens(self, request: Request) -> int:
        return 8

    async def close(self) -> None:
        for _, writer in self.idle:
            writer.close()


def serve(pipe) -> None:
    """Answers every request after LATENCY in the Messages API's form, with one task a connection."""
    message = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-haiku-5-5", "stop_reason": "end_turn",
        "stop_sequence": None, "content": [{"type": "text", "text": "four words of answer"}],
        "usage": {"input_tokens": 8, "output_tokens": 5},
    }  # fmt: skip
    body = json.dumps(message).encode()
    reply = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                if b"content-length:" in head:
                    await reader.readexactly(int(head.partition(b"content-length:")[2].partition(b"\r\n")[0]))
                await asyncio.sleep(LATENCY)
                writer.write(reply)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def main() -> None:
        server = await asyncio.start_server(connection, "127.0.0.1", 0, backlog=512)
        pipe.send(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        await server.serve_forever()

    asyncio.run(main())


def questions(number: int) -> list[Request]:
    return [Request("say it", f"prompt number {i}", 8) for i in range(number)]


def measured(what: str, number: int, act) -> None:
    """Run ``act`` and print wall time over the ideal, processor time a request, and how far peak memory rose."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    started = time.perf_counter()
    act()
    wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    ideal = number * LATENCY / CONCURRENCY
    print(
        f"{what:34} {number:6} requests  {wall:6.2f} s = {wall / ideal:.2f} × ideal  "
        f"{1000 * cpu / number:.2f} ms processor each  peak +{(after.ru_maxrss - before.ru_maxrss) / 1024:.1f} MiB"
    )


def collected(teacher, number: int) -> None:
    with tempfile.TemporaryDirectory() as folder, Ledger(Path(folder) / "ledger.sqlite") as ledger:
        with Collector(ledger, SPENDING) as collector:
            got = collector.collect(teacher, questions(number))
        assert not got.why_pending and len(ledger) == number


def unkept(number: int) -> None:
    """The peer: the SDK and a semaphore; nothing is journalled, counted or kept."""

    async def main() -> None:
        teacher, places = ClaudeTeacher("claude-haiku-5-5"), asyncio.Semaphore(CONCURRENCY)

        async def one(request: Request) -> Answer:
            async with places:
                return await teacher.ask(request)

        await asyncio.gather(*map(one, questions(number)))
        await teacher.close()

    asyncio.run(main())


class Timed(Bare):
    """A teacher that answers at once, and notes when it was asked."""

    def __init__(self):
        self.idle = []

    async def ask(self, request: Request) -> Answer:
        self.asked = time.perf_counter(), time.process_time()
        return ANSWER


def resume() -> None:
    """How long it takes to find ROWS answers, and from opening the ledger with them to asking for one more."""
    teacher, requests = Timed(), questions(ROWS + 1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.sqlite"
        with Ledger(path) as ledger:
            bought = [(teacher.identity, request, ANSWER) for request in requests[:ROWS]]
            numbers = ledger.write(
                teacher.identity, [(request.key(teacher.identity), 0.0) for _, request, _ in bought], []
            )
            ends = [
                End(number, Outcome.ANSWERED, 0.0, "", answer) for number, answer in zip(numbers, bought, strict=True)
            ]
            ledger.write(teacher.identity, [], ends)
            started, cpu = time.perf_counter(), time.process_time()
            assert len(ledger.answered(teacher.identity, requests)) == ROWS
            took(f"{ROWS} answers found", time.perf_counter() - started, time.process_time() - cpu)
        started, cpu = time.perf_counter(), time.process_time()
        with Ledger(path) as ledger, Collector(ledger, SPENDING) as collector:
            collector.collect(teacher, requests)
        wall, used = teacher.asked
        took(f"resume with {ROWS} rows, to the first request", wall - started, used - cpu)


def took(what: str, wall: float, cpu: float) -> None:
    print(f"{what:50} {wall:.2f} s, {cpu:.2f} s of processor time")


def main() -> None:
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,), daemon=True)
    server.start()
    url = ours.recv()
    os.environ |= {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": "none"}
    try:
        for number in (REQUESTS, 5 * REQUESTS):
            measured("bare teacher, collected", number, lambda number=number: collected(Bare(url), number))
        unkept(CONCURRENCY)  # imports the SDK
        measured("Claude's SDK, nothing kept", REQUESTS, lambda: unkept(REQUESTS))
        measured("Claude's SDK, collected", REQUESTS, lambda: collected(ClaudeTeacher("claude-haiku-5-5"), REQUESTS))
    finally:
        server.terminate()
    resume()


if __name__ == "__main__":
    main()
