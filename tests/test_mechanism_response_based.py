"""Response-based: do soft labels teach more than hard ones, a classifier and a language model?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from mechanism import SEEDS, show
from sklearn.datasets import load_digits
from torch.nn import Linear, ReLU, Sequential
from torch.nn.functional import cross_entropy

from implementations.evaluation.statistics import difference
from implementations.recipes import response_based
from implementations.tasks.clinical_summary import ClinicalSummary
from implementations.tasks.task import Sizes
from implementations.teachers.local import load
from implementations.transfer import students
from implementations.transfer.chat import row
from implementations.transfer.config import TEXT_ALONE, Source, TrainConfig
from implementations.transfer.generate import generate
from implementations.transfer.heads import adjustment
from implementations.transfer.losses.classification import soft_classes
from implementations.transfer.losses.divergence import forward_kl
from implementations.transfer.objective import Teacher
from implementations.transfer.trainer import train


def test_classifier():
    """Handwritten digits, real ones: a student that sees few of them, with their labels or with the teacher's too.

    As in Hinton et al. (1503.02531, sec. 6), where a model trained on 3% of the data with soft targets came near one
    trained on all: the teacher learns from 1,000 images, the student from 50 of these. Effect: accuracy on the 797
    images that neither saw, in points, for students on soft labels (their temperature 4), minus those on hard ones.
    """
    digits = load_digits()
    images = torch.tensor(digits.data / 16, dtype=torch.float32)
    labels = torch.tensor(digits.target)
    right = {"teacher": [], "soft": [], "hard": []}
    for seed in range(SEEDS):
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
        seen, few, held = order[:1000], order[:50], order[1000:]
        torch.manual_seed(seed)
        teacher = fit(perceptron(256), images[seen], labels[seen])
        with torch.no_grad():
            given = teacher(images[few])
        start = perceptron(32)
        models = {"teacher": teacher}
        for name, alpha in (("soft", 0.1), ("hard", 1.0)):
            student = perceptron(32)
            student.load_state_dict(start.state_dict())
            models[name] = fit(student, images[few], labels[few], given, alpha)
        for name, model in models.items():
            right[name].append((model(images[held]).argmax(-1) == labels[held]).double().mul(100).numpy())
    soft, hard = (np.array(right[name]) for name in ("soft", "hard"))
    effect = difference(soft, hard)
    print(f"\ndigits: teacher {np.mean(right['teacher']):.1f}%, soft {soft.mean():.1f}%, hard {hard.mean():.1f}%")
    show("response-based, classifier: soft minus hard labels, points", effect)
    assert effect.low > 0


def perceptron(width: int) -> Sequential:
    return Sequential(Linear(64, width), ReLU(), Linear(width, 10))


def fit(model, images, labels, teacher=None, alpha=1.0, steps=400):
    """``model`` trained on whole batches, its loss that of the recipe for classes."""
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(steps):
        logits = model(images)
        loss = cross_entropy(logits, labels)
        if teacher is not None:
            loss = soft_classes(logits, teacher, labels, alpha, temperature=4.0).total.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


def test_language_model(tiny, tmp_path):
    """The teacher's distribution at every token of its answers, against those answers alone; few prompts, equal steps.

    Effects on held-out notes, nats per token: divergence from the teacher, which is what the loss is about, and the
    cross-entropy of the expert's answers, which is what a student is for. Under zero, soft labels help.
    """
    teacher, tokenizer = load(tiny, "cpu", "float32")
    gives = Teacher(teacher.get_output_embeddings().weight.detach(), adjustment(teacher), teacher)
    soft = replace(response_based.LOSS, source=Source.LIVE)
    measured = {"soft": [], "hard": []}
    for seed in range(SEEDS):
        notes = ClinicalSummary().splits(Sizes(0, 0, 48, 24, 0), seed)
        prompts = [note.prompt for note in notes.transfer]
        answers = {g.index: g.text for group in generate(teacher, tokenizer, "", prompts, 48) for g in group}
        rows = [row(tokenizer, "", prompt, answers[i]) for i, prompt in enumerate(prompts)]
        held = [row(tokenizer, "", note.prompt, note.reference) for note in notes.slices["heldout"]]
        for name, loss in (("soft", soft), ("hard", TEXT_ALONE)):
            student = students.cut(teacher, 2)
            config = TrainConfig(steps=40, learning_rate=5e-3, batch=4, seed=seed, loss=loss)
            train(student, tokenizer, rows, config, tmp_path / f"{seed}{name}", teacher=gives)
            measured[name].append(far(student.eval(), teacher, held))
    ours, control = (np.array(measured[name]) for name in ("soft", "hard"))  # (S, N, 2)
    divergence, loss = (difference(ours[..., i], control[..., i]) for i in range(2))
    show(f"response-based minus hard labels: divergence (hard {control[..., 0].mean():.3f})", divergence)
    show(f"response-based minus hard labels: cross-entropy (hard {control[..., 1].mean():.3f})", loss)
    assert divergence.high < 0


@torch.no_grad()
def far(student, teacher, rows) -> list[tuple[float, float]]:
    """Of every row, means over its answer's tokens: divergence from the teacher, and the answer's cross-entropy."""
    found = []
    for one in rows:
        ids = torch.tensor([one.input_ids])
        at = slice(-one.completion - 1, -1)
        ours, theirs = (model(ids).logits[0, at] for model in (student, teacher))
        found.append((forward_kl(ours, theirs).mean().item(), cross_entropy(ours, ids[0, -one.completion :]).item()))
    return found
