"""Rows as one batch of tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


class RightPadding:
    """``input_ids`` (B, T), padded on the right to the longest of the batch, and of every token that carries loss, row
    by row: ``labels`` (N,), and ``positions`` (N,) in the flattened batch, which predict it. ``shares`` (B, T) is what
    each token counts where all of a row's do, the prompt's too: together as much as the row's labels, padding nothing.

    ``signals`` gives what more there is of the tokens of the rows of those numbers, (N, …) by name. Raises ValueError
    for a row of nothing but completion: its first token follows nothing.
    """

    def __init__(self, pad_token_id: int, signals: Callable[[list[int]], dict[str, Tensor]] | None = None):
        self.pad, self.signals = pad_token_id, signals

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        width = max(len(row["input_ids"]) for row in rows)
        ids = torch.full((len(rows), width), self.pad)
        shares = torch.zeros(ids.shape)
        positions, labels = [], []
        for i, row in enumerate(rows):
            n, c = len(row["input_ids"]), row["completion"]
            if c >= n:
                raise ValueError("a row of nothing but completion: its first token follows nothing")
            ids[i, :n] = torch.tensor(row["input_ids"])
            shares[i, :n] = c / n
            positions.append(torch.arange(n - c - 1, n - 1) + i * width)
            labels.append(ids[i, n - c : n])
        batch = {"input_ids": ids, "positions": torch.cat(positions), "labels": torch.cat(labels), "shares": shares}
        return batch | (self.signals([row["row"] for row in rows]) if self.signals else {})
