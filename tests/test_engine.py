"""The engine: what a step computes, that it computes no more, and that nobody's share of it is lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import sharded
import torch
from torch.nn.functional import cross_entropy
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import LlamaConfig, LlamaForCausalLM, TrainingArguments

from implementations.errors import InputError
from implementations.record import ROOT
from implementations.tasks.clinical_summary import ClinicalSummary
from implementations.tasks.task import Sizes
from implementations.teachers.local import content_hash, load
from implementations.transfer import attention, processes, students
from implementations.transfer.chat import row
from implementations.transfer.collate import RightPadding
from implementations.transfer.config import Divergence, Features, Loss, Processes, Source, TrainConfig
from implementations.transfer.heads import adjustment, check_head, last_hidden, logits_of
from implementations.transfer.job import Job
from implementations.transfer.objective import Objective, Teacher, learning
from implementations.transfer.trainer import DistillationTrainer, save, train

PAIRS = [
    ("CRP 142 confirmed pneumonia.", "a"),
    ("Seen today: man of 40, gout.", "gout, 40, seen today and sent home"),
    ("Chest clear; " * 9, "clear"),
    ("x", "no"),
]
PADDING = 7  # rows of the head that stand for no token


@pytest.fixture(scope="module")
def models(tiny):
    """Student, teacher and tokenizer, float32, and their rows."""
    teacher, tokenizer = load(tiny, "cpu", "float32")
    student = students.cut(teacher, 2)
    return student, teacher, tokenizer, [row(tokenizer, "Summarize.", *pair) for pair in PAIRS]


def batch_of(rows, tokenizer):
    return RightPadding(tokenizer.pad_token_id)([vars(r) | {"row": i} for i, r in enumerate(rows)])


def live(teacher):
    return Teacher(teacher.get_output_embeddings().weight, adjustment(teacher), teacher)


def rowwise(model, rows):
    """Float64 logits of every completion token and its label: one row at a time, the model's own forward."""
    with torch.no_grad():
        logits = [model(torch.tensor([r.input_ids])).logits[0, -r.completion - 1 : -1].double() for r in rows]
    return torch.cat(logits), torch.tensor([id for r in rows for id in r.input_ids[-r.completion :]])


def plain(divergence, student, teacher, temperature, beta):
    """Σ of the divergence, written from its definition in float64."""
    q, p = (logits / temperature for logits in (student, teacher))
    q, p = q.softmax(-1), p.softmax(-1)
    m = beta * p + (1 - beta) * q
    of = {
        Divergence.FORWARD_KL: (p * (p / q).log()).sum(),
        Divergence.REVERSE_KL: (q * (q / p).log()).sum(),
        Divergence.JSD: beta * (p * (p / m).log()).sum() + (1 - beta) * (q * (q / m).log()).sum(),
    }
    return temperature**2 * of[divergence]


def step(student, objective, batch):
    """The loss of one step, and its gradients by parameter."""
    student.zero_grad()
    with learning(student, objective):
        loss = student(**batch)
    loss.backward()
    return loss.detach(), {name: p.grad.clone() for name, p in student.named_parameters()}


@pytest.mark.parametrize("divergence", Divergence)
@pytest.mark.parametrize(("alpha", "temperature"), [(1.0, 1.0), (0.0, 1.0), (0.3, 2.5)])
def test_the_loss_is_the_papers_summed_over_the_completion_tokens(models, divergence, alpha, temperature):
    student, teacher, tokenizer, rows = models
    logits, labels = rowwise(student, rows)
    hard = cross_entropy(logits, labels, reduction="sum")
    soft = plain(divergence, logits, rowwise(teacher, rows)[0], temperature, 0.4)
    objective = Objective(Loss(alpha, temperature, divergence, Source.LIVE, beta=0.4), live(teacher))
    loss, _ = step(student, objective, batch_of(rows, tokenizer))
    assert loss.item() == pytest.approx((alpha * hard + (1 - alpha) * soft).item(), rel=1e-5)
    sums, tokens = objective.take()
    assert tokens == len(labels) == sum(r.completion for r in rows)
    expected = {"cross_entropy": hard.item(), "distillation": soft.item()}
    weighs = {name for name, share in zip(expected, (alpha, 1 - alpha), strict=True) if share}
    assert {name: value.item() for name, value in sums.items()} == pytest.approx(
        {name: expected[name] for name in weighs}, rel=1e-5
    )


@pytest.mark.parametrize("chunk", [1, 5, 12])
def test_chunks_give_the_same_step(models, chunk):
    student, teacher, tokenizer, rows = models
    batch = batch_of(rows, tokenizer)
    loss = Loss(0.3, 2.0, source=Source.LIVE, chunk=0)
    dense, chunked = (step(student, Objective(replace(loss, chunk=c), live(teacher)), batch) for c in (0, chunk))
    assert chunked[0].item() == pytest.approx(dense[0].item(), rel=1e-6)
    for name, gradient in dense[1].items():
        torch.testing.assert_close(chunked[1][name], gradient, rtol=1e-5, atol=1e-6 * float(gradient.abs().max()))


def test_padding_rows_of_the_head_mean_nothing(models, tiny):
    """A teacher of the same family whose head is padded to another size gives the same distillation."""
    student, teacher, tokenizer, rows = models
    wide, _ = load(tiny, "cpu", "float32")
    wide.resize_token_embeddings(len(tokenizer) + PADDING, mean_resizing=False)
    with torch.no_grad():
        wide.get_output_embeddings().weight[len(tokenizer) :] = 9.0
    batch, loss = batch_of(rows, tokenizer), Loss(0.0, source=Source.LIVE)
    same, _ = step(student, Objective(loss, live(teacher)), batch)
    aligned, _ = step(student, Objective(loss, live(wide), len(tokenizer)), batch)
    assert aligned.item() == pytest.approx(same.item(), rel=1e-6)


class Watched(TorchDispatchMode):
    """Records how many rows meet a matrix of the vocabulary's size, and what would make the host wait for a GPU."""

    def __init__(self, vocabulary: int):
        super().__init__()
        self.vocabulary, self.heads, self.waits = vocabulary, [], []

    def __torch_dispatch__(self, operation, types, arguments=(), keywords=None):
        out = operation(*arguments, **(keywords or {}))
        name = operation.name()
        if name == "aten::mm" and out.shape[-1] == self.vocabulary:
            self.heads.append(len(out))
        index = arguments[1] if name in ("aten::index.Tensor", "aten::index_put_") else ()
        if name in ("aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select") or any(
            i is not None and i.dtype == torch.bool for i in index
        ):
            self.waits.append(name)
        return out


@pytest.mark.parametrize("loss", [Loss(), Loss(0.5, source=Source.LIVE), Loss(0.0, source=Source.LIVE, chunk=8)])
def test_prompts_and_padding_never_reach_the_head_and_the_host_never_waits(models, loss):
    student, teacher, tokenizer, rows = models
    batch = batch_of(rows, tokenizer)
    objective = Objective(loss, live(teacher) if loss.alpha < 1 else None)
    with Watched(len(tokenizer)) as watched, learning(student, objective):
        student(**batch).backward()
    tokens = sum(r.completion for r in rows)
    assert sum(watched.heads) == tokens * (2 if loss.alpha < 1 else 1)  # the student's, and the live teacher's
    assert max(watched.heads) <= (loss.chunk or tokens)
    assert not watched.waits


def test_the_watch_sees_what_it_is_there_for():
    with Watched(3) as watched:
        x = torch.ones(4, 2)
        x[x.sum(-1) > 1] @ torch.ones(2, 3)
        x.sum().item()
    assert watched.heads == [4] and watched.waits == ["aten::index.Tensor", "aten::_local_scalar_dense"]


def test_an_accumulated_batch_is_averaged_over_its_tokens_not_over_its_parts(models, tmp_path):
    """Four rows in one step give the loss that the Trainer logs, whether it takes them at once or one by one."""
    student, teacher, tokenizer, rows = models
    arguments = {"max_steps": 1, "use_cpu": True, "report_to": "none", "save_strategy": "no", "logging_steps": 1}
    arguments |= {"remove_unused_columns": False, "disable_tqdm": True, "learning_rate": 0.0}
    logged = []
    for size in (4, 1):
        objective = Objective(Loss(0.5, source=Source.LIVE), live(teacher))
        with learning(student, objective):
            trainer = DistillationTrainer(
                objective,
                model=student,
                args=TrainingArguments(
                    tmp_path, per_device_train_batch_size=size, gradient_accumulation_steps=4 // size, **arguments
                ),
                train_dataset=[vars(r) | {"row": i} for i, r in enumerate(rows)],
                data_collator=RightPadding(tokenizer.pad_token_id),
            )
            _, items = trainer.get_batch_samples(iter(trainer.get_train_dataloader()), 4 // size, "cpu")
            assert items == sum(r.completion for r in rows)
            trainer.train()
        logged.append(trainer.state.log_history[0]["loss"])
    assert logged[0] == pytest.approx(logged[1], rel=1e-4)


def test_training_reports_both_terms_and_what_they_pull_with(models, tiny, tmp_path):
    _, _, tokenizer, rows = models
    teacher, _ = load(tiny, "cpu", "float32")
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    student = students.cut(teacher, 2)
    config = TrainConfig(14, 5e-3, batch=4, loss=Loss(0.25, source=Source.LIVE))
    curve = train(student, tokenizer, rows, config, tmp_path, teacher=live(teacher))
    assert curve.loss[-1] < 0.7 * curve.loss[0]
    for at, loss in zip(curve.steps, curve.loss, strict=True):
        terms = curve.terms
        assert loss == pytest.approx(0.25 * terms["cross_entropy"][at] + 0.75 * terms["distillation"][at], rel=1e-3)
    assert curve.terms["norm_cross_entropy"][1] > 0 and curve.terms["norm_distillation"][1] > 0
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
    assert "forward" not in vars(student)  # it answers as before


def test_norms_are_the_gradients_own(models):
    student, teacher, tokenizer, rows = models
    batch = batch_of(rows, tokenizer)
    objective = Objective(Loss(0.25, source=Source.LIVE, chunk=5), live(teacher))
    objective.measure_norms = True
    step(student, objective, batch)
    hidden = last_hidden(student, batch["input_ids"], batch["positions"]).detach().requires_grad_()
    logits = hidden @ student.get_output_embeddings().weight.T
    (slope,) = torch.autograd.grad(cross_entropy(logits, batch["labels"], reduction="sum"), hidden)
    assert objective.norms["cross_entropy"].item() == pytest.approx(slope.norm().item(), rel=1e-5)


@pytest.mark.parametrize(
    ("name", "value"), [("final_logit_softcapping", 3.0), ("logits_scaling", 8.0), ("logit_scale", 0.25)]
)
def test_what_a_model_does_to_its_logits_is_done(models, name, value):
    """Gemma, Granite and Cohere, by the name of their setting; here on a Llama, whose own forward does none of it."""
    student, *_ = models
    check_head(student, "the student")
    changed = SimpleNamespace(config=SimpleNamespace(get_text_config=lambda: SimpleNamespace(**{name: value})))
    logits = torch.linspace(-9, 9, 7)
    expected = {
        "final_logit_softcapping": value * torch.tanh(logits / value),
        "logits_scaling": logits / value,
        "logit_scale": logits * value,
    }
    torch.testing.assert_close(adjustment(changed)(logits), expected[name])


def test_what_bfloat16_rounds_off_is_no_other_head():
    """Two kinds of attention differ by more than the check allows a head."""
    torch.manual_seed(0)
    shape = {"vocab_size": 97, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 4}
    shape |= {"num_attention_heads": 4, "num_key_value_heads": 2, "initializer_range": 0.2}
    model = LlamaForCausalLM(LlamaConfig(**shape)).to(torch.bfloat16).eval()
    attention.prefer(model, torch.bfloat16)
    ids = torch.arange(16)[None]
    with torch.no_grad():
        logits = model(input_ids=ids, use_cache=False).logits[0].float()
        ours = logits_of(model, last_hidden(model, ids, ids[0])).float()
    assert (logits - ours).abs().max() > 0.02 * logits.abs().max()
    check_head(model, "the teacher")


def test_short_attention_is_the_usual_one(models):
    """Grouped keys, no padding mask: the same hidden states, and gradients, as by PyTorch's own."""
    student, _, tokenizer, rows = models
    batch, found = batch_of(rows, tokenizer), {}
    for name in ("sdpa", attention.NAME):
        student.set_attn_implementation(name)
        found[name] = step(student, Objective(Loss()), batch)
    student.set_attn_implementation("sdpa")
    (usual, slopes), (short, others) = found["sdpa"], found[attention.NAME]
    assert short.item() == pytest.approx(usual.item(), rel=1e-6)
    for name, slope in slopes.items():
        torch.testing.assert_close(others[name], slope, rtol=1e-4, atol=1e-6 * float(slope.abs().max()) + 1e-9)


def test_a_head_that_does_more_is_refused(tiny):
    model, _ = load(tiny, "cpu", "float32")
    model.lm_head.register_forward_hook(lambda module, inputs, output: output + torch.arange(output.shape[-1]))
    with pytest.raises(InputError, match="does more than a matrix product"):
        check_head(model, "--student x")


@pytest.mark.parametrize(
    ("loss", "teacher", "message"),
    [
        (Loss(0.5), None, "leaves a share to a teacher"),
        (Loss(1.5), Teacher(), "give a number from 0 to 1"),
        (Loss(0.5, divergence=Divergence.JSD, source=Source.TOP_K), Teacher(), "there is no jsd"),
    ],
)
def test_a_loss_that_makes_no_sense(loss, teacher, message):
    with pytest.raises(ValueError, match=message):
        Objective(loss, teacher)


@pytest.fixture(scope="module")
def job(tiny, tmp_path_factory):
    """Makes a training of a student of two layers on sixteen notes, from the tiny teacher's distribution and text."""
    model, tokenizer = load(tiny, "cpu", "float32")
    start = tmp_path_factory.mktemp("start") / "model"
    save(students.cut(model, 2), tokenizer, start)
    notes = ClinicalSummary().splits(Sizes(16, 0, 0, 0, 0), seed=3).gold
    rows = [row(tokenizer, "Summarize.", note.prompt, note.reference) for note in notes]

    def make(folder, **how) -> Job:
        config = TrainConfig(12, 2e-3, batch=4, loss=Loss(0.3, temperature=1.5, **how), checkpoint_seconds=0.0)
        return Job(start, folder / "trained", rows, config, tiny, folder / "signals")

    return make


def test_with_and_without_the_cache_the_losses_are_the_same(job, tmp_path):
    """Live, from cached hidden states, and from all entries of the cached top k."""
    curves = {}
    for name, how in {
        "live": {"source": Source.LIVE},
        "hidden": {"source": Source.HIDDEN},
        "top k": {"source": Source.TOP_K, "k": 900},
    }.items():
        made = job(tmp_path / name, **how)
        if made.cached:
            made.fill("cpu", lambda done: None)
        curves[name] = made.run("cpu", lambda step: None)
    assert curves["live"].loss[-1] < curves["live"].loss[0]
    for name in ("hidden", "top k"):
        assert curves[name].loss == pytest.approx(curves["live"].loss, rel=5e-3), name
        assert curves[name].terms["distillation"] == pytest.approx(curves["live"].terms["distillation"], rel=2e-2)


def test_two_processes_give_the_curve_of_one(job, tmp_path, monkeypatch):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")
    one = job(tmp_path / "one", source=Source.LIVE)
    two = job(tmp_path / "two", source=Source.LIVE)
    steps = []
    alone = one.run("cpu", lambda step: None)
    together = processes.train(two, "cpu", Processes(2), steps.append)
    assert steps == list(range(13))
    assert together.loss == pytest.approx(alone.loss, rel=2e-3)
    assert together.terms["distillation"] == pytest.approx(alone.terms["distillation"], rel=1e-2)
    ours, theirs = (load(each.folder / "model", "cpu", "float32")[0].state_dict() for each in (one, two))
    for name, weights in ours.items():
        torch.testing.assert_close(theirs[name], weights, rtol=0, atol=5e-3)


def test_killed_in_two_processes_it_goes_on_to_the_same_curve(job, tmp_path):
    whole = processes.train(job(tmp_path / "whole", source=Source.LIVE), "cpu", Processes(2), lambda step: None)
    killed = job(tmp_path / "killed", source=Source.LIVE)

    def kill(step: int) -> None:
        if step == 6:
            raise KeyboardInterrupt  # what ends this process ends those: SIGKILL to all of them

    with pytest.raises(KeyboardInterrupt):
        processes.train(killed, "cpu", Processes(2), kill)
    assert list(killed.folder.glob("checkpoint-*")) and not (killed.folder / "curve.json").exists()
    steps = []
    resumed = processes.train(killed, "cpu", Processes(2), steps.append)
    assert steps[0] >= 4  # not from the beginning
    assert resumed.loss == whole.loss
    [ours, theirs] = (content_hash(tmp_path / name / "trained" / "model") for name in ("whole", "killed"))
    assert ours == theirs


def test_a_batch_that_cannot_be_shared_is_refused(job, tmp_path):
    with pytest.raises(InputError, match="a batch of 4 rows cannot be shared by 3 processes"):
        processes.train(job(tmp_path, source=Source.LIVE), "cpu", Processes(3), lambda step: None)


@pytest.mark.parametrize(("chunk", "features"), [(0, None), (5, None), (0, Features())], ids=["0", "5", "features"])
def test_parameters_that_processes_share_are_whole_where_the_head_meets_them(tiny, chunk, features):
    """FSDP: both processes see the same rows, so their mean is one's loss, and its gradients."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command += [sharded.__file__, str(tiny), str(chunk), *(["features"] if features else [])]
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout.splitlines()[-1])
    assert found == pytest.approx(sharded.step(tiny, shard=False, chunk=chunk, features=features), rel=1e-4)
