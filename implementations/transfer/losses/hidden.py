"""Hidden states: the student's, through a learned projection, beside the teacher's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from .numeric import check_same_shape, target, upcast


def hidden_mse(student: Tensor, teacher: Tensor) -> Tensor:
    """(1 / H) · ‖h_S − h_T‖₂² of each token.

    ``student`` and ``teacher`` are (…, H); returns (…), in squared units of the hidden state.
    Jiao et al. (TinyBERT), 1909.10351, sec. 3.1, eq. (8); H / 2 times this is the hint loss of Romero et al. (FitNets),
    1412.6550, sec. 2.2.
    """
    check_same_shape(student, teacher)
    return (upcast(student) - target(teacher)).square().mean(-1)


def hidden_cosine(student: Tensor, teacher: Tensor) -> Tensor:
    """1 − cos(h_S, h_T) of each token: from 0, same direction, to 2, opposite; lengths do not matter.

    ``student`` and ``teacher`` are (…, H); returns (…), without unit.
    Sanh et al. (DistilBERT), 1910.01108, sec. 2: the cosine embedding loss of the triple loss.
    """
    check_same_shape(student, teacher)
    return 1 - cosine_similarity(upcast(student), target(teacher), dim=-1)


class HiddenStateLoss(nn.Module):
    """Σ_m loss(W_m · h_S[m], h_T[g(m)]) over the mapped layers m, each with its own learned W_m (H_T, H_S).

    ``layers`` is g: student layer to teacher layer, as indices into ``hidden_states`` (0 are the embeddings), for
    example {0: 0, 5: 15, 10: 30}. The projections are trained along (give their parameters to the optimizer) and left
    behind afterwards. They begin as the identity, cut off or filled up with zeros where sizes differ: states of a
    student that was cut from its teacher are comparable as they are, and no chance enters.
    Jiao et al., 1909.10351, sec. 3.1, eqs. (8) and (9); Romero et al., 1412.6550, sec. 2.2.
    Raises ValueError when no layer is mapped.
    """

    def __init__(
        self,
        layers: Mapping[int, int],
        student_size: int,
        teacher_size: int,
        loss: Callable[[Tensor, Tensor], Tensor] = hidden_mse,
    ):
        super().__init__()
        if not layers:
            raise ValueError("no layers to compare; map at least one student layer to a teacher layer")
        self.layers, self.loss = dict(layers), loss
        self.projections = nn.ModuleList(nn.Linear(student_size, teacher_size, bias=False) for _ in layers)
        for projection in self.projections:
            nn.init.eye_(projection.weight)

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
        """``student`` and ``teacher`` are hidden states by layer, (…, H_S) and (…, H_T) each; returns (…).

        Raises ValueError when a mapped layer is not there.
        """
        if max(self.layers) >= len(student) or max(self.layers.values()) >= len(teacher):
            raise ValueError(
                f"layers {self.layers} are mapped, but the student gives {len(student)} hidden states and the teacher "
                f"{len(teacher)}; map layers that both have"
            )
        return torch.stack(
            [
                self.loss(projection(student[ours]), teacher[theirs])
                for projection, (ours, theirs) in zip(self.projections, self.layers.items(), strict=True)
            ]
        ).sum(0)
