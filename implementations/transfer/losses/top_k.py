"""Forward KL from the teacher's most probable entries, with one bucket for all the others."""

from __future__ import annotations

import torch
from torch import Tensor

from .divergence import kl
from .numeric import check_temperature, target, upcast


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
    ids = ids.long()
    logits = upcast(student) / temperature
    log_q = torch.cat([logits.gather(-1, ids), _log_sum_outside(logits, ids)], -1) - logits.logsumexp(-1, keepdim=True)
    log_p = torch.cat([target(log_probs), target(tail).clamp(min=0).log().unsqueeze(-1)], -1)
    return temperature**2 * kl(log_p, log_q)


def _log_sum_outside(logits: Tensor, ids: Tensor) -> Tensor:
    """log Σ exp(logit) over the entries that ``ids`` do not name, (N, 1); −inf where nothing is left."""
    rest = logits.scatter(-1, ids, -torch.inf)
    empty = rest.isneginf().all(-1, keepdim=True)
    return rest.masked_fill(empty, 0).logsumexp(-1, keepdim=True).masked_fill(empty, -torch.inf)
