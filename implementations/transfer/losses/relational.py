"""Relational KD: distances and angles between the embeddings of a batch (Park et al., 1904.05068).

Only relations are compared, so the embeddings of student and teacher may differ in size, scale, place and rotation.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import smooth_l1_loss

from .numeric import target, upcast, without_autocast


def rkd_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean over pairs i < j of huber(d_S(i, j), d_T(i, j)), d = ‖x_i − x_j‖₂ / μ, μ the mean distance of the batch.

    ``student`` (N, D_S) and ``teacher`` (N, D_T) are embeddings; huber is the Huber loss with δ = 1. Returns one
    number without unit, 0 for a batch of fewer than two. Park et al., 1904.05068, sec. 3.2.1, who sum, not average.
    Raises ValueError when the batches differ in size.
    """
    _check_same_batch(student, teacher)
    pairs = len(student) * (len(student) - 1) // 2
    return smooth_l1_loss(_distances(upcast(student)), _distances(target(teacher)), reduction="sum") / max(pairs, 1)


def rkd_angle(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean over triplets i, j, k, all different, of huber(cos ∠_S(i, j, k), cos ∠_T(i, j, k)), the angle at j.

    ``student`` (N, D_S) and ``teacher`` (N, D_T) are embeddings; huber is the Huber loss with δ = 1. Two items on
    the same spot have no direction: their cosines count as 0. Returns one number without unit, 0 for a batch of fewer
    than three. Takes memory for N³ cosines. Park et al., 1904.05068, sec. 3.2.2, who sum, not average.
    Raises ValueError when the batches differ in size.
    """
    _check_same_batch(student, teacher)
    n = len(student)
    with without_autocast(student):
        ours, theirs = _cosines(upcast(student)), _cosines(target(teacher))
    # Not all different: i = k has the cosine 1 in both, i = j or k = j has 0 in both. They add nothing.
    return smooth_l1_loss(ours, theirs, reduction="sum") / max(n * (n - 1) * (n - 2), 1)


def _distances(x: Tensor) -> Tensor:
    """Distances of all pairs, (N · (N − 1) / 2,), in units of their mean."""
    first, second = torch.triu_indices(len(x), len(x), offset=1, device=x.device)
    distances = (x[first] - x[second]).norm(dim=-1)
    return distances / distances.mean().clamp(min=torch.finfo(x.dtype).tiny)


def _cosines(x: Tensor) -> Tensor:
    """cos ∠(i, j, k) at [j, i, k], (N, N, N)."""
    difference = x[None] - x[:, None]  # [j, i] = x_i − x_j
    apart = (difference != 0).any(-1, keepdim=True)
    length = torch.where(apart, difference, 1).norm(dim=-1, keepdim=True)  # no root of 0, whose slope is infinite
    direction = difference / length
    return direction @ direction.mT


def _check_same_batch(student: Tensor, teacher: Tensor) -> None:
    if len(student) != len(teacher):
        raise ValueError(f"{len(student)} items of the student and {len(teacher)} of the teacher; give the same batch")
