"""A classifier on this machine as a teacher: its answer is a label."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from ..registry import Signal
from ..transfer.classifier import classify, labels_in, load
from ..transfer.device import compute_dtype, pick_device
from .local import content_hash
from .teacher import Answer, Kind, Request


class ClassifierTeacher:
    """The classifier in ``folder``. It reads a prompt and no instruction: its head was taught what is asked."""

    gives = frozenset({Signal.TEXT, Signal.TOP_LOGPROBS, Signal.LOGITS})

    def __init__(self, folder: Path, name: str, device: str = "auto", batch: int = 32, identity: str | None = None):
        self.folder, self.name, self.device, self.batch = folder, name, device, batch
        dtype = str(compute_dtype(pick_device(device))).removeprefix("torch.")
        self.identity = f"local:{identity or content_hash(folder)}:{dtype}"

    def answer(self, requests: list[Request]) -> Iterator[list[tuple[int, Answer]]]:
        """The likeliest label, one group per batch; its log-probability and the others' where they are asked for."""
        labels = labels_in(self.folder)
        model, tokenizer = load(self.folder, self.device)
        started = time.monotonic()
        for indices, lengths, logits in classify(model, tokenizer, [r.prompt for r in requests], self.batch):
            values, order = (x.tolist() for x in logits.log_softmax(-1).sort(-1, descending=True))
            each = (time.monotonic() - started) / len(indices)
            group = []
            for i, length, scores, ranked in zip(indices, lengths, values, order, strict=True):
                named = [(labels[k], score) for k, score in zip(ranked, scores, strict=True)]
                likeliest = (tuple(named[: requests[i].top_logprobs]),) if requests[i].top_logprobs else None
                group.append((i, Answer(named[0][0], Kind.COMPLETE, length, 1, each, top_logprobs=likeliest)))
            yield group
            started = time.monotonic()
