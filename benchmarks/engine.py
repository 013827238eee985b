"""The engine beside TRL's GKDTrainer, on the same rows and in the same dtype: python benchmarks/engine.py [ROUNDS]

Teacher: the embedded SmolLM2-135M-Instruct; student: every third of its layers; 4 rows a step of two clinical notes and
their two summaries each. TRL (the extra ``peers``) runs with ``lmbda=0``, so it learns from the same given text, with
and without gradient checkpointing. Every variant runs in a fresh process, in turn. Prints for each: tokens (prompt and
completion) a second, and peak memory above the loaded models; then where a step's time goes, what its matrix products
alone take, what the cache takes on disk, and how far losses and gradients are from float64.

    python benchmarks/engine.py --device cuda --batch 64 --json gpu.json     # on a GPU; the figures as JSON too
"""

from __future__ import annotations

import argparse
import inspect
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

BATCH, STEPS, WARM_UP = 4, 14, 2
ROWS = 16 * BATCH
LEARNING_RATE = 1e-4
HOME = Path(tempfile.gettempdir()) / "benchmark-engine"
PEERS = {"TRL GKDTrainer": True, "TRL GKDTrainer, no checkpointing": False}
OURS = {"cross-entropy alone": None, "teacher in every step": "live", "cached hidden state": "hidden"}
OURS |= {"cached top-50": "top_k"}
FILLING = {"filling, hidden state": "hidden", "filling, top-50": "top_k"}


def notes(number: int) -> list[tuple[str, str]]:
    """Prompts of some 215 tokens and completions of some 60."""
    from implementations.tasks.clinical_summary import ClinicalSummary
    from implementations.tasks.task import Sizes

    drawn = ClinicalSummary().splits(Sizes(2 * number, 0, 0, 0, 0), seed=0).gold
    pairs = zip(drawn[::2], drawn[1::2], strict=True)
    return [(f"{a.prompt}\n\n{b.prompt}", f"{a.reference} {b.reference}") for a, b in pairs]


def prepare(device: str) -> None:
    """Teacher, student, and the filled caches, once for all variants."""
    from implementations.teachers import embedded
    from implementations.teachers.local import load
    from implementations.transfer import students, trainer

    teacher = HOME / "teacher" / "model"
    if not teacher.exists():
        embedded.materialize(teacher)
        model, tokenizer = load(teacher, "cpu", "float32")
        trainer.save(students.cut(model, 10), tokenizer, HOME / "student")
    for source in ("hidden", "top_k"):
        job(source, HOME).fill(device, lambda done: None)


def job(source: str | None, folder: Path):
    """Our training, by where the teacher's distribution comes from."""
    from transformers import AutoTokenizer

    from implementations.tasks.clinical_summary import ClinicalSummary
    from implementations.transfer.chat import row
    from implementations.transfer.config import Loss, Source, TrainConfig
    from implementations.transfer.job import Job

    tokenizer = AutoTokenizer.from_pretrained(HOME / "student")
    rows = [row(tokenizer, ClinicalSummary.instruction, *pair) for pair in notes(ROWS)]
    loss = Loss(alpha=0.0, source=Source(source)) if source else Loss()
    config = TrainConfig(STEPS, LEARNING_RATE, batch=BATCH, loss=loss, checkpoint_seconds=1e9)
    return Job(HOME / "student", folder, rows, config, HOME / "teacher" / "model", HOME / f"signals-{source}-{ROWS}")


def step_parts(live: object) -> list[tuple[object, str, Callable[..., str]]]:
    """The calls that make up a step, by owner and name, and what each counts as; ``live`` is the teacher's model."""
    from accelerate import Accelerator
    from torch.optim import AdamW

    from implementations.transfer import collate, objective

    return [
        (objective, "hidden_states", lambda model, *_: "teacher" if model is live else "student forward"),
        (objective, "head_loss", lambda *_: "head and loss"),
        (collate.RightPadding, "__call__", lambda *_: "collate and decode"),
        (Accelerator, "backward", lambda *_: "backward"),
        (AdamW, "step", lambda *_: "optimizer"),
    ]


def ours(source: str | None, device: str) -> dict:
    """Seconds of each step and peak memory, in this process; the time of a step's parts."""
    from implementations.transfer import job as jobs
    from implementations.transfer import trainer

    parts: dict[str, float] = {}
    times, before = [], []
    whole = trainer.train

    def watched(*arguments, **keywords):
        before.append(memory(device))
        teacher = inspect.signature(whole).bind(*arguments, **keywords).arguments.get("teacher")
        for owner, name, part in step_parts(teacher.model if teacher else None):
            timed(parts, owner, name, part)
        return whole(*arguments, **keywords)

    jobs.train = watched
    with tempfile.TemporaryDirectory() as scratch:
        made = job(source, Path(scratch))
        made.run(device, lambda step: (settle(device), times.append(time.perf_counter())))
        tokens = scheduled_tokens(made)
    return result(times, tokens, before[0], device) | {"parts": {k: v / STEPS for k, v in parts.items()}}


def filling(source: str, device: str) -> dict:
    """Tokens a second at which the teacher fills an empty cache; its first batch is left out."""
    with tempfile.TemporaryDirectory() as scratch:
        made, times = job(source, HOME), []
        made = replace(made, signals=Path(scratch) / made.signals.name)
        made.fill(device, lambda done: (settle(device), times.append((time.perf_counter(), done))))
    lengths = sorted((len(row.input_ids) for row in made.rows), reverse=True)
    (started, skipped), (ended, _) = times[1], times[-1]
    return {"tokens_per_s": sum(lengths[skipped:]) / (ended - started)}


def peer(checkpointing: bool, device: str) -> dict:
    """TRL's trainer on the same rows in the same order."""
    import torch
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl.experimental.gkd import GKDConfig, GKDTrainer

    from implementations.tasks.clinical_summary import ClinicalSummary
    from implementations.teachers.local import load
    from implementations.transfer.device import compute_dtype, keep_freed_memory, pick_device
    from implementations.transfer.trainer import schedule

    made = job("live", HOME)
    if device == "cpu":
        keep_freed_memory()  # the same allocator for both
    order = schedule([len(row.input_ids) for row in made.rows], made.config)
    pairs = notes(ROWS)
    turns = [
        {
            "messages": [
                {"role": "system", "content": ClinicalSummary.instruction},
                {"role": "user", "content": pairs[i][0]},
                {"role": "assistant", "content": pairs[i][1]},
            ]
        }
        for i in order
    ]
    student, tokenizer = load(made.start, device, "float32")
    teacher, _ = load(made.teacher, device)
    before, times = memory(device), []

    class Watch(TrainerCallback):
        def on_train_begin(self, *_, **__):
            self.on_step_end()

        def on_step_end(self, *_, **__):
            settle(device)
            times.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as scratch:
        trainer = GKDTrainer(
            model=student,
            teacher_model=teacher,
            args=GKDConfig(
                output_dir=scratch, lmbda=0.0, beta=0.0, temperature=1.0, max_steps=STEPS, max_length=1024,
                per_device_train_batch_size=BATCH, learning_rate=LEARNING_RATE, logging_steps=1, report_to="none",
                save_strategy="no", disable_tqdm=True, use_cpu=device == "cpu", gradient_checkpointing=checkpointing,
                bf16=compute_dtype(pick_device(device)) == torch.bfloat16, train_sampling_strategy="sequential",
            ),
            train_dataset=Dataset.from_list(turns),
            processing_class=tokenizer,
            callbacks=[Watch()],
        )  # fmt: skip
        trainer.train()
    return result(times, scheduled_tokens(made), before, device)


def scheduled_tokens(made) -> list[int]:
    """Tokens of the rows of every step, prompt and completion, without padding."""
    from implementations.transfer.trainer import schedule

    lengths = [len(row.input_ids) for row in made.rows]
    order = schedule(lengths, made.config)
    return [sum(lengths[i] for i in order[at : at + BATCH]) for at in range(0, len(order), BATCH)]


def result(times: list[float], tokens: list[int], before: float, device: str) -> dict:
    seconds = [b - a for a, b in pairwise(times)]
    rates = [t / s for t, s in zip(tokens, seconds, strict=True)][WARM_UP:]
    return {
        "tokens_per_s": statistics.median(rates),
        "seconds": statistics.median(seconds[WARM_UP:]),
        "mib": memory(device, peak=True) - before,
    }


def timed(parts: dict[str, float], owner: object, name: str, part: Callable[..., str]) -> None:
    """Count what calls of ``owner.name`` take, under the name that ``part`` gives the call."""
    inner = getattr(owner, name)

    def outer(*arguments, **keywords):
        started = time.perf_counter()
        try:
            return inner(*arguments, **keywords)
        finally:
            of = part(*arguments)
            parts[of] = parts.get(of, 0.0) + time.perf_counter() - started

    setattr(owner, name, outer)


def memory(device: str, peak: bool = False) -> float:
    """MiB that this process holds, or has held at most."""
    if device != "cpu":
        import torch

        return (torch.cuda.max_memory_allocated() if peak else torch.cuda.memory_allocated()) / 2**20
    name = "VmHWM:" if peak else "VmRSS:"
    [kib] = [line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name)]
    return int(kib) / 1024


def settle(device: str) -> None:
    if device != "cpu":
        import torch

        torch.cuda.synchronize()


def floor(device: str) -> dict:
    """What the matrix products of one step alone take, each at its own shape and in the dtype of training."""
    import torch

    from implementations.teachers.local import load
    from implementations.transfer.device import compute_dtype, keep_freed_memory, pick_device

    if device == "cpu":
        keep_freed_memory()
    made, dtype = job("live", HOME), compute_dtype(pick_device(device))
    tokens = statistics.mean(scheduled_tokens(made))
    completions = BATCH * statistics.mean(row.completion for row in made.rows)

    def product(rows: int, inner: int, columns: int) -> float:
        a, b = (torch.randn(shape, device=device, dtype=dtype) for shape in ((rows, inner), (inner, columns)))
        seconds = []
        for _ in range(6):
            settle(device)
            started = time.perf_counter()
            a @ b
            settle(device)
            seconds.append(time.perf_counter() - started)
        return min(seconds)

    def layers(folder: Path, backward: bool) -> float:
        model, _ = load(folder, "cpu", "bfloat16")
        shapes = [m.weight.shape for m in model.base_model.modules() if isinstance(m, torch.nn.Linear)]
        cost = {
            (o, i): product(round(tokens), i, o)
            + (product(round(tokens), o, i) + product(o, round(tokens), i) if backward else 0)
            for o, i in set(map(tuple, shapes))
        }
        return sum(cost[tuple(shape)] for shape in shapes)

    vocabulary, width = load(made.teacher, "cpu")[0].get_output_embeddings().weight.shape
    n = round(completions)
    head = product(n, width, vocabulary)
    return {
        "student's layers, forward and backward": layers(made.start, True),
        "student's head, forward and backward": head + product(n, vocabulary, width) + product(vocabulary, n, width),
        "teacher's layers": layers(made.teacher, False),
        "teacher's head": head,
    }


def cache() -> dict:
    """What the caches take on disk, and how far they are from the teacher."""
    from implementations.teachers.local import load
    from implementations.transfer.signals import measured_error

    model, _ = load(HOME / "teacher" / "model", "cpu")
    found = {}
    for source in ("hidden", "top_k"):
        made = job(source, HOME)
        opened = made._cache()
        error = measured_error(opened, model, made.rows, 16)
        found[source] = {
            "bytes_per_token": opened.bytes_per_token,
            "mean_kl": error.mean_kl,
            "max_kl": error.max_kl,
            "mean_tail": error.mean_tail,
        }
    return found


def exactness() -> dict:
    """The largest relative error of loss and gradients in float32, dense and in chunks, against float64."""
    import torch

    from implementations.teachers.local import load
    from implementations.transfer.codecs import TopK
    from implementations.transfer.collate import RightPadding
    from implementations.transfer.heads import last_hidden
    from implementations.transfer.losses.divergence import forward_kl, generalized_jsd, reverse_kl
    from implementations.transfer.losses.head import head_loss
    from implementations.transfer.losses.top_k import top_k_kl

    made = job("live", HOME)
    batch = RightPadding(0)([vars(row) | {"row": 0} for row in made.rows[:2]])
    models = [load(folder, "cpu", "float32")[0] for folder in (made.start, made.teacher)]
    with torch.no_grad():
        hidden, theirs = (last_hidden(model, batch["input_ids"], batch["positions"]) for model in models)
        head, their_head = (model.get_output_embeddings().weight for model in models)
        logits = theirs @ their_head.T
    kept = TopK(50, logits.shape[-1]).decode(TopK(50, logits.shape[-1]).encode(logits))
    losses = {
        "forward KL": lambda q, rows, p: forward_kl(q, p[rows], 2.0),
        "reverse KL": lambda q, rows, p: reverse_kl(q, p[rows], 2.0),
        "JSD(½)": lambda q, rows, p: generalized_jsd(q, p[rows], 0.5),
        "top-50 KL": lambda q, rows, p: top_k_kl(
            q, *(kept[k][rows].to(p) if k != "ids" else kept[k][rows] for k in kept)
        ),
    }

    def slopes(loss, dtype, chunk):
        h, w = (x.to(dtype).requires_grad_() for x in (hidden, head))
        value = head_loss(h, w, lambda q, rows: loss(q, rows, logits.to(dtype)), chunk)
        return value.detach(), *torch.autograd.grad(value, (h, w))

    def off(a, b) -> float:
        return ((a.double() - b).norm() / b.norm()).item()

    found = {}
    for name, loss in losses.items():
        exact = slopes(loss, torch.float64, None)
        for form, chunk in (("dense", None), ("chunks of 32", 32)):
            found[f"{name}, {form}"] = [
                off(a, b) for a, b in zip(slopes(loss, torch.float32, chunk), exact, strict=True)
            ]
    return found


def where() -> dict:
    """What the figures belong to: machine, versions, code, day."""
    from datetime import UTC, datetime
    from importlib.metadata import version

    from implementations.evaluation import environment

    packages = environment.packages() | {"trl": version("trl")}
    date = f"{datetime.now(UTC):%Y-%m-%d}"
    return {
        "date": date,
        "batch": BATCH,
        "commit": environment.commit(),
        "machine": environment.machine().model_dump(),
        "packages": packages,
    }


@contextmanager
def quiet():
    import os

    os.environ |= {"TRANSFORMERS_VERBOSITY": "error", "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    os.environ |= {"TQDM_DISABLE": "1", "TRL_EXPERIMENTAL_SILENCE": "1"}
    yield


def alone(what: str, device: str) -> dict:
    """What a fresh process measures."""
    command = [sys.executable, __file__, "--measure", what, "--device", device, "--batch", str(BATCH)]
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if run.returncode:
        sys.exit(f"{what}: the process ended with status {run.returncode}; its message is above")
    return json.loads(run.stdout.splitlines()[-1])


def main() -> None:
    global BATCH, ROWS
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("rounds", nargs="?", type=int, default=3)
    arguments.add_argument("--device", default="cpu")
    arguments.add_argument("--batch", type=int, default=BATCH, help="Rows a step. 4 leave a GPU idle: 64 do not.")
    arguments.add_argument("--json", type=Path)
    arguments.add_argument("--measure", help=argparse.SUPPRESS)
    given = arguments.parse_args()
    BATCH, ROWS = given.batch, 16 * given.batch
    if given.measure:
        with quiet():
            measure = {
                "prepare": lambda: prepare(given.device) or {},
                "floor": lambda: floor(given.device),
                "cache": cache,
                "exactness": exactness,
                "where": where,
            }
            measure |= {name: lambda c=c: peer(c, given.device) for name, c in PEERS.items()}
            measure |= {name: lambda s=s: ours(s, given.device) for name, s in OURS.items()}
            measure |= {name: lambda s=s: filling(s, given.device) for name, s in FILLING.items()}
            print(json.dumps(measure[given.measure]()))
        return
    alone("prepare", given.device)
    runs: dict[str, list[dict]] = {name: [] for name in (*PEERS, *OURS)}
    for _ in range(given.rounds):
        for name, measured in runs.items():
            measured.append(alone(name, given.device))
    filled = {name: [alone(name, given.device) for _ in range(given.rounds)] for name in FILLING}
    report = {
        "runs": runs,
        "filling": filled,
        "floor": alone("floor", given.device),
        "cache": alone("cache", given.device),
    }
    report["exactness"] = alone("exactness", given.device)
    show(report)
    if given.json:
        given.json.write_text(json.dumps(alone("where", given.device) | report, indent=1))


def show(report: dict) -> None:
    def middle(name: str, what: str) -> float:
        return statistics.median(run[what] for run in report["runs"][name])

    fastest = max(middle(name, "tokens_per_s") for name in PEERS)
    leanest = min(middle(name, "mib") for name in PEERS)
    plain = middle("cross-entropy alone", "seconds")
    print(f"{'':34} tokens/s  (spread)          × TRL   × CE's time   peak MiB   × TRL")
    for name, runs in report["runs"].items():
        rates = [run["tokens_per_s"] for run in runs]
        rate, mib = statistics.median(rates), middle(name, "mib")
        print(
            f"{name:34} {rate:8.0f}  ({min(rates):.0f} to {max(rates):.0f})".ljust(64)
            + f"{rate / fastest:6.2f}   {middle(name, 'seconds') / plain:11.2f}   {mib:8.0f}   {mib / leanest:5.2f}"
        )
    for (name, runs), cached in zip(report["filling"].items(), ("cached hidden state", "cached top-50"), strict=True):
        rate = statistics.median(run["tokens_per_s"] for run in runs)
        both = 1 / (1 / rate + 1 / middle(cached, "tokens_per_s"))
        print(f"{name:34} {rate:8.0f}; and one epoch from it: {both:.0f}, {both / fastest:.2f} × TRL")
    print("\n× TRL: the faster of TRL's two, and the one that takes less memory. Peak: above the loaded models.\n")
    for name in OURS:
        parts = {part: statistics.median(run["parts"].get(part, 0.0) for run in report["runs"][name]) for part in
                 report["runs"][name][0]["parts"]}  # fmt: skip
        print(f"{name:24} " + ", ".join(f"{part} {seconds:.3f} s" for part, seconds in parts.items()))
    floors = report["floor"]
    print("\nmatrix products alone: " + ", ".join(f"{part} {seconds:.3f} s" for part, seconds in floors.items()))
    students = sum(seconds for part, seconds in floors.items() if part.startswith("student"))
    for name, least in {
        "cross-entropy alone": students,
        "teacher in every step": sum(floors.values()),
        "cached hidden state": students + floors["teacher's head"],
        "cached top-50": students,
    }.items():
        print(f"{name:24} {least:.3f} s of {middle(name, 'seconds'):.3f} s: {least / middle(name, 'seconds'):.0%}")
    print()
    for source, found in report["cache"].items():
        print(
            f"cache of {source:8} {found['bytes_per_token']:.1f} bytes a token on disk, KL to the teacher "
            f"{found['mean_kl']:.1e} nats (at most {found['max_kl']:.1e}), tail {found['mean_tail']:.1%}"
        )
    print()
    for name, (loss, hidden, head) in report["exactness"].items():
        print(f"{name:28} off from float64 by: loss {loss:.1e}, gradient at hidden {hidden:.1e}, at head {head:.1e}")


if __name__ == "__main__":
    main()
