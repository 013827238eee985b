"""Universal Logit Distillation: for models that share neither tokenizer nor vocabulary (Boizard et al., 2402.12030)."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import pad

from .numeric import check_temperature, target, upcast


def uld(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """Σ_i |p_(i) − q_(i)|, p_(i) and q_(i) the i-th largest probability of teacher and student.

    That is the Wasserstein distance between both distributions when moving mass from any entry to any other costs the
    same: it compares how sure the models are, not of what. The smaller vocabulary is filled up with probabilities of 0.

    ``student`` (S, V_S) and ``teacher`` (L, V_T) are logits of one sequence's completion, each in its own tokens. The
    t-th token of one is compared with the t-th of the other, as far as both go: returns (min(S, L),), from 0 to 2,
    without unit. Call it sequence by sequence, or tokens of different sequences would be paired.

    Boizard et al., 2402.12030, and as in the authors' code and TRL's ``ULDLoss`` without its alignment of tokens. No
    factor of T²: the paper has none.
    """
    check_temperature(temperature)
    length, size = min(len(student), len(teacher)), max(student.shape[-1], teacher.shape[-1])
    q, p = (
        pad((logits[:length] / temperature).softmax(-1).sort(-1, descending=True).values, (0, size - logits.shape[-1]))
        for logits in (upcast(student), target(teacher))
    )
    return (p - q).abs().sum(-1)
