"""The student's own text: what is drawn, what of it is learnt, and that a killed training goes on with the same."""

from __future__ import annotations

import statistics
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from implementations.errors import InputError
from implementations.recipes import arms, on_policy
from implementations.record import Curve
from implementations.tasks.clinical_summary import ClinicalSummary
from implementations.tasks.task import Sizes
from implementations.teachers.local import content_hash, load
from implementations.transfer import attention, processes, students
from implementations.transfer.chat import prompt_ids, row
from implementations.transfer.config import Divergence, Loss, OnPolicy, Processes, Source, TrainConfig
from implementations.transfer.generate import _Draw, complete, stop_ids
from implementations.transfer.job import Job
from implementations.transfer.objective import Objective, Teacher, learning
from implementations.transfer.on_policy import Writer
from implementations.transfer.trainer import save

LIMIT = 12
OWN = Loss(0.0, divergence=Divergence.REVERSE_KL, source=Source.LIVE, on_policy=OnPolicy(LIMIT, refresh=3))
CONFIG = TrainConfig(steps=8, learning_rate=1e-3, batch=2, loss=OWN)
ORDER = [0, 1, 2, 3] * 4


@pytest.fixture(scope="module")
def model(tiny):
    """A student, its tokenizer, and four rows."""
    student, tokenizer = load(tiny, "cpu", "float32")
    notes = ClinicalSummary().splits(Sizes(4, 0, 0, 0, 0), seed=1).gold
    return student, tokenizer, [row(tokenizer, "Summarize.", note.prompt, note.reference) for note in notes]


def prompt(row):
    return row.input_ids[: -row.completion]


def numbers(rows, limit=LIMIT):
    return torch.rand(rows, limit, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def written(model, config=CONFIG, steps=(0,)):
    """The writer, and the batches of ``steps`` in one process."""
    student, tokenizer, rows = model
    writer = Writer(student, tokenizer, rows, ORDER, config)
    with learning(student, Objective(config.loss, Teacher())):
        batches = [
            writer.batch(step, [*range(step * config.batch, (step + 1) * config.batch)], nullcontext) for step in steps
        ]
    return writer, batches


def completions(batch, of):
    """The tokens that carry loss, row by row: those of the rows ``of`` have their prompts before them."""
    found, at = [], 0
    for ids, own in zip(batch["input_ids"], of, strict=True):
        n = sum(p // batch["input_ids"].shape[1] == len(found) for p in batch["positions"].tolist())
        start = len(prompt(own))
        assert ids[:start].tolist() == prompt(own)
        assert ids[start : start + n].tolist() == batch["labels"][at : at + n].tolist()
        found.append(batch["labels"][at : at + n].tolist())
        at += n
    return found


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_a_token_is_drawn_as_often_as_it_is_likely(temperature):
    """Evenly spread numbers fall into each token's share: as many as its probability says, off by one at most."""
    logits, spread = torch.tensor([2.0, -1.0, -torch.inf, 0.5]), 1000
    evenly = (torch.arange(spread, dtype=torch.float64)[:, None] + 0.5) / spread
    kept = _Draw(evenly, 3, temperature)(torch.zeros(spread, 3), logits.expand(spread, -1))
    drawn = torch.bincount(kept.argmax(-1), minlength=4)
    assert (kept > -torch.inf).sum() == spread
    assert (drawn - spread * (logits / temperature).softmax(-1)).abs().max() <= 1 and drawn[2] == 0


@pytest.mark.parametrize("how", ["sdpa", attention.NAME])
def test_what_a_row_writes_does_not_depend_on_its_batch(model, how):
    """With padding on the left, and with both kinds of attention."""
    student, tokenizer, _ = model
    prompts = [prompt_ids(tokenizer, "", text) for text in ("x", "Seen today: man of 40, gout.", "Chest clear; " * 9)]
    student.set_attn_implementation(how)
    try:
        together = complete(student, tokenizer, prompts, LIMIT, numbers(3))
        alone = [complete(student, tokenizer, [p], LIMIT, numbers(3)[[i]])[0] for i, p in enumerate(prompts)]
    finally:
        student.set_attn_implementation("sdpa")
    assert together == alone
    assert together != complete(student, tokenizer, prompts, LIMIT)  # greedy


def test_a_batch_holds_what_the_student_wrote_after_each_prompt(model):
    student, tokenizer, rows = model
    writer, [first, second] = written(model, steps=(0, 1))
    stops = stop_ids(student, tokenizer)
    for batch, of in ((first, rows[:2]), (second, rows[2:])):
        for answer in completions(batch, of):
            assert 1 < len(answer) <= LIMIT
            assert not stops & set(answer[:-1])  # nothing after its end
            assert answer[-1] in stops or len(answer) == LIMIT  # and no end where it was cut
    [answers, empty, truncated], seconds = writer.take()
    assert answers == 3 * CONFIG.batch and empty == 0 and seconds > 0  # a round, at once
    ends = [row.input_ids[-1] in stops for row in writer.written.values()]
    assert truncated == ends.count(False) and writer.take() == ([0, 0, 0], 0.0)
    assert completions(first, rows[:2]) != [row.input_ids[-row.completion :] for row in rows[:2]]


def test_what_is_written_follows_from_seed_place_and_weights(model):
    """Whatever was written before; and every place of a round has its own draw."""
    _, batches = written(model, steps=range(8))
    _, [again] = written(model, steps=(3,))
    assert torch.equal(again["input_ids"], batches[3]["input_ids"])
    assert not torch.equal(batches[0]["labels"], batches[2]["labels"])  # the same rows, one round
    _, [other] = written(model, replace(CONFIG, seed=1))
    assert not torch.equal(batches[0]["labels"], other["labels"])


def test_each_process_writes_its_own_places(model):
    """Two writers with a place each of every step write what one writes with both."""
    student, tokenizer, rows = model
    whole, _ = written(model)
    halves = []
    with learning(student, Objective(OWN, Teacher())):
        for place in (0, 1):
            half = Writer(student, tokenizer, rows, ORDER, CONFIG)
            half.batch(0, [place], nullcontext)
            halves.append(half.written)
    assert set(halves[0]) == {0, 2, 4} and set(halves[1]) == {1, 3, 5}
    assert halves[0] | halves[1] == whole.written


def test_the_weights_of_a_round_are_those_of_its_first_step(model):
    student, tokenizer, rows = model
    student = students.cut(student, 4)
    _, before = written((student, tokenizer, rows), steps=range(8))
    writer = Writer(student, tokenizer, rows, ORDER, CONFIG)
    with learning(student, Objective(OWN, Teacher())):
        writer.batch(0, [0, 1], nullcontext)
        with torch.no_grad():
            student.get_output_embeddings().weight.mul_(0.3)
        old, new = (writer.batch(step, [2 * step, 2 * step + 1], nullcontext) for step in (2, 3))
    assert torch.equal(old["input_ids"], before[2]["input_ids"])
    assert not torch.equal(new["labels"], before[3]["labels"])


def test_an_empty_answer_gives_way_to_the_rows_own(model):
    student, tokenizer, rows = model
    usual, student.generation_config.eos_token_id = student.generation_config.eos_token_id, [*range(len(tokenizer))]
    try:
        writer, [batch] = written(model)
    finally:
        student.generation_config.eos_token_id = usual
    assert completions(batch, rows[:2]) == [row.input_ids[-row.completion :] for row in rows[:2]]
    assert writer.take()[0] == [6, 6, 0]


def test_the_share_of_steps_on_its_own_text(model):
    """None of them; or some, the same whoever asks, and the others on the rows' answers."""
    _, _, rows = model
    texts = [row.input_ids[-row.completion :] for row in rows]

    def on_rows(share):
        config = replace(CONFIG, loss=replace(OWN, on_policy=OnPolicy(LIMIT, share, refresh=3)))
        _, batches = written(model, config, range(8))
        pairs = [(rows[:2], texts[:2]), (rows[2:], texts[2:])] * 4
        return [completions(batch, of) == text for batch, (of, text) in zip(batches, pairs, strict=True)]

    assert all(on_rows(0.0)) and not any(on_rows(1.0))
    some = on_rows(0.5)
    assert 0 < sum(some) < 8 and some == on_rows(0.5)


@pytest.mark.parametrize("loss", [replace(OWN, alpha=0.5), replace(OWN, source=Source.HIDDEN)])
def test_its_own_text_is_neither_answer_nor_cached(loss):
    with pytest.raises(ValueError, match="the student's own text is no answer to learn, nor in a cache"):
        Objective(loss, Teacher())


@pytest.fixture(scope="module")
def job(tiny, tmp_path_factory):
    """Makes a training of a student of two layers on what it writes to sixteen notes."""
    model, tokenizer = load(tiny, "cpu", "float32")
    start = tmp_path_factory.mktemp("start") / "model"
    save(students.cut(model, 2), tokenizer, start)
    notes = ClinicalSummary().splits(Sizes(16, 0, 0, 0, 0), seed=3).gold
    rows = [row(tokenizer, "Summarize.", note.prompt, note.reference) for note in notes]

    def make(folder, rate=2e-3) -> Job:
        loss = replace(OWN, on_policy=OnPolicy(LIMIT, refresh=4))
        return Job(start, folder / "trained", rows, TrainConfig(10, rate, 4, checkpoint_seconds=0.0, loss=loss), tiny)

    return make


def test_killed_it_goes_on_from_the_beginning_of_a_round_to_the_same_curve(job, tmp_path):
    """kill -9 of both processes in the middle of the second round."""
    whole = processes.train(job(tmp_path / "whole"), "cpu", Processes(2), lambda step: None)
    killed = job(tmp_path / "killed")

    def kill(step: int) -> None:
        if step == 7:
            raise KeyboardInterrupt  # what ends this process ends those: SIGKILL to all of them

    with pytest.raises(KeyboardInterrupt):
        processes.train(killed, "cpu", Processes(2), kill)
    assert [path.name for path in killed.folder.glob("checkpoint-*")] == ["checkpoint-4"]
    steps = []
    resumed = processes.train(killed, "cpu", Processes(2), steps.append)
    assert steps == list(range(4, 11))
    assert resumed.loss == whole.loss and resumed.terms["truncated"] == whole.terms["truncated"]
    assert whole.loss[-1] < 0.5 * whole.loss[0]
    assert list(whole.terms["empty"]) == list(whole.terms["seconds_writing"]) == [1, 5, 9]
    [ours, theirs] = (content_hash(tmp_path / name / "trained" / "model") for name in ("whole", "killed"))
    assert ours == theirs


def test_two_processes_write_what_one_writes(job, tmp_path):
    """At a rate so small that rounding alone tells their weights apart: in bfloat16 it tips a draw now and then, and
    then a step's loss is of another text."""
    alone = job(tmp_path / "one", rate=1e-7).run("cpu", lambda step: None)
    together = processes.train(job(tmp_path / "two", rate=1e-7), "cpu", Processes(2), lambda step: None)
    apart = [abs(a / b - 1) for a, b in zip(together.loss, alone.loss, strict=True)]
    assert statistics.median(apart) < 5e-3, apart


def test_fsdp_is_refused_before_anything_is_spent():
    setup = SimpleNamespace(work=SimpleNamespace(processes=Processes(2, Path("fsdp.yml"))))  # and nothing to spend with
    with pytest.raises(InputError, match=r"--config fsdp.yml: a student that writes .*; leave --config out"):
        on_policy.run(setup)


def test_both_halves_of_a_training_are_one_curve():
    first = Curve(steps=[1, 2], loss=[3.0, 2.0], learning_rate=1e-3, epochs=0.5, batch=4, seconds=10, seed=0)
    terms = {"distillation": {1: 1.0, 2: 0.5}, "empty": {1: 0.25}}
    then = first.model_copy(update={"loss": [1.0, 0.5], "terms": terms, "seconds": 30.0, "learning_rate": 5e-4})
    both = arms._joined(2, first, then)
    assert both.steps == [1, 2, 3, 4] and both.loss == [3.0, 2.0, 1.0, 0.5]
    assert both.terms == {
        "cross_entropy": {1: 3.0, 2: 2.0},
        "distillation": {3: 1.0, 4: 0.5},
        "empty": {3: 0.25},
    }
    assert (both.seconds, both.epochs, both.learning_rate) == (40.0, 1.0, 5e-4)
