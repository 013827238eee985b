"""Training on completion tokens: one subclass of ``transformers.Trainer``.

Everything around the loss (optimizer, schedule, devices, checkpoints, resume) is the Trainer's own.
"""

from __future__ import annotations

import json
import random
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from ..record import Curve, write_atomic
from .chat import Row
from .config import TrainConfig
from .device import compute_dtype, keep_freed_memory

IGNORED = -100  # the label value that cross_entropy and the Trainer's token count pass over
FINISHED = "curve.json"  # written last: a folder that has it holds a whole training


class CompletionTrainer(Trainer):
    """Cross-entropy of the completion tokens, averaged over the tokens of the whole (accumulated) batch.

    The batch is padded on the left, so completions stand at the end of every row and ``logits_to_keep`` spares the
    prompt positions their product with the vocabulary matrix.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._loss_shifts_labels = False  # the labels stand where their logits do: each of them counts as an item

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        labels = inputs.pop("labels")
        outputs = model(**inputs, use_cache=False)
        logits = outputs.logits[:, :-1].float()
        loss = cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="sum")
        if num_items_in_batch is None:
            loss = loss / (labels != IGNORED).sum()
        else:  # of all processes, whose gradients are averaged, not added
            loss = loss * self.accelerator.num_processes / num_items_in_batch
        return (loss, outputs) if return_outputs else loss


class LeftPadding:
    """Collates rows into left-padded tensors: ``input_ids`` and ``attention_mask`` (B, T), ``labels`` (B, C).

    C is the longest completion of the batch; ``logits_to_keep`` = C + 1 makes the model return the C positions that
    predict the completions, and one more that predicts what follows them and carries no loss.
    """

    def __init__(self, pad_token_id: int):
        self.pad = pad_token_id

    def __call__(self, rows: Sequence[dict]) -> dict:
        width = max(len(row["input_ids"]) for row in rows)
        keep = max(row["completion"] for row in rows)
        ids = torch.full((len(rows), width), self.pad)
        mask = torch.zeros_like(ids)
        labels = torch.full((len(rows), keep), IGNORED)
        for i, row in enumerate(rows):
            n, c = len(row["input_ids"]), row["completion"]
            ids[i, width - n :] = torch.tensor(row["input_ids"])
            mask[i, width - n :] = 1
            labels[i, keep - c :] = ids[i, width - c :]
        return {
            "input_ids": ids,
            "attention_mask": mask,
            "position_ids": (mask.cumsum(-1) - 1).clamp(min=0),
            "labels": labels,
            "logits_to_keep": keep + 1,
        }


def schedule(rows: list[Row], config: TrainConfig) -> list[Row]:
    """The rows of every step in order: shuffled epochs, rows of like length in one batch, batches shuffled.

    Raises ValueError when there are no rows.
    """
    if not rows:
        raise ValueError("no rows to train on")
    rng = random.Random(config.seed)
    wanted = config.steps * config.batch
    ordered: list[Row] = []
    while len(ordered) < wanted:
        epoch = rng.sample(rows, len(rows))
        # Sorting the whole epoch would make its batches the same in every epoch; within a window it does not.
        window = config.batch * 8
        windows = [sorted(epoch[i : i + window], key=lambda r: len(r.input_ids)) for i in range(0, len(epoch), window)]
        batches = [w[i : i + config.batch] for w in windows for i in range(0, len(w), config.batch)]
        rng.shuffle(batches)
        ordered += [row for batch in batches for row in batch]
    return ordered[:wanted]


class _Watch(TrainerCallback):
    """Reports steps, counts seconds across restarts, and asks for a checkpoint by the clock."""

    def __init__(self, every_seconds: float, on_step: Callable[[int], None]):
        self.every, self.on_step = every_seconds, on_step
        self.seconds = 0.0  # spent training, before a restart too: the log, and so every checkpoint, carries it

    def on_train_begin(self, args, state, control, **_):
        self.seconds = state.log_history[-1]["seconds"] if state.log_history else 0.0
        self.now = self.saved = time.monotonic()
        self.on_step(state.global_step)

    def on_step_end(self, args, state, control, **_):
        last, self.now = self.now, time.monotonic()
        self.seconds += self.now - last
        self.on_step(state.global_step)
        if self.now - self.saved >= self.every and state.global_step < state.max_steps:
            control.should_save = True

    def on_log(self, args, state, control, **_):
        state.log_history[-1]["seconds"] = self.seconds

    def on_save(self, args, state, control, **_):
        self.saved = time.monotonic()


def train(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: list[Row],
    config: TrainConfig,
    folder: Path,
    on_step: Callable[[int], None] = lambda step: None,
) -> Curve:
    """Train ``model`` on ``rows`` and save it, with its tokenizer, under ``folder``/model.

    A killed run that is started again continues from its last whole checkpoint.
    Raises OSError when the disk is full.
    """
    device = model.device
    if device.type == "cpu":
        keep_freed_memory()
    watch = _Watch(config.checkpoint_seconds, on_step)
    trainer = CompletionTrainer(
        model=model,
        args=TrainingArguments(
            output_dir=str(folder),
            max_steps=config.steps,
            per_device_train_batch_size=config.batch,
            learning_rate=config.learning_rate,
            lr_scheduler_type="cosine",
            warmup_steps=min(config.warmup_steps, config.steps // 3),
            seed=config.seed,
            use_cpu=device.type == "cpu",
            bf16=compute_dtype(device) == torch.bfloat16,
            train_sampling_strategy="sequential",  # `schedule` has drawn the order, so a resumed run keeps to it
            remove_unused_columns=False,
            logging_steps=1,
            logging_nan_inf_filter=False,  # a NaN is to be seen, and looking for it would wait for the device
            save_strategy="no",  # _Watch asks by the clock instead
            save_total_limit=1,
            disable_tqdm=True,
            report_to="none",
        ),
        train_dataset=[asdict(r) for r in schedule(rows, config)],
        data_collator=LeftPadding(tokenizer.pad_token_id),
        processing_class=tokenizer,
        callbacks=[watch],
    )
    trainer.remove_callback(PrinterCallback)  # the curve keeps what it would print
    model.config.use_cache = False
    trainer.train(resume_from_checkpoint=_last_whole_checkpoint(folder))
    model.config.use_cache = True
    save(model, tokenizer, folder / "model")
    logged = [entry for entry in trainer.state.log_history if "loss" in entry]
    curve = Curve(
        steps=[entry["step"] for entry in logged],
        loss=[entry["loss"] for entry in logged],
        learning_rate=config.learning_rate,
        epochs=config.steps * config.batch / len(rows),
        batch=config.batch,
        seconds=watch.seconds,
        seed=config.seed,
    )
    write_atomic(folder / FINISHED, curve.model_dump_json())
    for checkpoint in folder.glob("checkpoint-*"):
        shutil.rmtree(checkpoint)
    return curve


def _last_whole_checkpoint(folder: Path) -> str | None:
    """The newest checkpoint whose last-written file is complete; a kill may leave a half-written newer one."""
    for path in sorted(folder.glob("checkpoint-*"), key=lambda p: -int(p.name.rpartition("-")[2])):
        try:
            json.loads((path / "trainer_state.json").read_text())
        except (OSError, ValueError):
            shutil.rmtree(path)
            continue
        return str(path)
    return None


def save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write safetensors, configuration, tokenizer and chat template; ``folder`` appears whole or not at all."""
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    model.save_pretrained(part)
    tokenizer.save_pretrained(part)
    shutil.rmtree(folder, ignore_errors=True)
    part.replace(folder)
