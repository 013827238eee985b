"""Models that answer with one of a few labels: an encoder and a head, which say it in one pass and write nothing.

They read texts, or images. The counterpart of chat, generate and objective. Around the loss, training
is the one of trainer.py.
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
    AutoImageProcessor,
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BaseImageProcessor,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
)

from ..errors import InputError
from ..record import Curve
from ..tasks.images import decode
from . import trainer
from .config import Divergence, Loss, TrainConfig
from .device import compute_dtype, pick_device
from .losses.classification import soft_classes
from .objective import learning
from .students import kept_layers

Reader = PreTrainedTokenizerBase | BaseImageProcessor  # what makes of a prompt what the model takes

PROCESSOR = "preprocessor_config.json"  # how a model's images are resized and scaled; models of text have none
LONGEST = 512  # tokens of a text; what is longer is cut, as the encoders here have no more positions


def make(encoder: Path, labels: Sequence[str], folder: Path) -> Path:
    """Write the ``encoder`` with a new head for ``labels`` to ``folder``; the head is the same every time."""
    if not folder.exists():
        torch.manual_seed(0)
        names = {"id2label": dict(enumerate(labels)), "label2id": {label: i for i, label in enumerate(labels)}}
        model, reader = load(encoder, "cpu", "float32", num_labels=len(labels), **names)
        folder.parent.mkdir(parents=True, exist_ok=True)
        trainer.save(model, reader, folder)
    return folder


def load(
    folder: Path, device: str = "auto", dtype: str | None = None, **settings: object
) -> tuple[PreTrainedModel, Reader]:
    """Classifier and its reader from a local folder, as `teachers.local.load` does it. Raises InputError."""
    where = pick_device(device)
    try:
        if reads_images(folder):
            auto = AutoModelForImageClassification
            reader = AutoImageProcessor.from_pretrained(folder, local_files_only=True, backend="pil")
        else:
            auto = AutoModelForSequenceClassification
            reader = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = auto.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype=dtype or compute_dtype(where), **settings
        )
    except (OSError, ValueError, KeyError) as error:
        what = str(error).strip().splitlines()[0].rstrip(".")
        raise InputError(f"{folder}: {what}; give the folder of an encoder or a classifier, in safetensors") from error
    return model.to(where), reader


def reads_images(folder: Path) -> bool:
    """Whether the model in ``folder`` takes images."""
    return (folder / PROCESSOR).is_file()


def labels_in(folder: Path) -> tuple[str, ...]:
    """The labels of the classifier in ``folder``, in the order of its logits."""
    names = AutoConfig.from_pretrained(folder, local_files_only=True).id2label
    return tuple(names[i] for i in sorted(names))


def cut(teacher: PreTrainedModel, keep: int) -> PreTrainedModel:
    """A copy of ``teacher`` with ``keep`` of its layers; the rest is copied whole (1910.01108, sec. 3).

    Raises ValueError where it has no such layers, or they cannot be that many.
    """
    student = copy.deepcopy(teacher)
    model, config = student.base_model, student.config
    if config.model_type == "resnet":
        _cut_stages(model.encoder.stages, config, keep)
        return student
    where, name = (model, "layers") if hasattr(model, "layers") else (getattr(model, "encoder", None), "layer")
    if not hasattr(where, name):
        raise ValueError(f"where a {config.model_type} has its layers is not known; give the folder of a smaller model")
    layers = getattr(where, name)
    setattr(where, name, torch.nn.ModuleList(layers[i] for i in kept_layers(len(layers), keep)))
    config.num_hidden_layers = keep
    return student


def _cut_stages(stages: torch.nn.ModuleList, config: PretrainedConfig, keep: int) -> None:
    """Leave a ResNet ``keep`` layers: the first blocks of every stage, as many of each (1512.03385, sec. 4.2)."""
    possible = {_resnet_layers(config, [n] * len(stages)): n for n in range(1, min(config.depths) + 1)}
    if keep not in possible:
        raise ValueError(f"a student of {keep} layers cannot be cut; ask for {' or '.join(map(str, possible))}")
    for stage in stages:
        stage.layers = stage.layers[: possible[keep]]
    config.depths = [possible[keep]] * len(stages)


def layers_of(config: PretrainedConfig) -> int | None:
    """How many layers a model of ``config`` has, None where it does not tell; a ResNet's are those in its name."""
    if config.model_type == "resnet":
        return _resnet_layers(config, config.depths)
    return getattr(config.get_text_config(), "num_hidden_layers", None)


def _resnet_layers(config: PretrainedConfig, depths: Sequence[int]) -> int:
    """The convolutions of so many blocks in each stage, the first one, and the head."""
    return sum(depths) * (3 if config.layer_type == "bottleneck" else 2) + 2


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
    model: PreTrainedModel, reader: Reader, prompts: Sequence[str], batch: int = 32
) -> Iterator[tuple[list[int], list[int], Tensor]]:
    """By batch of like lengths: indices into ``prompts``, tokens of each, and their logits (B, labels), float32."""
    rows = _encode(reader, prompts)
    order = sorted(range(len(rows)), key=lambda i: -_tokens(rows[i]))
    model.eval()
    for at in range(0, len(order), batch):
        indices = order[at : at + batch]
        inputs = {name: value.to(model.device) for name, value in _pad(reader, [rows[i] for i in indices]).items()}
        if "pixel_values" in inputs:
            inputs["pixel_values"] = inputs["pixel_values"].to(model.dtype)
        yield indices, [_tokens(rows[i]) for i in indices], model(**inputs).logits.float()


def _encode(reader: Reader, prompts: Sequence[str]) -> list[dict]:
    """What the model takes of each prompt: its tokens, or the pixels of its image. Raises InputError: no image."""
    if isinstance(reader, BaseImageProcessor):
        pixels = reader([decode(prompt) for prompt in prompts], return_tensors="pt")["pixel_values"]
        return [{"pixel_values": image} for image in pixels]
    return [{"input_ids": ids} for ids in reader(list(prompts), truncation=True, max_length=LONGEST)["input_ids"]]


def _pad(reader: Reader, rows: list[dict]) -> dict[str, Tensor]:
    """What `_encode` made of some prompts, as one batch."""
    if isinstance(reader, BaseImageProcessor):
        return {"pixel_values": torch.stack([row["pixel_values"] for row in rows])}
    return dict(reader.pad({"input_ids": [row["input_ids"] for row in rows]}, return_tensors="pt"))


def _tokens(row: dict) -> int:
    """How many tokens were read; an image is one."""
    return len(row["input_ids"]) if "input_ids" in row else 1


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
    """Train the classifier in ``start`` on ``prompts``, each with the number of its label, into ``folder``.

    ``teacher`` is the folder of the classifier whose distribution the loss gives a share to.
    """

    start: Path
    folder: Path
    prompts: list[str]
    labels: list[int]
    config: TrainConfig
    teacher: Path | None = None

    def run(self, device: str, on_step: Callable[[int], None]) -> Curve:
        """Train. Raises InputError where student and teacher do not have the same labels, OSError on a full disk."""
        model, reader = load(self.start, device, "float32")
        rows = [row | {"label": label} for row, label in zip(_encode(reader, self.prompts), self.labels, strict=True)]
        if self.config.loss.needs_teacher:
            for row, logits in zip(rows, self._given(device), strict=True):
                row["given"] = logits
        return _train(model, reader, rows, self.config, self.folder, on_step)

    def _given(self, device: str) -> Tensor:
        """The teacher's logits (N, C): one pass over what it would else see in every epoch."""
        ours, theirs = labels_in(self.start), labels_in(self.teacher)
        if ours != theirs:
            raise InputError(f"the student's labels are {', '.join(ours)}, the teacher's {', '.join(theirs)}")
        found = torch.empty(len(self.prompts), len(ours))
        for indices, _, logits in classify(*load(self.teacher, device), self.prompts):
            found[indices] = logits.cpu()
        return found


def _train(
    model: PreTrainedModel,
    reader: Reader,
    rows: list[dict],
    config: TrainConfig,
    folder: Path,
    on_step: Callable[[int], None],
) -> Curve:
    """As `trainer.train`, with what a killed run leaves, for examples of one label each."""

    def collate(some: list[dict]) -> dict[str, Tensor]:
        batch = _pad(reader, some)
        batch["labels"] = torch.tensor([row["label"] for row in some])
        return batch | ({"given": torch.stack([row["given"] for row in some])} if "given" in some[0] else {})

    objective = ClassObjective(config.loss)
    arguments = trainer.training_arguments(config, folder, model.device)
    arguments.per_device_train_batch_size = config.batch
    order = trainer.schedule([_tokens(row) for row in rows], config)
    watch = trainer.Watch(objective, config.checkpoint_seconds, on_step)
    with learning(model, objective):
        training = trainer.DistillationTrainer(
            objective,
            model=model,
            args=arguments,
            train_dataset=[rows[i] for i in order],
            data_collator=collate,
            processing_class=reader,
            callbacks=[watch],
        )
        training.remove_callback(PrinterCallback)
        training.train(resume_from_checkpoint=trainer.last_whole_checkpoint(folder))
    trainer.save(training.accelerator.unwrap_model(training.model), reader, folder / "model")
    return trainer.finish(training, rows, config, watch.seconds, folder)
