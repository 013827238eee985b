"""On-policy: is the student nearer to its teacher where its own text leads?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from mechanism import SEEDS, show

from implementations.evaluation import statistics
from implementations.tasks.clinical_summary import ClinicalSummary
from implementations.tasks.task import Sizes
from implementations.teachers.local import load
from implementations.transfer import students
from implementations.transfer.chat import prompt_ids, row
from implementations.transfer.config import Divergence, Loss, OnPolicy, Source, TrainConfig
from implementations.transfer.generate import complete, generate
from implementations.transfer.heads import adjustment
from implementations.transfer.losses.divergence import forward_kl, reverse_kl
from implementations.transfer.objective import Teacher
from implementations.transfer.trainer import train


def test_on_policy(tiny, tmp_path, monkeypatch):
    """How far the student is from its teacher where its own text leads, in nats a token on held-out notes.

    As in the recipe: half of the steps on the teacher's answers; then as many on its own text, or on those answers
    with the same loss. Both divergences fall on text that is sampled, as in training. On greedy text, which is how the
    student is served, their intervals cover 0 at this size. In float32, so that no processor's rounding decides.
    """
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)  # none
    limit, task = 24, ClinicalSummary()
    teacher, tokenizer = load(tiny, "cpu", "float32")
    asked = [note.prompt for note in task.splits(Sizes(0, 0, 96, 0, 0), seed=7).transfer]
    answers = {g.index: g.text for group in generate(teacher, tokenizer, "", asked, limit) for g in group}
    rows = [row(tokenizer, "", text, answers[i]) for i, text in enumerate(asked)]
    unheard = task.splits(Sizes(0, 0, 0, 24, 0), seed=7).slices["heldout"]
    heldout = [prompt_ids(tokenizer, "", note.prompt) for note in unheard]
    live = Teacher(teacher.get_output_embeddings().weight, adjustment(teacher), teacher)
    off_policy = Loss(0.0, divergence=Divergence.REVERSE_KL, source=Source.LIVE)
    on_policy = replace(off_policy, on_policy=OnPolicy(limit))
    numbers = torch.rand(len(heldout), limit, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def far(student) -> dict[str, list[float]]:
        """Both divergences by held-out note."""
        found = {}
        for how, draw in (("sampled", numbers), ("greedy", None)):
            texts = complete(student, tokenizer, heldout, limit, draw)
            for name, divergence in (("KL(teacher ‖ student)", forward_kl), ("KL(student ‖ teacher)", reverse_kl)):
                pairs = zip(heldout, texts, strict=True)
                found[f"{name}, {how}"] = [mean_at(divergence, student, teacher, *pair) for pair in pairs]
        return found

    distances: dict[str, list[dict[str, list[float]]]] = {"on": [], "off": []}
    for seed in range(SEEDS):
        config = TrainConfig(steps=40, learning_rate=5e-3, batch=4, seed=seed)
        start = students.cut(teacher, 2)
        train(start, tokenizer, rows, config, tmp_path / f"start-{seed}")
        for name, loss in (("on", on_policy), ("off", off_policy)):
            student = students.cut(start, 2)
            train(student, tokenizer, rows, replace(config, loss=loss), tmp_path / f"{name}-{seed}", teacher=live)
            distances[name].append(far(student))
    effects = {}
    for measure in distances["on"][0]:
        on, off = (np.array([found[measure] for found in distances[name]]) for name in ("on", "off"))
        effects[measure] = statistics.difference(on, off)
        show(f"on-policy minus off-policy: {measure} (off-policy {off.mean():.3f})", effects[measure])
    assert all(effect.high < 0 for measure, effect in effects.items() if measure.endswith("sampled"))


@torch.no_grad()
def mean_at(divergence, student, teacher, prompt: list[int], text: list[int]) -> float:
    """The mean of ``divergence`` over the places of ``text`` after ``prompt``."""
    logits = (model(torch.tensor([prompt + text])).logits[0, len(prompt) - 1 : -1] for model in (student, teacher))
    return divergence(*logits).mean().item()
