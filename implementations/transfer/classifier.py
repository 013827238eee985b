"""Models that answer with one of a few labels: an encoder and a head, which say it in one pass and write nothing.

The counterpart of chat, generate and objective. Around the loss, training is the one of trainer.py.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
)

from ..errors import InputError
from ..record import Curve
from . import trainer
from .config import Divergence, Loss, TrainConfig
from .device import compute_dtype, pick_device
from .losses.classification import soft_classes
from .objective import learning
from .students import kept_layers

LONGEST = 512  # tokens of a text; what is longer is cut, as the encoders here have no more positions


def make(encoder: Path, labels: Sequence[str], folder: Path) -> Path:
    """Write the ``encoder`` with a new head for ``labels`` to ``folder``; the head is the same every time."""
    if not folder.exists():
        torch.manual_seed(0)
        names = {"id2label": dict(enumerate(labels)), "label2id": {label: i for i, label in enumerate(labels)}}
        model, tokenizer = load(encoder, "cpu", "float32", num_labels=len(labels), **names)
        folder.parent.mkdir(parents=True, exist_ok=True)
        trainer.save(model, tokenizer, folder)
    return folder


def load(
    folder: Path, device: str = "auto", dtype: str | None = None, **settings: object
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Classifier and tokenizer from a local folder, as `teachers.local.load` does it. Raises InputError."""
    where = pick_device(device)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = AutoModelForSequenceClassification.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype=dtype or compute_dtype(where), **settings
        )
    except (OSError, ValueError, KeyError) as error:
        what = str(error).strip().splitlines()[0].rstrip(".")
        raise InputError(f"{folder}: {what}; give the folder of an encoder or a classifier, in safetensors") from error
    return model.to(where), tokenizer


def labels_in(folder: Path) -> tuple[str, ...]:
    """The labels of the classifier in ``folder``, in the order of its logits."""
    names = AutoConfig.from_pretrained(folder, local_files_only=True).id2label
    return tuple(names[i] for i in sorted(names))


def cut(teacher: PreTrainedModel, keep: int) -> PreTrainedModel:
    """A copy of ``teacher`` with ``keep`` of its layers; embeddings and head are copied whole (1910.01108, sec. 3)."""
    layers = teacher.base_model.encoder.layer
    indices = kept_layers(len(layers), keep)
    student = copy.deepcopy(teacher)
    student.base_model.encoder.layer = torch.nn.ModuleList(student.base_model.encoder.layer[i] for i in indices)
    student.config.num_hidden_layers = keep
    return student


def label_of(answer: str, labels: Sequence[str]) -> int | None:
    """Which label ``answer`` names: the whole of it, or its first word, whatever stands around; None if it names none.

    >>> label_of("**Spam.**", ["ham", "spam"])
    1
    """
    by_name = {label.lower(): i for i, label in enumerate(labels)}
    word = re.search(r"[^\W\d_]+", answer)
    return by_name.get(answer.strip().lower(), by_name.get(word.group().lower()) if word else None)


@torch.inference_mode()
def classify(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], batch: int = 32
) -> Iterator[tuple[list[int], list[int], Tensor]]:
    """By batch of like lengths: indices into ``texts``, tokens of each, and their logits (B, labels), float32."""
    encoded = _encode(tokenizer, texts)
    order = sorted(range(len(texts)), key=lambda i: -len(encoded[i]))
    model.eval()
    for at in range(0, len(order), batch):
        indices = order[at : at + batch]
        inputs = tokenizer.pad({"input_ids": [encoded[i] for i in indices]}, return_tensors="pt").to(model.device)
        yield indices, [len(encoded[i]) for i in indices], model(**inputs).logits.float()


def _encode(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    return tokenizer(list(texts), truncation=True, max_length=LONGEST)["input_ids"]


class ClassObjective:
    """What a classifier learns, in place of `objective.Objective`: the sum over a batch, each example one item.

    alpha · CE(label) + (1 − alpha) · T² · KL(teacher ‖ student); see losses/classification.py.
    """

    features, measure_norms = None, False

    def __init__(self, loss: Loss):
        if loss.features or loss.on_policy or loss.divergence is not Divergence.FORWARD_KL:
            raise InputError("a classifier learns labels and their probabilities, by forward KL, and nothing else")
        self.loss, self.norms = loss, {}
        self.take()

    def __call__(self, student: PreTrainedModel, labels: Tensor, given: Tensor | None = None, **inputs: Tensor):
        """``labels`` (B,), ``given`` the teacher's logits (B, C) where it has a share, ``inputs`` the model's own."""
        logits = type(student).forward(student, **inputs).logits
        given = logits.detach() if given is None else given
        terms = soft_classes(logits, given, labels, self.loss.alpha, self.loss.temperature)
        found = {"cross_entropy": terms.cross_entropy, "distillation": terms.distillation}
        for name, term in found.items() if self.loss.needs_teacher else ():
            self.sums[name] = self.sums.get(name, 0) + term.detach().sum()
        self.items += len(labels)
        return terms.total.sum()

    def take(self) -> tuple[dict[str, Tensor], int]:
        """The terms' sums and the number of examples since the last call."""
        taken = getattr(self, "sums", {}), getattr(self, "items", 0)
        self.sums, self.items = {}, 0
        return taken


@dataclass(frozen=True)
class ClassJob:
    """Train the classifier in ``start`` on ``texts``, each with the number of its label, into ``folder``.

    ``teacher`` is the folder of the classifier whose distribution the loss gives a share to.
    """

    start: Path
    folder: Path
    texts: list[str]
    labels: list[int]
    config: TrainConfig
    teacher: Path | None = None

    def run(self, device: str, on_step: Callable[[int], None]) -> Curve:
        """Train. Raises InputError where student and teacher do not have the same labels, OSError on a full disk."""
        model, tokenizer = load(self.start, device, "float32")
        rows = [
            {"input_ids": ids, "label": label}
            for ids, label in zip(_encode(tokenizer, self.texts), self.labels, strict=True)
        ]
        if self.config.loss.needs_teacher:
            for row, logits in zip(rows, self._given(device), strict=True):
                row["given"] = logits
        return _train(model, tokenizer, rows, self.config, self.folder, on_step)

    def _given(self, device: str) -> Tensor:
        """The teacher's logits (N, C): one pass over what it would else see in every epoch."""
        ours, theirs = labels_in(self.start), labels_in(self.teacher)
        if ours != theirs:
            raise InputError(f"the student's labels are {', '.join(ours)}, the teacher's {', '.join(theirs)}")
        found = torch.empty(len(self.texts), len(ours))
        for indices, _, logits in classify(*load(self.teacher, device), self.texts):
            found[indices] = logits.cpu()
        return found


def _train(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: list[dict],
    config: TrainConfig,
    folder: Path,
    on_step: Callable[[int], None],
) -> Curve:
    """As `trainer.train`, with what a killed run leaves, for examples of one label each."""

    def collate(some: list[dict]) -> dict[str, Tensor]:
        batch = dict(tokenizer.pad({"input_ids": [row["input_ids"] for row in some]}, return_tensors="pt"))
        batch["labels"] = torch.tensor([row["label"] for row in some])
        return batch | ({"given": torch.stack([row["given"] for row in some])} if "given" in some[0] else {})

    objective = ClassObjective(config.loss)
    arguments = trainer.training_arguments(config, folder, model.device)
    arguments.per_device_train_batch_size = config.batch
    order = trainer.schedule([len(row["input_ids"]) for row in rows], config)
    watch = trainer.Watch(objective, config.checkpoint_seconds, on_step)
    with learning(model, objective):
        training = trainer.DistillationTrainer(
            objective,
            model=model,
            args=arguments,
            train_dataset=[rows[i] for i in order],
            data_collator=collate,
            processing_class=tokenizer,
            callbacks=[watch],
        )
        training.remove_callback(PrinterCallback)
        training.train(resume_from_checkpoint=trainer.last_whole_checkpoint(folder))
    trainer.save(training.accelerator.unwrap_model(training.model), tokenizer, folder / "model")
    return trainer.finish(training, rows, config, watch.seconds, folder)
