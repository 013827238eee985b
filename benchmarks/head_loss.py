"""What the output head and a divergence cost, by how they are put together: python benchmarks/head_loss.py [ROUNDS]

The shapes are those of one batch of the clinical task with the embedded teacher and its ten-layer student: 8 rows of
200 prompt and 65 completion tokens, width 576, 49,152 tokens, forward KL, float32, the teacher's logits from its hidden
states. Each variant runs in fresh processes, in turn. Prints the median seconds of a forward and backward pass, and the
peak memory above hidden states and heads.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import time

ROWS, PROMPT, COMPLETION, WIDTH, VOCABULARY = 8, 200, 65, 576, 49_152
PASSES = 4  # timed, after one that is not
VARIANTS = {  # (tokens that meet the head, tokens at a time)
    "every position, dense": (ROWS * (PROMPT + COMPLETION), None),
    "completions, dense": (ROWS * COMPLETION, None),
    "completions, chunks of 256": (ROWS * COMPLETION, 256),
    "completions, chunks of 128": (ROWS * COMPLETION, 128),
}


def measure(tokens: int, chunk: int | None) -> dict[str, float]:
    """Seconds of a pass and MiB, in this process."""
    import torch

    from implementations.transfer.losses.divergence import forward_kl
    from implementations.transfer.losses.head import head_loss

    torch.manual_seed(0)
    hidden, teacher = torch.randn(tokens, WIDTH), torch.randn(tokens, WIDTH)
    head, teacher_head = (torch.randn(VOCABULARY, WIDTH) / WIDTH**0.5 for _ in range(2))
    hidden.requires_grad_()
    head.requires_grad_()
    before = _peak_mib()
    seconds = []
    for _ in range(1 + PASSES):
        hidden.grad = head.grad = None
        started = time.perf_counter()
        loss = head_loss(hidden, head, lambda logits, rows: forward_kl(logits, teacher[rows] @ teacher_head.T), chunk)
        loss.backward()
        seconds.append(time.perf_counter() - started)
    return {"seconds": statistics.median(seconds[1:]), "mib": _peak_mib() - before}


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measure(*VARIANTS[sys.argv[2]])))
        return
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    results: dict[str, list[dict[str, float]]] = {variant: [] for variant in VARIANTS}
    for _ in range(rounds):
        for variant, measured in results.items():
            command = [sys.executable, __file__, "--measure", variant]
            run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            measured.append(json.loads(run.stdout))
    for variant, measured in results.items():
        seconds = [m["seconds"] for m in measured]
        spread = f"{min(seconds):.2f} to {max(seconds):.2f}"
        peak = statistics.median(m["mib"] for m in measured)
        print(f"{variant:28} {statistics.median(seconds):.2f} s ({spread}), peak +{peak:.0f} MiB")


if __name__ == "__main__":
    main()
