"""Divergences between the next-token distributions of teacher and student.

P is the teacher's distribution and Q the student's, each a softmax of logits divided by the temperature T. The
gradient of every divergence here with respect to the student's logits shrinks as 1 / T² when T grows, so all of them
are multiplied by T² (Hinton et al., 1503.02531, sec. 2): a weight against a hard loss keeps its meaning when T changes.
Papers on language models mostly leave the factor out, and so does TRL; divide by T² to compare.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import softplus

from .numeric import check_same_shape, check_temperature, target, upcast


def forward_kl(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """T² · KL(P ‖ Q) = T² · Σ_v P(v) · (log P(v) − log Q(v)), which asks Q to cover all of P.

    ``student`` and ``teacher`` are logits (N, V); returns (N,), in nats. Infinite where the student rules out (−inf)
    what the teacher does not; the gradient, T · (Q − P), is finite even there.
    Hinton et al., 1503.02531, sec. 2: their cross-entropy with soft targets less the teacher's entropy, a constant.
    """
    check_same_shape(student, teacher)
    check_temperature(temperature)
    return _ForwardKL.apply(student, teacher.detach(), temperature)


def reverse_kl(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """T² · KL(Q ‖ P) = T² · Σ_v Q(v) · (log Q(v) − log P(v)), which asks Q to stay where P is.

    ``student`` and ``teacher`` are logits (N, V); returns (N,), in nats. Infinite, without a gradient, where the
    teacher rules out (−inf) what the student does not.
    Agarwal et al., 2306.13649, sec. 2; without their sampling, which is the choice of the tokens, not of the loss.
    """
    log_q, log_p = _log_probabilities(student, teacher, temperature)
    return temperature**2 * kl(log_q, log_p)


def generalized_jsd(student: Tensor, teacher: Tensor, beta: float, temperature: float = 1.0) -> Tensor:
    """T² · (β · KL(P ‖ M) + (1 − β) · KL(Q ‖ M)) with M = β · P + (1 − β) · Q, and 0 < β < 1.

    ``student`` and ``teacher`` are logits (N, V); returns (N,), in nats, finite whatever either rules out. As β goes to
    0 the value goes to β · KL(P ‖ Q), and as β goes to 1 to (1 − β) · KL(Q ‖ P): the smaller of β and 1 − β is also
    the scale of the gradient. TRL's β = 0 and β = 1 are ``forward_kl`` and ``reverse_kl``, unscaled.
    Agarwal et al., 2306.13649, sec. 2, eq. (1). Raises ValueError for another β.
    """
    if not 0 < beta < 1:
        raise ValueError(f"beta {beta} is not between 0 and 1; at the ends the loss is 0: use forward_kl or reverse_kl")
    log_q, log_p = _log_probabilities(student, teacher, temperature)
    return temperature**2 * (
        beta * _kl_to_mixture(log_p, log_q, beta) + (1 - beta) * _kl_to_mixture(log_q, log_p, 1 - beta)
    )


def kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    """Σ p · (log p − log q) over the last dimension, in nats, with 0 · log 0 = 0.

    ``log_p`` and ``log_q`` are log-probabilities (…, V); returns (…).
    """
    p = log_p.exp()
    return (p * torch.where(p > 0, log_p - log_q, 0)).sum(-1)


class _ForwardKL(torch.autograd.Function):
    """With the gradient written out, T · (Q − P): one tensor is kept for it, where autograd would keep four."""

    @staticmethod
    def forward(ctx, student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        log_q = (upcast(student) / temperature).log_softmax(-1)
        log_p = (upcast(teacher) / temperature).log_softmax(-1)
        p = log_p.exp()
        value = log_p.sub_(log_q).masked_fill_(p == 0, 0).mul_(p).sum(-1)
        slope = log_q.exp_().mul_(p.sum(-1, keepdim=True)).sub_(p)
        ctx.save_for_backward(slope.mul_(temperature).to(student.dtype))
        return temperature**2 * value

    @staticmethod
    @once_differentiable
    def backward(ctx, scale: Tensor):
        (slope,) = ctx.saved_tensors
        return slope * scale.unsqueeze(-1).to(slope.dtype), None, None


def _log_probabilities(student: Tensor, teacher: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    check_same_shape(student, teacher)
    check_temperature(temperature)
    return (upcast(student) / temperature).log_softmax(-1), (target(teacher) / temperature).log_softmax(-1)


def _kl_to_mixture(log_p: Tensor, log_q: Tensor, share: float) -> Tensor:
    """KL(P ‖ share · P + (1 − share) · Q) = −log share − Σ P · log(1 + (1 − share) / share · Q / P).

    The constant stands outside the sum: P adds up to 1, and within, the gradient of P would be a difference of numbers
    that are nearly equal wherever P and Q have little in common.
    """
    p = log_p.exp()
    ratio = torch.where(p > 0, log_q - log_p, 0)  # never log 0 − log 0, which has no gradient
    return -math.log(share) - (p * softplus(ratio + math.log1p(-share) - math.log(share), threshold=40)).sum(-1)
