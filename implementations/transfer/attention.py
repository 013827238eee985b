"""Attention as two batched matrix products: on a processor, for short rows in bfloat16, faster than PyTorch's own.

``scaled_dot_product_attention`` of PyTorch 2.13 computes its blocks in float32 there, at a third of the speed that
bfloat16 products have (benchmarks/engine.py). The scores of a layer, (B, heads, T, T), are kept for the gradient, so
longer rows go its way.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "short"
LONGEST = 512  # tokens


def prefer(model: PreTrainedModel, dtype: torch.dtype) -> None:
    """Let ``model`` attend this way where it pays: computing in ``dtype`` on a processor, and not otherwise told."""
    config = model.config.get_text_config()
    if model.device.type == "cpu" and dtype == torch.bfloat16 and config._attn_implementation == "sdpa":
        model.set_attn_implementation(NAME)


def attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **keywords: object,
) -> tuple[Tensor, None]:
    """softmax(Q · Kᵀ · scaling, where the mask allows) · V.

    ``query`` (B, heads, T, D); ``key`` and ``value`` (B, groups, T, D), each for heads / groups queries; a mask that
    all rows and heads share, (1, 1, T, T), True where a token sees another. Returns (B, T, heads, D).
    """
    batch, heads, length, width = query.shape
    shared = attention_mask is not None and attention_mask.shape[:2] == (1, 1) and attention_mask.dtype == torch.bool
    if dropout or not shared or length > LONGEST or key.shape[2] != length:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **keywords
        )
    groups, each = key.shape[1], heads // key.shape[1]
    query = query.reshape(batch * groups, each * length, width)
    key, value = (x.reshape(batch * groups, length, width) for x in (key, value))
    hidden = torch.zeros(length, length, dtype=query.dtype, device=query.device)
    hidden.masked_fill_(~attention_mask[0, 0], -torch.inf)
    hidden = hidden.repeat(each, 1).expand(len(query), -1, -1)
    scores = torch.baddbmm(hidden, query, key.mT, alpha=width**-0.5 if scaling is None else scaling)
    mixed = torch.bmm(scores.softmax(-1), value)
    return mixed.view(batch, heads, length, width).transpose(1, 2).contiguous(), None


AttentionInterface.register(NAME, attention)
AttentionMaskInterface.register(NAME, sdpa_mask)  # else a generating model would see the padding on its left
