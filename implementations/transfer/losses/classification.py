"""Soft labels for classifiers, one class of many or many labels at once, mixed with the hard ones.

Class weights and label smoothing are torch's: what is given as ``options`` goes to its loss of the hard labels.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, logsigmoid

from .divergence import forward_kl, kl
from .mixture import Mixture, mixture
from .numeric import check_same_shape, check_temperature, target, upcast


def soft_classes(
    student: Tensor, teacher: Tensor, labels: Tensor, alpha: float, temperature: float = 1.0, **options
) -> Mixture:
    """alpha · CE(labels, student) + (1 − alpha) · T² · KL(P ‖ Q), for examples of one class each.

    ``student`` and ``teacher`` are logits (N, C); ``labels`` (N,) are class indices, −100 at an example without one,
    whose cross-entropy is 0. ``options`` go to ``torch.nn.functional.cross_entropy`` (``weight``, ``label_smoothing``).
    Every term is (N,), in nats per example. Hinton et al., 1503.02531, sec. 2.
    """
    hard = cross_entropy(upcast(student), labels, reduction="none", **options)
    return mixture(hard, forward_kl(student, teacher, temperature), alpha)


def soft_labels(
    student: Tensor, teacher: Tensor, labels: Tensor, alpha: float, temperature: float = 1.0, **options
) -> Mixture:
    """alpha · Σ_c BCE(labels, student) + (1 − alpha) · ``bernoulli_kl``, for examples of any number of labels.

    ``student`` and ``teacher`` are logits (N, C), a sigmoid each; ``labels`` (N, C) are 0 or 1. ``options`` go to
    ``torch.nn.functional.binary_cross_entropy_with_logits`` (``weight``, ``pos_weight``). Every term is (N,), in nats
    per example, the sum over its C labels.
    """
    hard = binary_cross_entropy_with_logits(upcast(student), upcast(labels), reduction="none", **options).sum(-1)
    return mixture(hard, bernoulli_kl(student, teacher, temperature), alpha)


def bernoulli_kl(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """T² · Σ_c (p · log(p / q) + (1 − p) · log((1 − p) / (1 − q))), p and q sigmoids of logits / T.

    ``student`` and ``teacher`` are logits (N, C) of C labels; returns (N,), in nats: the KL divergence of labels that
    are independent given the input, with Hinton's factor (1503.02531, sec. 2).
    """
    check_same_shape(student, teacher)
    check_temperature(temperature)
    log_q, log_p = (
        torch.stack([logsigmoid(logits / temperature), logsigmoid(-logits / temperature)], -1)
        for logits in (upcast(student), target(teacher))
    )
    return temperature**2 * kl(log_p, log_q).sum(-1)
