"""What the signal cache takes and what it loses: python benchmarks/signal_cache.py [NOTES]

The embedded teacher, in float32 and in what this processor multiplies fastest, over NOTES (64) notes of the clinical
task with their references; top-50 and hidden state. Prints bytes a token measured on disk, KL of what the cache says
against the teacher's dense distribution (for top-50 over its entries and one bucket for the rest), the mass in that
bucket, and the time a token takes: packing and reading 300 of them, on one core, and filling the cache, teacher and
all, on every core.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from transformers import PreTrainedModel

from implementations.tasks.clinical_summary import ClinicalSummary
from implementations.tasks.task import Sizes
from implementations.teachers import embedded
from implementations.teachers.local import content_hash, load
from implementations.transfer.chat import Row, row
from implementations.transfer.codecs import LastHidden, TopK
from implementations.transfer.device import compute_dtype
from implementations.transfer.signals import Codec, SignalCache, cache_key, fill, measured_error

TOKENS, REPEATS = 300, 20  # in a batch that is packed or read; of each measurement


def microseconds(act: Callable[[], object], tokens: int) -> float:
    """The median of a token's share on one core, after two rounds that are not counted."""
    threads, seconds = torch.get_num_threads(), []
    torch.set_num_threads(1)
    for _ in range(2 + REPEATS):
        started = time.perf_counter()
        act()
        seconds.append(time.perf_counter() - started)
    torch.set_num_threads(threads)
    return 1e6 * statistics.median(seconds[2:]) / tokens


@torch.inference_mode()
def packing(teacher: PreTrainedModel, codec: Codec) -> float:
    """Microseconds a token, of signals with the teacher's sizes and precision."""
    hidden = torch.randn(TOKENS, teacher.config.hidden_size, dtype=teacher.dtype)
    signal = hidden if isinstance(codec, LastHidden) else teacher.get_output_embeddings()(hidden)
    return microseconds(lambda: codec.encode(signal), TOKENS)


def measure(teacher: PreTrainedModel, identity: str, rows: list[Row], pad_token_id: int, codec: Codec) -> str:
    """One line of the report."""
    completions = [r.completion for r in rows]
    batch = next(n for n in range(1, len(rows) + 1) if sum(completions[:n]) >= TOKENS or n == len(rows))
    with tempfile.TemporaryDirectory() as scratch:
        cache = SignalCache(Path(scratch) / cache_key(identity, rows, codec), codec, completions)
        started = time.perf_counter()
        fill(cache, teacher, rows, pad_token_id)
        filling = 1e6 * (time.perf_counter() - started) / sum(completions)
        error = measured_error(cache, teacher, rows, len(rows))
        reading = microseconds(lambda: cache.read(range(batch)), sum(completions[:batch]))
        return (
            f"{cache.bytes_per_token:7.2f} bytes a token of {error.tokens}; "
            f"KL mean {error.mean_kl:.1e} max {error.max_kl:.1e}; "
            f"tail mean {error.mean_tail:.3f} max {error.max_tail:.3f}; "
            f"packing {packing(teacher, codec):.1f} µs, reading {reading:.2f} µs, filling {filling:.0f} µs a token"
        )


def main() -> None:
    notes = int(sys.argv[1]) if len(sys.argv) > 1 else 64
    folder = embedded.materialize(Path(tempfile.gettempdir()) / "benchmark-teacher" / "model")
    task = ClinicalSummary()
    gold = task.splits(Sizes(notes, 0, 0, 0, 0), seed=0).gold
    for dtype in dict.fromkeys([torch.float32, compute_dtype(torch.device("cpu"))]):
        name = str(dtype).removeprefix("torch.")
        teacher, tokenizer = load(folder, "cpu", name)
        rows = [row(tokenizer, task.instruction, note.prompt, note.reference or "") for note in gold]
        identity = f"{content_hash(folder)}:{name}"
        for codec in (TopK(50, teacher.config.vocab_size), LastHidden(teacher.config.hidden_size)):
            print(f"{name:8} {codec.name:21}", measure(teacher, identity, rows, tokenizer.pad_token_id, codec))


if __name__ == "__main__":
    main()
