"""What every loss does first: the arithmetic's precision, and whether its arguments fit each other."""

from __future__ import annotations

import torch
from torch import Tensor


def upcast(x: Tensor) -> Tensor:
    """``x`` in float32, or in float64 if it comes so."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def target(x: Tensor) -> Tensor:
    """``x`` upcast and without gradient: what the student is compared with."""
    return upcast(x.detach())


def without_autocast(x: Tensor) -> torch.autocast:
    """A context in which autocast leaves matrix products on the device of ``x`` in their own precision."""
    return torch.autocast(x.device.type, enabled=False)


def check_same_shape(student: Tensor, teacher: Tensor) -> None:
    """Raises ValueError unless both have one shape; PyTorch would broadcast (1, V) over (N, V) without a word."""
    if student.shape != teacher.shape:
        raise ValueError(
            f"the student's shape {tuple(student.shape)} is not the teacher's {tuple(teacher.shape)}; select the same "
            "tokens of both, and where only the vocabularies' sizes differ, cut both to common_vocabulary() first"
        )


def check_temperature(temperature: float) -> None:
    """Raises ValueError unless ``temperature`` is above 0."""
    if not temperature > 0:
        raise ValueError(f"temperature {temperature} divides the logits; give a number above 0")
