"""How fast a classifier answers: what `serving` measures of a model that writes, in a process of its own likewise.

    python -m implementations.evaluation.classifying REQUEST.json MODEL_FOLDER

An answer is one label, and counts as one token.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from ..record import Serving
from .serving import WARM_UP, _peak_resident_mib


def measure(
    folder: Path,
    instruction: str,
    prompts: list[str],
    limit: int,
    latency_n: int,
    device: str,
    on_answer: Callable[[], None] = lambda: None,
) -> Serving:
    """Latency of ``latency_n`` prompts at batch 1, then one batch of all ``prompts``.

    ``instruction`` and ``limit`` are what a model that writes is asked with; a classifier has no use for them.
    """
    import numpy as np
    import torch

    from ..transfer.classifier import classify, load

    model, tokenizer = load(folder, device)
    on_gpu = model.device.type == "cuda"

    def answer(some: list[str]) -> float:
        started = time.perf_counter()
        for _ in classify(model, tokenizer, some, len(some)):
            pass
        if on_gpu:
            torch.cuda.synchronize()
        seconds = time.perf_counter() - started
        on_answer()
        return seconds

    seconds = [answer([prompt]) for prompt in prompts[: latency_n + WARM_UP]][WARM_UP:]
    batch_seconds = answer(prompts)
    p50, p95 = np.percentile(seconds, [50, 95])
    return Serving(
        latency_p50_s=p50,
        latency_p95_s=p95,
        latency_n=len(seconds),
        tokens_per_s=len(prompts) / batch_seconds,
        batch=len(prompts),
        peak_memory_mib=torch.cuda.max_memory_allocated() / 2**20 if on_gpu else _peak_resident_mib(),
    )


def main() -> None:
    request, folder = map(Path, sys.argv[1:])
    settings = json.loads(request.read_text("utf-8"))
    print(measure(folder, **settings, on_answer=lambda: print(".", flush=True)).model_dump_json())


if __name__ == "__main__":
    main()
