"""Self-attention relations: how the queries, keys or values of one sequence relate to each other."""

from __future__ import annotations

import torch
from torch import Tensor

from .attention import token_pairs
from .divergence import kl
from .numeric import target, upcast, without_autocast


def relation_kl(
    student: tuple[Tensor, Tensor], teacher: tuple[Tensor, Tensor], mask: Tensor, heads: int, causal: bool = False
) -> Tensor:
    """(1 / (heads · |x|)) · Σ_a Σ_t KL(R_T[a, t] ‖ R_S[a, t]) with R = softmax(X · Yᵀ / √d), |x| the number of tokens.

    ``student`` and ``teacher`` are two tensors each, X and Y, of any two of queries, keys and values with their heads
    concatenated: (B, T, H), H the model's own. They are cut anew into ``heads`` relation heads of d = H / heads, so
    neither widths nor numbers of attention heads need agree. ``mask`` is (B, T); ``causal`` leaves out pairs whose
    column stands after their row. Returns (B,), in nats per head and token.

    MiniLM's value relation is ((V, V), (V, V)) and its attention transfer ((Q, K), (Q, K)), both with the models' own
    heads (Wang et al., 2002.10957, secs. 3.1 and 3.2). MiniLMv2 adds up (Q, Q), (K, K) and (V, V) with more relation
    heads (Wang et al., 2012.15828, eqs. (5) to (8)).
    Raises ValueError when a width cannot be cut into ``heads``.
    """
    pairs = token_pairs(mask)
    if causal:
        pairs = pairs.tril()
    with without_autocast(mask):
        log_p = _log_relation(*map(target, teacher), pairs, heads)
        log_q = _log_relation(*map(upcast, student), pairs, heads)
    return kl(log_p, log_q).sum((1, 2)) / (heads * pairs.any(-1).sum(-1).clamp(min=1))


def _log_relation(left: Tensor, right: Tensor, pairs: Tensor, heads: int) -> Tensor:
    """log R (B, heads, T, T). A row without a pair is uniform, in teacher and student alike: its KL is 0."""
    if left.shape[-1] % heads or left.shape != right.shape:
        raise ValueError(
            f"shapes {tuple(left.shape)} and {tuple(right.shape)} cannot be related in {heads} heads; give two "
            "(B, T, H) with H a multiple of the heads (repeat grouped keys and values for the queries they serve)"
        )
    left, right = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (left, right))
    scores = left @ right.mT / left.shape[-1] ** 0.5
    return scores.masked_fill(~pairs[:, None], torch.finfo(scores.dtype).min).log_softmax(-1)
