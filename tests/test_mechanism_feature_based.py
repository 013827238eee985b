"""Feature-based: do hidden states beside the outputs bring a student nearer to its teacher?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from mechanism import SEEDS, show
from torch.nn.functional import cross_entropy

from implementations.evaluation.statistics import difference
from implementations.recipes import feature_based, response_based
from implementations.tasks.clinical_summary import ClinicalSummary
from implementations.tasks.task import Sizes
from implementations.teachers.local import load
from implementations.transfer import students
from implementations.transfer.chat import row
from implementations.transfer.config import Source, TrainConfig
from implementations.transfer.features import layer_map
from implementations.transfer.heads import adjustment
from implementations.transfer.losses.divergence import forward_kl
from implementations.transfer.objective import Teacher
from implementations.transfer.trainer import train


def test_feature_based(tiny, tmp_path):
    """Hidden states beside the outputs, against the outputs alone: a student that starts as layers of its teacher, and
    one that starts from nothing and is narrower, for which the literature promises more (TinyBERT, 1909.10351, tab. 3).

    Effect: divergence from the teacher on held-out notes, nats per token. Under zero, hidden states help. After so few
    steps they do the first and set back the second, whose first steps go into its states. A student nearer to its
    teacher is not yet a better one: the cross-entropy of the expert's answers is printed beside it.
    """
    from test_features import narrow

    assert response_based.LOSS == feature_based.OUTPUTS  # the control is that pattern
    teacher, tokenizer = load(tiny, "cpu", "float32")
    gives = Teacher(teacher.get_output_embeddings().weight.detach(), adjustment(teacher), teacher)
    outputs = replace(feature_based.OUTPUTS, source=Source.LIVE)
    starts = {"cut": lambda seed: students.cut(teacher, 2), "narrow": lambda seed: narrow(teacher, seed)}
    found = {}
    for start, make in starts.items():
        measured = {"outputs": [], "features": []}
        for seed in range(SEEDS):
            notes = ClinicalSummary().splits(Sizes(0, 0, 48, 24, 0), seed)
            rows, held = (
                [row(tokenizer, ClinicalSummary.instruction, note.prompt, note.reference) for note in of]
                for of in (notes.transfer, notes.slices["heldout"])
            )
            for name, loss in (("outputs", outputs), ("features", feature_based.LOSS)):
                config = TrainConfig(steps=24, learning_rate=5e-3, batch=4, seed=seed, loss=loss)
                train(student := make(seed), tokenizer, rows, config, tmp_path / f"{start}{seed}{name}", teacher=gives)
                measured[name].append(_against(student.eval(), teacher, held))
        ours, control = (np.array(measured[name]) for name in ("features", "outputs"))  # (S, N, measures)
        for i, what in enumerate(("divergence", "cross-entropy", "states' distance")[: ours.shape[-1]]):
            found[start, what] = of = difference(ours[..., i], control[..., i])
            show(f"feature-based minus outputs alone, {start}: {what}", of)
    assert found["cut", "states' distance"].high < 0  # what it optimizes improves, on notes it never saw
    assert found["cut", "divergence"].high < 0
    assert found["narrow", "divergence"].low > 0  # from nothing, so few steps are better spent on the outputs


@torch.no_grad()
def _against(student, teacher, rows) -> list[list[float]]:
    """Of every row, means over its tokens: divergence from the teacher, cross-entropy of the answer, and, where widths
    agree, 1 − cos of the mapped states."""
    found = []
    for one in rows:
        ids = torch.tensor([one.input_ids])
        ours, theirs = (model(ids, output_hidden_states=True) for model in (student, teacher))
        at = slice(-one.completion - 1, -1)
        measures = [forward_kl(ours.logits[0, at], theirs.logits[0, at]).mean()]
        measures.append(cross_entropy(ours.logits[0, at], ids[0, -one.completion :]))
        layers = layer_map(feature_based.LOSS.features.layers, *(len(x.hidden_states) - 1 for x in (ours, theirs)))
        pairs = [(ours.hidden_states[s], theirs.hidden_states[t]) for s, t in layers.items()]
        if student.config.hidden_size == teacher.config.hidden_size:
            measures.append(torch.stack([1 - torch.cosine_similarity(a, b, dim=-1).mean() for a, b in pairs]).mean())
        found.append([measure.item() for measure in measures])
    return found
