"""On a GPU as on a processor: the same losses, signals and answers, up to rounding; and there the host never waits.

Skipped where there is no CUDA device. Training on one computes in bfloat16 under autocast, whose numbers have 8 bits;
the processor beside it computes in float32.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import nullcontext

import pytest
import torch
from killable_fill import rows_of
from test_head_loss import H, N, V, divergence, gradients
from test_on_policy import CONFIG, ORDER, OWN
from test_transfer import PROMPTS

from implementations.evaluation import serving
from implementations.tasks.clinical_summary import ClinicalSummary
from implementations.tasks.task import Sizes
from implementations.teachers.local import load
from implementations.transfer import students, trainer
from implementations.transfer.chat import row
from implementations.transfer.codecs import LastHidden, TopK
from implementations.transfer.config import Features, Loss, Source, TrainConfig
from implementations.transfer.generate import generate
from implementations.transfer.job import Job
from implementations.transfer.objective import Objective, Teacher, learning
from implementations.transfer.on_policy import Writer
from implementations.transfer.signals import SignalCache, fill, measured_error

DEVICE = "cuda"
pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")

LOSSES = {
    "text": Loss(),
    "cached hidden state": Loss(0.3, temperature=1.5),
    "cached top k": Loss(0.3, temperature=1.5, source=Source.TOP_K),
    "live, with hidden states": Loss(0.3, source=Source.LIVE, features=Features()),
}


@pytest.fixture(scope="module")
def job(tiny, tmp_path_factory):
    """Makes a training of twelve steps of a student of two layers on sixteen notes, by ``loss``; its cache is filled
    on the device that it is made for."""
    model, tokenizer = load(tiny, "cpu", "float32")
    start = tmp_path_factory.mktemp("start") / "model"
    trainer.save(students.cut(model, 2), tokenizer, start)
    notes = ClinicalSummary().splits(Sizes(16, 0, 0, 0, 0), seed=3).gold
    rows = [row(tokenizer, "Summarize.", note.prompt, note.reference) for note in notes]

    def make(loss: Loss, device: str) -> Job:
        folder = tmp_path_factory.mktemp("job")
        made = Job(start, folder, rows, TrainConfig(12, 2e-3, batch=4, loss=loss), tiny, folder / "signals")
        if made.cached:
            made.fill(device, lambda done: None)
        return made

    return make


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_the_curve_is_that_of_a_processor_in_float32(job, loss, monkeypatch):
    """Every step's loss within 2%, from the first to the last."""
    monkeypatch.setattr(trainer, "LOG_STEPS", 1)
    ours = job(loss, DEVICE).run(DEVICE, lambda step: None)
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)  # none: float32
    exact = job(loss, "cpu").run("cpu", lambda step: None)
    assert ours.steps == exact.steps and ours.loss == pytest.approx(exact.loss, rel=0.02)
    assert exact.loss[-1] < 0.9 * exact.loss[0]
    for name, by_step in exact.terms.items():
        assert ours.terms[name] == pytest.approx(by_step, rel=0.1 if name.startswith("norm_") else 0.05), name


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Waiting for the device is an error from the third step's begin to the log of the tenth. The steps it was for."""
    seen: list[int] = []

    class Watch(trainer.Watch):
        def on_step_begin(self, arguments, state, control, **keywords):
            if 2 <= state.global_step < trainer.LOG_STEPS:
                torch.cuda.set_sync_debug_mode("error")
                seen.append(state.global_step)
            super().on_step_begin(arguments, state, control, **keywords)

        def on_step_end(self, arguments, state, control, **keywords):
            super().on_step_end(arguments, state, control, **keywords)
            if state.global_step == trainer.LOG_STEPS:
                torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(trainer, "Watch", Watch)
    monkeypatch.setattr(trainer, "NORM_STEPS", 4)
    yield seen
    torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_between_two_logs_the_host_never_waits(job, loss, impatient):
    """Neither for a step nor for the next one's batch; the norms of the terms' gradients are taken on the way."""
    curve = job(loss, DEVICE).run(DEVICE, lambda step: None)
    assert impatient == list(range(2, 10)) and all(map(math.isfinite, curve.loss))


def test_waiting_is_seen():
    torch.cuda.set_sync_debug_mode("error")
    try:
        with pytest.raises(RuntimeError, match="synchronizing"):
            torch.ones(3, device=DEVICE).sum().item()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("chunk", [1, 7, N])
def test_chunks_of_the_head_give_the_dense_value_and_gradients(chunk):
    generator = torch.Generator().manual_seed(0)
    shapes = ((N, H), (V, H), (N, 2 * H), (V, 2 * H))
    exact = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    hidden, head, *teacher = (x.to(DEVICE, torch.float32) for x in exact)
    dense, chunked = (gradients(hidden, head, divergence(*teacher), c) for c in (None, chunk))
    for a, b in zip(dense, chunked, strict=True):
        torch.testing.assert_close(b, a, rtol=1e-5, atol=1e-5 * float(a.abs().max()))
    reference = gradients(*exact[:2], divergence(*exact[2:]), None)
    for a, b in zip(chunked, reference, strict=True):
        assert (a.cpu() - b).norm() < 1e-5 * b.norm()
    with torch.autocast(DEVICE, torch.bfloat16):
        rounded = gradients(hidden, head, divergence(*teacher), chunk)
    for a, b in zip(rounded, reference, strict=True):
        assert (a.cpu() - b).norm() < 0.02 * b.norm()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("source", [Source.HIDDEN, Source.TOP_K])
def test_signals_are_those_of_the_teacher_on_a_processor(tiny, tmp_path, source, dtype):
    """In float32 what is off is what the codec rounds, in bfloat16 what the teacher does."""
    exact, tokenizer = load(tiny, "cpu", "float32")
    rows, config = rows_of(tokenizer, 24), exact.config
    codec = TopK(20, config.vocab_size, 2.0) if source is Source.TOP_K else LastHidden(config.hidden_size)
    cache = SignalCache(tmp_path / "signals", codec, [one.completion for one in rows])
    fill(cache, load(tiny, DEVICE, dtype)[0], rows, tokenizer.pad_token_id)
    assert measured_error(cache, exact, rows).mean_kl < (1e-4 if dtype == "float32" else 2e-3)


def test_in_float32_it_writes_what_a_processor_writes(tiny):
    def written(device: str) -> dict[int, tuple[str, int]]:
        groups = generate(*load(tiny, device, "float32"), "Summarize.", PROMPTS, 24)
        return {g.index: (g.text, g.completion_tokens) for group in groups for g in group}

    assert written(DEVICE) == written("cpu")


def test_in_float32_it_draws_what_a_processor_draws(tiny):
    """The same random numbers choose the same tokens."""
    notes = ClinicalSummary().splits(Sizes(4, 0, 0, 0, 0), seed=1).gold

    def drawn(device: str) -> list[int]:
        student, tokenizer = load(tiny, device, "float32")
        rows = [row(tokenizer, "Summarize.", note.prompt, note.reference) for note in notes]
        writer = Writer(student, tokenizer, rows, ORDER, CONFIG)
        with learning(student, Objective(OWN, Teacher())):
            return writer.batch(0, [0, 1], nullcontext)["labels"].tolist()

    assert drawn(DEVICE) == drawn("cpu")


def test_it_learns_from_what_it_writes(job):
    curve = job(OWN, DEVICE).run(DEVICE, lambda step: None)
    assert all(map(math.isfinite, curve.loss)) and sum(curve.terms["seconds_writing"].values()) > 0


def test_the_peak_of_memory_is_the_devices(tiny):
    torch.cuda.reset_peak_memory_stats()
    served = serving.measure(tiny, "Summarize.", PROMPTS, 8, 1, DEVICE)
    assert served.peak_memory_mib == torch.cuda.max_memory_allocated() / 2**20
    assert sum(path.stat().st_size for path in tiny.glob("*.safetensors")) / 2 < served.peak_memory_mib * 2**20
