"""The hard loss and the distillation loss together."""

from __future__ import annotations

from dataclasses import dataclass

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
