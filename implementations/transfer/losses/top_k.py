"""Forward KL from the teacher's most probable entries, with one bucket for all the others."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .divergence import kl
from .numeric import check_temperature, upcast


def top_k_kl(student: Tensor, ids: Tensor, log_probs: Tensor, tail: Tensor, temperature: float = 1.0) -> Tensor:
    """T² · (Σ_{v ∈ K} P(v) · (log P(v) − log Q(v)) + P(rest) · (log P(rest) − log Q(rest))).

    K are the k ``ids`` (N, k) of one row, all different; ``log_probs`` (N, k) are the teacher's log P(v), and ``tail``
    (N,) is P(rest), the probability of the entries outside K, not its logarithm. ``student`` is logits (N, V), and
    Q(rest) is what the student gives outside K. Returns (N,), in nats.

    Merging entries never raises a KL divergence (log-sum inequality), so this is a lower bound of ``forward_kl``, and
    equal to it at k = V or where P and Q agree on the proportions within the rest. Without the bucket, and with P
    renormalized over K, the student would learn probabilities that are too high by 1 / (1 − P(rest)).

    ``log_probs`` and ``tail`` must be of the teacher at the same ``temperature``: from the tail's mass at one
    temperature its mass at another does not follow. An id with log-probability −inf fills up a shorter row. A tail that
    rounding left below 0 counts as 0; that P adds up to 1 is not checked.

    The same value as DistillKit's sparse KL with ``missing_probability_handling: symmetric_uniform``, and as the "ghost
    token" of 2503.16870. Q(rest) is summed from the logits rather than taken as 1 − Q(K), whose gradient overflows
    when the student is sure of K (DistillKit issue 45).
    Raises ValueError when the shapes do not fit.
    """
    if not (ids.shape == log_probs.shape and tail.shape == student.shape[:1] == ids.shape[:1]):
        raise ValueError(
            f"logits {tuple(student.shape)}, ids {tuple(ids.shape)}, log-probabilities {tuple(log_probs.shape)} and "
            f"tail {tuple(tail.shape)} do not fit; give (N, V), (N, k), (N, k) and (N,)"
        )
    check_temperature(temperature)
    return _TopKKL.apply(student, ids.long(), log_probs.detach(), tail.detach(), temperature)


class _TopKKL(torch.autograd.Function):
    """With the gradient written out, so that one tensor of the logits' size is all that there ever is:

    T · (Q(v) − P(v)) at the ids, T · Q(v) · (1 − P(rest) / Q(rest)) elsewhere.
    """

    @staticmethod
    def forward(ctx, student: Tensor, ids: Tensor, log_probs: Tensor, tail: Tensor, temperature: float) -> Tensor:
        log_p = torch.cat([upcast(log_probs), upcast(tail).clamp(min=0).log().unsqueeze(-1)], -1)
        p = log_p.exp()
        logits = upcast(student) / temperature
        named = logits.gather(-1, ids)
        # Each part against its own maximum: the rest of a student that is sure of K would underflow against K's.
        rest = logits.scatter_(-1, ids, -torch.inf)
        highest = rest.amax(-1, keepdim=True)
        highest = highest.masked_fill(highest.isneginf(), 0)  # nothing is left
        odds = rest.sub_(highest).exp_()
        total = odds.sum(-1, keepdim=True)
        parts = torch.cat([named, highest + total.log()], -1)
        once = torch.cat([named.masked_fill(_repeated(ids), -torch.inf), parts[:, -1:]], -1)
        log_q = parts - once.logsumexp(-1, keepdim=True)
        # Σ P is 1 up to rounding, and the gradient of what was given is exact with it.
        slope = log_q.exp() * p.sum(-1, keepdim=True)
        odds.mul_(torch.where(total > 0, (slope - p)[:, -1:] / total, 0))
        odds.scatter_(-1, ids, slope[:, :-1]).scatter_add_(-1, ids, -p[:, :-1])
        ctx.save_for_backward(odds.mul_(temperature).to(student.dtype))
        return temperature**2 * kl(log_p, log_q)

    @staticmethod
    @once_differentiable
    def backward(ctx, scale: Tensor):
        (slope,) = ctx.saved_tensors
        return slope * scale.unsqueeze(-1).to(slope.dtype), None, None, None, None


def _repeated(ids: Tensor) -> Tensor:
    """(N, k), True at an id that stands in its row before: what fills a row up may be an id that is there already."""
    ordered, order = ids.sort(dim=-1, stable=True)
    repeated = torch.zeros_like(ids, dtype=torch.bool)
    repeated[:, 1:] = ordered[:, 1:] == ordered[:, :-1]
    return torch.zeros_like(repeated).scatter_(-1, order, repeated)
