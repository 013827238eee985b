"""What a student learns from: the loss of one step, computed inside the student's own forward.

Inside, because there FSDP and DeepSpeed have gathered the head's weight, and autocast holds. Only the positions that
predict a completion's tokens reach the vocabulary matrix: prompts and padding never do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import MethodType
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from .config import Divergence, Loss, Source
from .device import free_memory
from .heads import adjustment, at, hidden_states
from .losses.divergence import forward_kl, generalized_jsd, reverse_kl
from .losses.head import fitting_chunk, head_loss
from .losses.hidden import HiddenStateLoss
from .losses.numeric import upcast
from .losses.top_k import top_k_kl

TERMS = ("cross_entropy", "distillation", "features")
PROJECTIONS = "hidden_state_loss"  # what the module is called that the student carries while it learns
LOGITS_SHARE = 0.25  # of the free memory that logits and what a divergence makes of them may take


@dataclass(frozen=True)
class Teacher:
    """What the distillation term needs of a teacher beside the batch's signals.

    ``head`` (V, H) and ``adjust`` turn its last hidden states into logits; ``model`` is asked in every step where no
    cache has them. Both are None for cached top-k.
    """

    head: Tensor | None = None
    adjust: Callable[[Tensor], Tensor] = lambda logits: logits
    model: PreTrainedModel | None = None


class Objective:
    """alpha · CE + (1 − alpha) · D(teacher, student) summed over the completion tokens of a batch, and λ · the distance
    of hidden states where there are ``features``.

    All terms are per token, so that alpha weighs like against like; what each pulls with is the norm of its gradient
    at the head's input, before it is weighed: where one is a thousandth of the other's, no alpha near ½ balances
    them. Hidden states are compared at all tokens of a row, for the prompt's say something too; their mean counts as
    much as the row's completion tokens.

    Called with the student and a batch of ``collate.RightPadding``. ``sums`` holds each term's own sum over all batches
    since it was last taken, on the device: reading it is what makes the host wait, so only a log does.
    Raises ValueError for a loss that makes no sense.
    """

    def __init__(
        self,
        loss: Loss,
        teacher: Teacher | None = None,
        vocabulary: int | None = None,
        features: HiddenStateLoss | None = None,
    ):
        self.loss, self.teacher, self.vocabulary, self.features = loss, teacher, vocabulary, features
        self.sums: dict[str, Tensor] = {}
        self.tokens = 0
        self._budget: int | None = None  # bytes that logits may take, measured in the first step
        self.norms: dict[str, Tensor] = {}  # of the terms' gradients, where they were asked for
        self.measure_norms = False
        if not 0 <= loss.alpha <= 1:
            raise ValueError(f"alpha {loss.alpha} is the share of the cross-entropy; give a number from 0 to 1")
        if loss.alpha < 1 and teacher is None:
            raise ValueError(f"alpha {loss.alpha} leaves a share to a teacher, and there is none")
        if loss.source is Source.TOP_K and loss.divergence is not Divergence.FORWARD_KL:
            raise ValueError(f"of the likeliest tokens alone there is no {loss.divergence}; give another source for it")
        if loss.on_policy and (loss.alpha > 0 or loss.source is not Source.LIVE):
            raise ValueError("the student's own text is no answer to learn, nor in a cache; give alpha 0, source live")
        if loss.features and (teacher is None or teacher.model is None):
            raise ValueError("hidden states are compared with a live teacher's, and there is none; give source live")
        if (loss.features is None) != (features is None):
            raise ValueError("loss.features and the module that compares hidden states go together; give both or none")
        if loss.features and loss.features.weight is not None and not loss.features.weight > 0:
            raise ValueError(f"weight {loss.features.weight} multiplies the features; give a number above 0, or None")

    def __call__(
        self,
        student: PreTrainedModel,
        input_ids: Tensor,
        positions: Tensor,
        labels: Tensor,
        shares: Tensor | None = None,
        **signals: Tensor,
    ) -> Tensor:
        """The sum, a scalar. ``input_ids`` and ``shares`` (B, T), ``positions`` and ``labels`` (N,), signals (N, …)."""
        layers = self.features.layers if self.features else {}
        last, ours = hidden_states(student, input_ids, layers.keys())
        hidden = at(last, positions)
        if self.teacher and self.teacher.model is not None:
            with torch.no_grad():
                last, theirs = hidden_states(self.teacher.model, input_ids, layers.values())
                signals = {"teacher_hidden": at(last, positions)}
        head = student.get_output_embeddings().weight
        adjust = adjustment(student)

        def terms(logits: Tensor, rows: slice) -> dict[str, Tensor]:
            return self._terms(adjust(logits), labels[rows], {name: x[rows] for name, x in signals.items()})

        sums = {name: hidden.new_zeros((), dtype=torch.float32) for name in self._weights}

        def weighted(logits: Tensor, rows: slice) -> Tensor:
            parts = terms(logits, rows)
            for name, part in parts.items():
                sums[name] += part.detach().sum()
            return sum(self._weights[name] * part for name, part in parts.items())

        chunk = self._chunk(len(hidden), head)
        total = head_loss(hidden, head, weighted, chunk)
        if self.features:
            distance = (self.features(ours, theirs) * shares).sum()
            sums["features"] = distance.detach()
            total = total + self._features_weight(total.detach(), distance.detach()) * distance
        for name, value in sums.items():
            self.sums[name] = self.sums[name] + value if name in self.sums else value
        self.tokens += len(labels)
        if self.measure_norms:
            self.norms = {name: _norm(hidden, head, terms, name, chunk) for name in self._weights}
            if self.features:
                self.norms["features"] = _features_norm(self.features, ours, theirs, shares)
        return total

    @property
    def _weights(self) -> dict[str, float]:
        """The terms of the outputs that weigh something: what has no share is not computed."""
        shares = {"cross_entropy": self.loss.alpha, "distillation": 1 - self.loss.alpha}
        return {name: share for name, share in shares.items() if share}

    def _features_weight(self, outputs: Tensor, features: Tensor) -> float | Tensor:
        """λ: the constant, or outputs / features over the step of all processes, so that each weighs alike."""
        if self.loss.features.weight is not None:
            return self.loss.features.weight
        sums = torch.stack([outputs, features])
        if dist.is_initialized():
            dist.all_reduce(sums)
        return sums[0] / sums[1].clamp(min=torch.finfo(sums.dtype).eps)

    def _terms(self, logits: Tensor, labels: Tensor, signals: dict[str, Tensor]) -> dict[str, Tensor]:
        found = {}
        if self.loss.alpha > 0:
            found["cross_entropy"] = cross_entropy(upcast(logits), labels, reduction="none")
        if self.loss.alpha < 1:
            found["distillation"] = self._distillation(logits, signals)
        return found

    def _distillation(self, logits: Tensor, signals: dict[str, Tensor]) -> Tensor:
        temperature = self.loss.temperature
        logits = logits[:, : self.vocabulary]
        if "ids" in signals:
            return top_k_kl(logits, signals["ids"], signals["log_probs"], signals["tail"], temperature)
        with torch.no_grad():
            theirs = self.teacher.adjust(signals["teacher_hidden"].to(self.teacher.head.dtype) @ self.teacher.head.T)
            theirs = theirs[:, : self.vocabulary]
        match self.loss.divergence:
            case Divergence.FORWARD_KL:
                return forward_kl(logits, theirs, temperature)
            case Divergence.REVERSE_KL:
                return reverse_kl(logits, theirs, temperature)
            case Divergence.JSD:
                return generalized_jsd(logits, theirs, self.loss.beta, temperature)

    def _chunk(self, tokens: int, head: Tensor) -> int | None:
        if self.loss.chunk is not None:
            return self.loss.chunk or None
        if self._budget is None:
            self._budget = int(LOGITS_SHARE * free_memory(head.device))
        return fitting_chunk(tokens, len(head), self._budget)

    def take(self) -> tuple[dict[str, Tensor], int]:
        """The terms' sums and the number of tokens since the last call, on the device."""
        taken = self.sums, self.tokens
        self.sums, self.tokens = {}, 0
        return taken


def _norm(hidden: Tensor, head: Tensor, terms: Callable[..., dict[str, Tensor]], name: str, chunk: int | None):
    """‖∂ Σ term / ∂ hidden‖₂ of one term before alpha weighs it: at the head's input, no pass through the layers."""
    at = hidden.detach().requires_grad_()
    with torch.enable_grad():
        (slope,) = torch.autograd.grad(
            head_loss(at, head.detach(), lambda logits, rows: terms(logits, rows)[name], chunk), at
        )
    return upcast(slope).norm()


def _features_norm(features: HiddenStateLoss, ours: Sequence[Tensor], theirs: Sequence[Tensor], shares: Tensor):
    """The like of the hidden states' term; what it compares of other layers than the last pulls further down."""
    last = ours[-1].detach().requires_grad_()
    with torch.enable_grad():
        (slope,) = torch.autograd.grad((features([*ours[:-1], last], theirs) * shares).sum(), last)
    return upcast(slope).norm()


@contextmanager
def learning(student: PreTrainedModel, objective: Objective) -> Iterator[None]:
    """While this holds, calling ``student`` with a batch gives the objective's loss in place of logits.

    The objective's projections are a part of the student meanwhile, so that whatever holds, shards, trains or keeps its
    parameters does it with theirs.
    """

    def forward(self: PreTrainedModel, **batch: Any) -> Tensor:
        return objective(self, **batch)

    student.forward = MethodType(forward, student)
    if objective.features:
        student.add_module(PROJECTIONS, objective.features)
    try:
        yield
    finally:
        del student.forward
        if objective.features:
            delattr(student, PROJECTIONS)


@contextmanager
def answering(student: PreTrainedModel) -> Iterator[None]:
    """Within `learning`: while this holds, ``student`` gives logits as before, so that it can write."""
    learns = vars(student).pop("forward")
    try:
        yield
    finally:
        student.forward = learns
