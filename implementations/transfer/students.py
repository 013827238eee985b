"""Students: a model with some of its teacher's layers, or any local model."""

from __future__ import annotations

import copy

import torch
from transformers import PreTrainedModel


def kept_layers(total: int, keep: int) -> list[int]:
    """Which of ``total`` layers a student of ``keep`` layers takes: evenly spread, first and last included.

    >>> kept_layers(30, 10)
    [0, 3, 6, 10, 13, 16, 19, 23, 26, 29]
    """
    if not 1 <= keep <= total:
        raise ValueError(f"a student of {keep} layers cannot be cut from {total}; ask for 1 to {total}")
    if keep == 1:
        return [0]
    return [round(i * (total - 1) / (keep - 1)) for i in range(keep)]


def cut(teacher: PreTrainedModel, keep: int) -> PreTrainedModel:
    """A copy of ``teacher`` with ``keep`` of its decoder layers (DistilBERT's initialization, 1910.01108, sec. 3).

    Embeddings, final norm and head are copied whole, so teacher and student share one vocabulary.
    """
    layers = teacher.base_model.layers
    indices = kept_layers(len(layers), keep)
    teacher.base_model.layers = torch.nn.ModuleList(layers[i] for i in indices)
    try:
        student = copy.deepcopy(teacher)
    finally:
        teacher.base_model.layers = layers
    for position, layer in enumerate(student.base_model.layers):
        layer.self_attn.layer_idx = position  # where this layer's keys and values stand in the cache
    student.config.num_hidden_layers = keep
    return student
