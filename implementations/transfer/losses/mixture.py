"""The hard loss and the distillation loss together, and how hard each of them pulls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .numeric import upcast


@dataclass(frozen=True)
class Mixture:
    """``total`` = alpha · ``cross_entropy`` + (1 − alpha) · ``distillation``, each (N,), in nats per token."""

    total: Tensor
    cross_entropy: Tensor
    distillation: Tensor


def mixture(cross_entropy: Tensor, distillation: Tensor, alpha: float) -> Mixture:
    """alpha · CE + (1 − alpha) · KD, with both terms kept for the log.

    ``cross_entropy`` and ``distillation`` are (N,), unreduced, of the same tokens: normalized alike, per token, so that
    alpha weighs like against like. Hinton et al., 1503.02531, sec. 2, who found a small weight on the hard loss best.
    Raises ValueError for another shape, or an alpha outside 0 to 1.
    """
    if cross_entropy.shape != distillation.shape:
        raise ValueError(
            f"cross-entropy {tuple(cross_entropy.shape)} and distillation {tuple(distillation.shape)} are not of the "
            "same tokens; give both per token, not reduced"
        )
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha {alpha} is the share of the cross-entropy; give a number from 0 to 1")
    hard, soft = upcast(cross_entropy), upcast(distillation)
    return Mixture(alpha * hard + (1 - alpha) * soft, hard, soft)


def gradient_norms(terms: Mixture, tensors: Sequence[Tensor]) -> dict[str, Tensor]:
    """‖∂ Σ term / ∂ tensors‖₂ of each term on its own, all ``tensors`` taken as one vector, before alpha weighs them.

    What a term pulls with is its gradient times its weight: where the norm of the distillation term is a thousandth of
    the cross-entropy's, alpha = ½ is as good as 1, however alike the values look. ``tensors`` are parameters or
    activations of the student; the input of its head is enough, and costs no pass through its layers.
    Returns scalars on their device, 0 for a term that does not depend on them. One backward pass a term; the graph is
    kept, and no ``.grad`` is touched.
    """
    norms = {}
    for name in ("cross_entropy", "distillation"):
        total = getattr(terms, name).sum()
        gradients = torch.autograd.grad(total, tensors, retain_graph=True, allow_unused=True, materialize_grads=True)
        norms[name] = torch.stack([upcast(gradient).square().sum() for gradient in gradients]).sum().sqrt()
    return norms
