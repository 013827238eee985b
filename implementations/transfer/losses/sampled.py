"""Random Sampling KD: forward KL from a few entries drawn from the teacher, unbiased (Anshumann et al., 2503.16870).

Cross-entropy with the teacher, H(P, Q) = −Σ_v P(v) · log Q(v), is forward KL plus the teacher's entropy, a constant of
the student. It is an expectation over v ~ P, so entries drawn once and cached estimate it, and its gradient Q − P,
without bias. The teacher's top k never do: they say nothing of the rest.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .numeric import check_temperature, target, upcast


def draw(
    teacher: Tensor,
    rounds: int,
    temperature: float = 1.0,
    exponent: float = 1.0,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """``rounds`` entries of each row, drawn with replacement from R ∝ P^exponent, and the weight of each draw.

    ``teacher`` is logits (N, V), P their softmax at ``temperature``. Returns ids (N, rounds), int64, and weights
    (N, rounds), float32: P(v) / (R(v) · rounds). With exponent 1, the paper's choice, every weight is 1 / rounds: the
    ids and how often each came are all there is to cache (50 rounds hold some 12 different ids, the paper finds). The
    weights are not scaled to add up to 1, which would bias the estimate for any other exponent.
    Raises ValueError unless temperature and exponent are above 0.
    """
    check_temperature(temperature)
    if not exponent > 0:
        raise ValueError(
            f"exponent {exponent} is not above 0; give 1 to draw from the teacher, less for more of its tail"
        )
    # In float64: multinomial adds probabilities up, and in float32 those under 1e-7 of the sum would get lost.
    log_p = (target(teacher).double() / temperature).log_softmax(-1)
    log_r = (exponent * log_p).log_softmax(-1)
    ids = torch.multinomial(log_r.exp(), rounds, replacement=True, generator=generator)
    return ids, ((log_p.gather(-1, ids) - log_r.gather(-1, ids)).exp() / rounds).float()


def sampled_cross_entropy(student: Tensor, ids: Tensor, weights: Tensor, temperature: float = 1.0) -> Tensor:
    """T² · −Σ_r weight_r · log Q(id_r): in expectation T² · H(P, Q), with the gradient of ``forward_kl``.

    ``student`` is logits (N, V); ``ids`` and ``weights`` (N, R) are draws at the same ``temperature``, repeated ids
    merged or not, weight 0 filling up a shorter row. Returns (N,), in nats. The value contains the teacher's entropy
    and does not go to 0.
    Anshumann et al., 2503.16870. Raises ValueError when the shapes do not fit.
    """
    if not (ids.shape == weights.shape and ids.shape[:1] == student.shape[:1]):
        raise ValueError(
            f"logits {tuple(student.shape)}, ids {tuple(ids.shape)} and weights {tuple(weights.shape)} do not fit; "
            "give (N, V), (N, R) and (N, R)"
        )
    check_temperature(temperature)
    logits = upcast(student) / temperature
    log_q = logits.gather(-1, ids.long()) - logits.logsumexp(-1, keepdim=True)
    weights = target(weights)
    return -(temperature**2) * (weights * torch.where(weights > 0, log_q, 0)).sum(-1)
