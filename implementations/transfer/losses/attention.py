"""Attention maps of teacher and student side by side."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from .numeric import check_same_shape, target, upcast


def attention_transfer(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """‖Q_S / ‖Q_S‖₂ − Q_T / ‖Q_T‖₂‖₂² with Q = vec(Σ_h A_h²), the attention of all heads as one map.

    ``student`` (B, heads_S, T, T) and ``teacher`` (B, heads_T, T, T) are attention probabilities, the numbers of heads
    may differ; ``mask`` is (B, T). Returns (B,), from 0 to 2, without unit.
    Zagoruyko & Komodakis, 1612.03928, sec. 3.1, eq. (2), with heads for channels. Eq. (2) prints the norm; squared, as
    in the authors' code, it is smooth where both maps agree.
    """
    pairs = token_pairs(mask)
    return (_unit_map(upcast(student), pairs) - _unit_map(target(teacher), pairs)).square().sum(-1)


def attention_mse(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """(1 / heads) · Σ_h MSE(A_h of the student, A_h of the teacher), A = Q · Kᵀ / √d, before the softmax.

    ``student`` and ``teacher`` are scores (B, heads, T, T); ``mask`` is (B, T). Pairs with padding are left out, and so
    are pairs at which the teacher's score is −inf, as a causal mask leaves them. Returns (B,), in squared logits.
    Jiao et al. (TinyBERT), 1909.10351, sec. 3.1, eq. (7). Raises ValueError when the shapes, and so the numbers of
    heads, differ: ``attention_transfer`` and ``relation_kl`` do not need them equal.
    """
    check_same_shape(student, teacher)
    kept = token_pairs(mask)[:, None] & ~teacher.isneginf()
    difference = torch.where(kept, upcast(student), 0) - torch.where(kept, target(teacher), 0)
    return difference.square().sum((1, 2, 3)) / kept.sum((1, 2, 3)).clamp(min=1)


def token_pairs(mask: Tensor) -> Tensor:
    """(B, T, T), True where row and column are both tokens in ``mask`` (B, T)."""
    mask = mask.bool()
    return mask[:, :, None] & mask[:, None, :]


def _unit_map(attention: Tensor, pairs: Tensor) -> Tensor:
    return normalize(torch.where(pairs[:, None], attention, 0).square().sum(1).flatten(1), dim=-1)
