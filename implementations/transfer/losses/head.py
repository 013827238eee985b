"""A token loss applied to the output head, without the logits of all tokens at once.

Logits are what a large vocabulary makes expensive: 4,096 tokens of 49,152 entries are 0.8 GB in float32, and a
divergence keeps several tensors of that size for its gradient. Taken in chunks of tokens, with each chunk's gradients
computed before the next begins, only one chunk's are ever there (as in Liger Kernel's fused losses, 2410.10989,
sec. 3.2). What it costs is a buffer of the head's own size for its gradient, so a batch whose logits fit goes dense.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

TokenLoss = Callable[[Tensor, slice], Tensor]  # (logits (n, V) of the rows in the slice, the slice) to (n,)
COPIES = 6  # float32 tensors of the logits' shape that a divergence holds: both logits, both log-softmaxes, P, gradient


def head_loss(hidden: Tensor, head: Tensor, loss: TokenLoss, chunk: int | None = None) -> Tensor:
    """Σ_i loss(hidden[i] · headᵀ): one number, with gradients for ``hidden`` (N, H) and ``head`` (V, H).

    ``hidden`` are the last hidden states of the tokens that carry loss, already selected; ``head`` is the weight of an
    output layer without a bias. ``loss`` is called with logits (n, V) and the slice of tokens they belong to, so that
    it can cut its own targets; it must treat every token alone. ``chunk`` is how many tokens are taken at a time; None
    takes all at once. Gradients are those of the dense form up to rounding, and can be taken once.
    Raises ValueError when ``chunk`` is not above 0.
    """
    if chunk is None or chunk >= len(hidden) > 0:
        return loss(hidden @ head.T, slice(0, len(hidden))).sum()
    if chunk < 1:
        raise ValueError(f"chunks of {chunk} tokens; give 1 or more, or None for all at once")
    return _Chunked.apply(hidden, head, loss, chunk)


def fitting_chunk(tokens: int, vocabulary: int, free_bytes: int) -> int | None:
    """How many tokens fit at a time: None when all of them do, so that ``head_loss`` goes dense.

    ``free_bytes`` is the memory that logits and what a divergence makes of them may take. At least 128, for smaller
    products run far below a processor's speed.
    """
    fit = free_bytes // (COPIES * 4 * vocabulary)
    return None if tokens <= fit else max(128, fit // 128 * 128)


class _Chunked(torch.autograd.Function):
    @staticmethod
    def forward(ctx, hidden: Tensor, head: Tensor, loss: TokenLoss, chunk: int) -> Tensor:
        of_hidden, of_head = (
            torch.zeros_like(x) if needed else None
            for x, needed in zip((hidden, head), ctx.needs_input_grad[:2], strict=True)
        )
        total = torch.zeros((), dtype=torch.promote_types(hidden.dtype, torch.float32), device=hidden.device)
        for at in range(0, len(hidden), chunk):
            rows = slice(at, min(at + chunk, len(hidden)))
            logits = (hidden[rows] @ head.T).requires_grad_()
            with torch.enable_grad():
                part = loss(logits, rows).sum()
            total += part.detach()
            (slope,) = torch.autograd.grad(part, logits)
            if of_hidden is not None:
                of_hidden[rows] = slope @ head
            if of_head is not None:
                of_head += slope.T @ hidden[rows]
        ctx.save_for_backward(of_hidden, of_head)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx, scale: Tensor):
        return *(None if gradient is None else scale * gradient for gradient in ctx.saved_tensors), None, None
