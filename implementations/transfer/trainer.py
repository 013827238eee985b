"""Training on completion tokens: one subclass of ``transformers.Trainer``.

What is learnt is the objective's; everything around it (optimizer, schedule, devices, processes, checkpoints, resume)
is the Trainer's own.
"""

from __future__ import annotations

import json
import random
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch
from accelerate.utils import reduce
from torch import Tensor
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from ..errors import InputError
from ..record import Curve, write_atomic
from . import on_policy
from .chat import Row
from .collate import RightPadding
from .config import ONE_PIECE, TrainConfig
from .device import compute_dtype, keep_freed_memory
from .features import hidden_state_loss
from .heads import check_head
from .objective import PROJECTIONS, TERMS, Objective, Teacher, learning
from .on_policy import Writer
from .signals import SignalCache

LOG_STEPS = 10  # between two logs on a GPU
NORM_STEPS = 20  # between two measurements of the terms' gradients: each costs the head's work once more a term
FINISHED = "curve.json"  # written last: a folder that has it holds a whole training


class DistillationTrainer(Trainer):
    """Trains a student whose forward is an ``Objective``: what that sums up is averaged over the tokens of the step.

    The step's tokens are those of all processes and all accumulated batches, so the curve does not depend on how the
    rows were spread.
    """

    def __init__(self, objective: Objective, *args, writer: Writer | None = None, **kwargs):
        super().__init__(*args, **kwargs)
        self.objective, self.writer = objective, writer
        self._loss_shifts_labels = False  # the labels stand where their logits do: each of them counts as an item
        self.model_accepts_loss_kwargs = True  # so that the items are counted

    def get_batch_samples(self, epoch_iterator: Iterator, num_batches: int, device: torch.device):
        # Here and not in the data set: that is read ahead, with the weights of an earlier step.
        if self.writer:
            own = partial(self.writer.batch, self.state.global_step, autocast=self.accelerator.autocast)
            epoch_iterator = map(own, epoch_iterator)
        return super().get_batch_samples(epoch_iterator, num_batches, device)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        # Gradients of several processes are averaged, not added: each gives its share times their number.
        return model(**inputs) * self.accelerator.num_processes / num_items_in_batch


def schedule(lengths: Sequence[int], config: TrainConfig) -> list[int]:
    """The rows of every step in order, by index: shuffled epochs, rows of like length in one batch, batches shuffled.

    ``lengths`` is in tokens, by row. Raises ValueError when there are no rows.
    """
    if not lengths:
        raise ValueError("no rows to train on")
    rng = random.Random(config.seed)
    wanted = config.steps * config.batch
    ordered: list[int] = []
    while len(ordered) < wanted:
        epoch = rng.sample(range(len(lengths)), len(lengths))
        # Sorting the whole epoch would make its batches the same in every epoch; within a window it does not.
        window = config.batch * 8
        windows = [sorted(epoch[i : i + window], key=lengths.__getitem__) for i in range(0, len(epoch), window)]
        batches = [w[i : i + config.batch] for w in windows for i in range(0, len(w), config.batch)]
        rng.shuffle(batches)
        ordered += [row for batch in batches for row in batch]
    return ordered[:wanted]


class Watch(TrainerCallback):
    """Reports steps, counts seconds across restarts, asks for a checkpoint by the clock, and keeps what is logged.

    A log of the Trainer's makes the host wait for the device, so on a GPU it comes every ``LOG_STEPS`` steps; every
    step's loss is in the mean that it shows.
    """

    def __init__(
        self, objective: Objective, every_seconds: float, on_step: Callable[[int], None], writer: Writer | None = None
    ):
        self.objective, self.every, self.on_step, self.writer = objective, every_seconds, on_step, writer
        self.round = writer.own.refresh if writer else 1  # steps between two places where a training can go on
        self.seconds = 0.0  # spent training, before a restart too: the log, and so every checkpoint, carries it

    def on_train_begin(self, args, state, control, **_):
        self.seconds = state.log_history[-1]["seconds"] if state.log_history else 0.0
        self.now = self.saved = time.monotonic()
        self.on_step(state.global_step)

    def on_step_begin(self, args, state, control, **_):
        self.objective.measure_norms = state.global_step % NORM_STEPS == 0 and self.objective.loss.needs_teacher

    def on_step_end(self, args, state, control, **_):
        if state.global_step == state.max_steps:
            control.should_log = True
            if torch.cuda.is_available():
                torch.cuda.synchronize()  # what the host has asked for is not yet done
        last, self.now = self.now, time.monotonic()
        self.seconds += self.now - last
        self.on_step(state.global_step)
        due = self.now - self.saved >= self.every and state.global_step < state.max_steps
        if due and state.global_step % self.round == 0:
            control.should_save = True

    def on_log(self, args, state, control, **_):
        entry = state.log_history[-1]
        entry["seconds"] = self.seconds
        entry |= self._of_all_processes(self.objective)
        if self.writer:
            entry |= self._written(self.writer)

    def _of_all_processes(self, objective: Objective) -> dict[str, float]:
        """Each term's mean over the tokens since the last log, and the norms of the gradients, where taken."""
        sums, tokens = objective.take()
        if not sums:
            return {}
        squares, objective.norms = [norm.square() for norm in objective.norms.values()], {}
        stacked = torch.stack([*sums.values(), *squares])
        *values, tokens = reduce(torch.cat([stacked, stacked.new_tensor([tokens])]), "sum").tolist()
        found = {name: value / tokens for name, value in zip(sums, values, strict=False)}
        return found | {f"norm_{name}": square**0.5 for name, square in zip(sums, values[len(sums) :], strict=False)}

    def _written(self, writer: Writer) -> dict[str, float]:
        """Of the answers written since the last log, by all processes: the shares of empty and of cut ones."""
        counts, seconds = writer.take()
        answers, *some = reduce(torch.tensor(counts, device=writer.student.device), "sum").tolist()
        return dict(zip(on_policy.TERMS, (*(n / answers for n in some), seconds), strict=True)) if answers else {}

    def on_save(self, args, state, control, **_):
        self.saved = time.monotonic()


def train(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: list[Row],
    config: TrainConfig,
    folder: Path,
    on_step: Callable[[int], None] = lambda step: None,
    teacher: Teacher | None = None,
    signals: SignalCache | None = None,
    vocabulary: int | None = None,
) -> Curve:
    """Train ``model`` on ``rows`` and save it, with its tokenizer, under ``folder``/model.

    A killed run that is started again continues from its last whole checkpoint. Under ``accelerate launch`` every
    process calls this with the same arguments, and each takes its share of every batch.
    Raises InputError where the batch cannot be shared out, the model's head is not known, or a student whose parameters
    are spread over processes is to write; OSError on a full disk.
    """
    device = model.device
    if device.type == "cpu":
        keep_freed_memory()
    check_head(model, "the student")
    wanted, live = config.loss.features, teacher.model if teacher else None
    features = hidden_state_loss(wanted, model, live) if wanted and live else None
    objective = Objective(config.loss, teacher, vocabulary, features)
    arguments = training_arguments(config, folder, device)
    if config.batch % arguments.world_size:
        raise InputError(
            f"a batch of {config.batch} rows cannot be shared by {arguments.world_size} processes; start a number of "
            "processes that divides it"
        )
    arguments.per_device_train_batch_size = config.batch // arguments.world_size
    order = schedule([len(row.input_ids) for row in rows], config)
    writer = Writer(model, tokenizer, rows, order, config) if config.loss.on_policy else None
    watch = Watch(objective, config.checkpoint_seconds, on_step, writer)
    with learning(model, objective):
        trainer = DistillationTrainer(
            objective,
            writer=writer,
            model=model,
            args=arguments,
            train_dataset=range(len(order)) if writer else [asdict(rows[i]) | {"row": i} for i in order],
            data_collator=list if writer else RightPadding(tokenizer.pad_token_id, signals.read if signals else None),
            processing_class=tokenizer,
            callbacks=[watch],
        )
        trainer.remove_callback(PrinterCallback)  # the curve keeps what it would print
        if writer and (trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled):
            raise InputError(ONE_PIECE)
        trainer.train(resume_from_checkpoint=last_whole_checkpoint(folder))
        weights = trainer.accelerator.get_state_dict(trainer.model_wrapped)  # whole, also where processes hold shards
    weights = {name: value for name, value in weights.items() if not name.startswith(f"{PROJECTIONS}.")}
    if trainer.is_world_process_zero():
        save(trainer.accelerator.unwrap_model(trainer.model), tokenizer, folder / "model", weights)
    return finish(trainer, rows, config, watch.seconds, folder)


def training_arguments(config: TrainConfig, folder: Path, device: torch.device) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(folder),
        max_steps=config.steps,
        learning_rate=config.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=min(config.warmup_steps, config.steps // 3),
        seed=config.seed,
        use_cpu=device.type == "cpu",
        bf16=compute_dtype(device) == torch.bfloat16,
        accelerator_config={"non_blocking": True},  # else the host waits for the device to take the next batch
        train_sampling_strategy="sequential",  # `schedule` has drawn the order, so a resumed run keeps to it
        remove_unused_columns=False,
        logging_steps=1 if device.type == "cpu" else LOG_STEPS,
        logging_first_step=True,
        logging_nan_inf_filter=False,  # a NaN is to be seen, and looking for it would wait for the device
        save_strategy="no",  # Watch asks by the clock instead
        save_total_limit=1,
        disable_tqdm=True,
        report_to="none",
    )


def finish(trainer: Trainer, rows: list[Row], config: TrainConfig, seconds: float, folder: Path) -> Curve:
    """The curve, written last: a folder that has it holds a whole training. Checkpoints have done their service."""
    logged = [entry for entry in trainer.state.log_history if "loss" in entry]
    curve = Curve(
        steps=[entry["step"] for entry in logged],
        loss=[entry["loss"] for entry in logged],
        terms=_terms(logged),
        learning_rate=config.learning_rate,
        epochs=config.steps * config.batch / len(rows),
        batch=config.batch,
        seconds=seconds,
        seed=config.seed,
    )
    if trainer.is_world_process_zero():
        write_atomic(folder / FINISHED, curve.model_dump_json())
        for checkpoint in folder.glob("checkpoint-*"):
            shutil.rmtree(checkpoint)
    return curve


def _terms(logged: list[dict]) -> dict[str, dict[int, float]]:
    """Each term of the loss and the norm of its gradient by step, and what the student's writing was like.

    Empty where the loss is the cross-entropy and nothing else.
    """
    found: dict[str, dict[int, float]] = {}
    for entry in logged:
        for name in (*TERMS, *(f"norm_{term}" for term in TERMS), *on_policy.TERMS):
            if name in entry:
                found.setdefault(name, {})[entry["step"]] = round(entry[name], 6)
    return found if found.keys() - {"cross_entropy"} else {}


def last_whole_checkpoint(folder: Path) -> str | None:
    """The newest checkpoint whose last-written file is complete; a kill may leave a half-written newer one."""
    for path in sorted(folder.glob("checkpoint-*"), key=lambda p: -int(p.name.rpartition("-")[2])):
        try:
            json.loads((path / "trainer_state.json").read_text())
        except (OSError, ValueError):
            shutil.rmtree(path)
            continue
        return str(path)
    return None


def save(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path, weights: dict[str, Tensor] | None = None
) -> None:
    """Write safetensors, configuration, tokenizer and chat template; ``folder`` appears whole or not at all.

    ``weights`` are the model's, where they are not all in this process.
    """
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    model.save_pretrained(part, state_dict=weights)
    tokenizer.save_pretrained(part)
    shutil.rmtree(folder, ignore_errors=True)
    part.replace(folder)
