"""Fills a signal cache with the tiny model, for a test that kills it: python killable_fill.py FOLDER MODEL.

Prints how many rows are done, after each batch.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

from implementations.tasks.clinical_summary import ClinicalSummary
from implementations.tasks.task import Sizes
from implementations.transfer.chat import Row, row
from implementations.transfer.codecs import TopK
from implementations.transfer.signals import SignalCache, fill

SHARD_TOKENS = 300
BATCH = 4


def rows_of(tokenizer: PreTrainedTokenizerBase, number: int) -> list[Row]:
    """Notes with their references, of many lengths."""
    task = ClinicalSummary()
    notes = task.splits(Sizes(number, 0, 0, 0, 0), seed=1).gold
    return [
        row(tokenizer, task.instruction, note.prompt, (note.reference or "")[: 20 + 37 * i % 120])
        for i, note in enumerate(notes)
    ]


def opened(folder: Path, rows: list[Row], vocabulary: int) -> SignalCache:
    return SignalCache(folder, TopK(20, vocabulary), [r.completion for r in rows], SHARD_TOKENS)


def main() -> None:
    folder, model = map(Path, sys.argv[1:3])
    torch.set_num_threads(1)
    teacher = AutoModelForCausalLM.from_pretrained(model)
    tokenizer = AutoTokenizer.from_pretrained(model)
    rows = rows_of(tokenizer, 120)
    cache = opened(folder, rows, teacher.config.vocab_size)
    fill(cache, teacher, rows, tokenizer.pad_token_id, BATCH, lambda done: print(done, flush=True))


if __name__ == "__main__":
    main()
