"""How fast one model answers: latency, throughput and peak memory, measured in a process of its own.

    python -m implementations.evaluation.serving REQUEST.json MODEL_FOLDER

prints a dot after each answer and after the batch, then a record.Serving as JSON. A fresh process, because peak memory
is a property of a process and because nothing that ran before should warm a cache for one model and not for the other.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

from ..record import Serving
from ..teachers.encoder import kind
from ..transfer.device import pick_device

WARM_UP = 1  # answers that are not counted
WARM_UP_TOKENS = 2  # of the batch: a GPU loads what it runs when it first sees rows of that many


def steps(prompts: list[str], latency_n: int) -> int:
    """How many times ``measure`` calls ``on_answer``."""
    return len(prompts[: latency_n + WARM_UP]) + 1


def measure(
    folder: Path,
    instruction: str,
    prompts: list[str],
    limit: int,
    latency_n: int,
    device: str,
    on_answer: Callable[[], None] = lambda: None,
) -> Serving:
    """Whole-answer latency of ``latency_n`` prompts at batch 1, then one batch of all ``prompts``.

    A classifier's answer is one label and counts as one token; it has no use for ``instruction`` and ``limit``.
    """
    import numpy as np
    import torch

    on_gpu = pick_device(device).type == "cuda"
    ask = _classifier(folder, device) if kind(folder) == "classifier" else _writer(folder, instruction, device)

    def answer(some: list[str]) -> tuple[float, int]:
        started = time.perf_counter()
        tokens = ask(some, limit)
        if on_gpu:
            torch.cuda.synchronize()
        seconds = time.perf_counter() - started
        on_answer()
        return seconds, tokens

    seconds = [answer([prompt])[0] for prompt in prompts[: latency_n + WARM_UP]][WARM_UP:]
    ask(prompts, WARM_UP_TOKENS)
    batch_seconds, tokens = answer(prompts)
    p50, p95 = np.percentile(seconds, [50, 95])
    return Serving(
        latency_p50_s=p50,
        latency_p95_s=p95,
        latency_n=len(seconds),
        tokens_per_s=tokens / batch_seconds,
        batch=len(prompts),
        peak_memory_mib=torch.cuda.max_memory_allocated() / 2**20 if on_gpu else peak_resident_mib(),
    )


def _writer(folder: Path, instruction: str, device: str) -> Callable[[list[str], int], int]:
    """What answers a batch of prompts in at most so many tokens each, and says how many it wrote."""
    from ..teachers.local import load
    from ..transfer.generate import generate

    model, tokenizer = load(folder, device)

    def ask(some: list[str], limit: int) -> int:
        groups = generate(model, tokenizer, instruction, some, limit, len(some))
        return sum(written.completion_tokens for group in groups for written in group)

    return ask


def _classifier(folder: Path, device: str) -> Callable[[list[str], int], int]:
    """What labels a batch of prompts, each in one token whatever the limit, and says how many labels it gave."""
    from ..transfer.classifier import classify, load

    model, tokenizer = load(folder, device)
    return lambda some, limit: sum(len(indices) for indices, _, _ in classify(model, tokenizer, some, len(some)))


def peak_resident_mib() -> float:
    """The most memory this process ever held. Linux counts a parent's peak into a child's getrusage, so not that."""
    status = Path("/proc/self/status")
    if status.exists():
        [kib] = [line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
        return int(kib) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def main() -> None:
    request, folder = map(Path, sys.argv[1:])
    settings = json.loads(request.read_text("utf-8"))
    print(measure(folder, **settings, on_answer=lambda: print(".", flush=True)).model_dump_json())


if __name__ == "__main__":
    main()
