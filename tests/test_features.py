"""Hidden states in the loss: what is compared, by what weight, and that nothing of it stays in the student."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from commands import distill
from test_engine import PAIRS, Watched, batch_of, live, step
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from implementations import record
from implementations.record import Curve
from implementations.tasks.clinical_summary import ClinicalSummary
from implementations.tasks.task import Sizes
from implementations.teachers.local import content_hash, load
from implementations.transfer import processes, students
from implementations.transfer.chat import row
from implementations.transfer.config import Distance, Features, LayerMap, Loss, Processes, Source, TrainConfig
from implementations.transfer.features import hidden_state_loss, layer_map
from implementations.transfer.job import Job
from implementations.transfer.objective import Objective, Teacher, learning
from implementations.transfer.trainer import FINISHED, save


def narrow(teacher: LlamaForCausalLM, seed: int = 0) -> LlamaForCausalLM:
    """An untrained model with the tokens of ``teacher``, of another depth and width."""
    torch.manual_seed(seed)
    shape = {"hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 3, "head_dim": 12}
    return LlamaForCausalLM(LlamaConfig(**teacher.config.to_dict() | shape))


@pytest.fixture(scope="module")
def models(tiny):
    """Teacher, a student cut from it and one of another shape, float32; tokenizer; rows."""
    teacher, tokenizer = load(tiny, "cpu", "float32")
    rows = [row(tokenizer, "Summarize.", *pair) for pair in PAIRS]
    return teacher, {"cut": students.cut(teacher, 2), "narrow": narrow(teacher)}, tokenizer, rows


def objective(loss: Loss, student, teacher) -> Objective:
    return Objective(loss, live(teacher), features=hidden_state_loss(loss.features, student, teacher))


def rowwise(student, teacher, rows, layers, projections, distance) -> float:
    """Σ over rows of completion tokens · the mean over all of its tokens, from each model's own forward, in float64."""
    total = 0.0
    for one in rows:
        ids = torch.tensor([one.input_ids])
        with torch.no_grad():
            ours, theirs = (m(ids, output_hidden_states=True).hidden_states for m in (student, teacher))
        for (s, t), weight in zip(layers.items(), projections, strict=True):
            x, y = ours[s][0].double() @ weight.double().T, theirs[t][0].double()
            if distance is Distance.MSE:
                each = ((x - y) ** 2).mean(-1)
            else:
                each = 1 - (x * y).sum(-1) / (x.norm(dim=-1) * y.norm(dim=-1))
            total += one.completion * each.mean().item()
    return total


@pytest.mark.parametrize("distance", Distance)
@pytest.mark.parametrize(
    ("kind", "rule"), [("cut", LayerMap.EVEN), ("narrow", LayerMap.EVEN), ("narrow", LayerMap.LAST)]
)
def test_the_distance_is_the_papers_over_all_tokens_of_the_rows(models, kind, rule, distance):
    teacher, of, tokenizer, rows = models
    student, batch = of[kind], batch_of(rows, tokenizer)
    outputs = Loss(0.3, source=Source.LIVE)
    compared = objective(replace(outputs, features=Features(rule, distance, 0.7)), student, teacher)
    projections = compared.features.projections
    with torch.no_grad():
        for projection in projections:
            projection.weight += 0.1 * torch.randn(projection.weight.shape, generator=torch.Generator().manual_seed(0))
    loss, _ = step(student, compared, batch)
    plain, _ = step(student, Objective(outputs, live(teacher)), batch)
    layers = layer_map(rule, student.config.num_hidden_layers, 4)
    expected = rowwise(student, teacher, rows, layers, [p.weight.detach() for p in projections], distance)
    assert compared.take()[0]["features"].item() == pytest.approx(expected, rel=1e-4)
    assert loss.item() == pytest.approx(plain.item() + 0.7 * expected, rel=1e-4)


def test_the_ratio_weighs_hidden_states_like_outputs_and_has_no_gradient(models):
    teacher, of, tokenizer, rows = models
    student, batch = of["narrow"], batch_of(rows, tokenizer)
    outputs = Loss(0.3, source=Source.LIVE)
    plain, slopes = step(student, Objective(outputs, live(teacher)), batch)
    ratio = objective(replace(outputs, features=Features()), student, teacher)
    loss, found = step(student, ratio, batch)
    assert loss.item() == pytest.approx(2 * plain.item(), rel=1e-5)
    weight = (plain / ratio.take()[0]["features"]).item()
    constant = objective(replace(outputs, features=Features(weight=weight)), student, teacher)
    _, expected = step(student, constant, batch)
    for name, slope in expected.items():
        torch.testing.assert_close(found[name], slope, rtol=1e-4, atol=1e-5 * float(slope.abs().max()))
    moved = max((found[name] - slopes[name]).abs().max() for name in slopes)
    assert moved > 0 and all(p.weight.grad.any() for p in ratio.features.projections)


def test_a_student_that_is_its_teacher_has_nothing_to_learn_from_hidden_states(models):
    teacher, _, tokenizer, rows = models
    student = students.cut(teacher, 4)
    loss = Loss(0.5, source=Source.LIVE, features=Features())
    same = objective(loss, student, teacher)
    total, slopes = step(student, same, batch_of(rows, tokenizer))
    assert same.take()[0]["features"].item() == pytest.approx(0, abs=1e-3)
    assert total.isfinite() and all(slope.isfinite().all() for slope in slopes.values())


def test_norm_of_the_features_is_their_gradients_own(models):
    """At the head's input, and so of the last layer's pair alone."""
    teacher, of, tokenizer, rows = models
    loss = Loss(0.5, source=Source.LIVE, features=Features(LayerMap.LAST, weight=3.0))
    measured = objective(loss, student := of["cut"], teacher)
    measured.measure_norms = True
    batch = batch_of(rows, tokenizer)
    step(student, measured, batch)
    ours, theirs = (
        m(batch["input_ids"], output_hidden_states=True).hidden_states[-1].detach() for m in (student, teacher)
    )
    ours.requires_grad_()
    (batch["shares"] * (1 - torch.cosine_similarity(ours, theirs, dim=-1))).sum().backward()
    assert measured.norms["features"].item() == pytest.approx(ours.grad.norm().item(), rel=1e-4)
    assert set(measured.norms) == {"cross_entropy", "distillation", "features"}


@pytest.mark.parametrize("features", [Features(), Features(LayerMap.LAST, Distance.MSE, 0.1)])
def test_the_host_never_waits(models, features):
    teacher, of, tokenizer, rows = models
    batch = batch_of(rows, tokenizer)
    compared = objective(Loss(0.5, source=Source.LIVE, features=features), of["cut"], teacher)
    with Watched(len(tokenizer)) as watched, learning(of["cut"], compared):
        of["cut"](**batch).backward()
    assert not watched.waits


@pytest.mark.parametrize(
    ("rule", "student", "teacher", "expected"),
    [
        (LayerMap.EVEN, 4, 12, {1: 3, 2: 6, 3: 9, 4: 12}),  # TinyBERT's
        (LayerMap.EVEN, 3, 4, {1: 1, 2: 3, 3: 4}),
        (LayerMap.EVEN, 3, 2, {1: 1, 2: 1, 3: 2}),  # a deeper student
        (LayerMap.LAST, 10, 30, {10: 30}),
    ],
)
def test_layer_map(rule, student, teacher, expected):
    assert layer_map(rule, student, teacher) == expected


@pytest.mark.parametrize(
    ("loss", "teacher", "message"),
    [
        (Loss(features=Features()), None, "there is none; give source live"),
        (Loss(0.5, features=Features()), Teacher(), "there is none; give source live"),
    ],
)
def test_hidden_states_need_a_live_teacher(loss, teacher, message):
    with pytest.raises(ValueError, match=message):
        Objective(loss, teacher)


def test_a_weight_of_nothing_is_refused(models):
    teacher, of, *_ = models
    with pytest.raises(ValueError, match="multiplies the features; give a number above 0"):
        objective(Loss(0.5, source=Source.LIVE, features=Features(weight=0.0)), of["cut"], teacher)


@pytest.fixture(scope="module")
def job(tiny, tmp_path_factory):
    """Makes a training of a student of another depth and width on sixteen notes, from the tiny teacher."""
    teacher, tokenizer = load(tiny, "cpu", "float32")
    start = tmp_path_factory.mktemp("start") / "model"
    save(narrow(teacher), tokenizer, start)
    notes = ClinicalSummary().splits(Sizes(16, 0, 0, 0, 0), seed=3).gold
    rows = [row(tokenizer, "Summarize.", note.prompt, note.reference) for note in notes]

    def make(folder, features=Features(), steps=12) -> Job:  # noqa: B008 - frozen
        loss = Loss(0.3, source=Source.LIVE, features=features)
        return Job(
            start, folder / "trained", rows, TrainConfig(steps, 2e-3, 4, loss=loss, checkpoint_seconds=0.0), tiny
        )

    return make


@pytest.fixture(scope="module")
def whole(job, tmp_path_factory) -> tuple[Job, Curve]:
    """One such training that nothing disturbed."""
    made = job(tmp_path_factory.mktemp("whole"))
    return made, made.run("cpu", lambda step: None)


def test_a_student_of_another_shape_learns_and_carries_nothing_else_away(tiny, whole):
    made, curve = whole
    model, loading = AutoModelForCausalLM.from_pretrained(made.folder / "model", output_loading_info=True)
    assert not any(loading[what] for what in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    before, _ = load(made.start, "cpu", "float32")
    assert model.config.hidden_size == 48 and model.state_dict().keys() == before.state_dict().keys()
    assert any(not torch.equal(value, before.state_dict()[name]) for name, value in model.state_dict().items())
    terms = curve.terms
    assert {"cross_entropy", "distillation", "features", "norm_features"} <= terms.keys()
    for name in ("cross_entropy", "distillation", "features"):
        assert terms[name][12] < terms[name][1], name
    for at, loss in zip(curve.steps, curve.loss, strict=True):  # hidden states weigh like outputs
        assert loss == pytest.approx(2 * (0.3 * terms["cross_entropy"][at] + 0.7 * terms["distillation"][at]), rel=1e-2)


def test_interrupted_it_goes_on_to_the_same_curve_and_projections(job, whole, tmp_path):
    killed = job(tmp_path)

    def interrupt(step: int) -> None:
        if step == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        killed.run("cpu", interrupt)
    assert list(killed.folder.glob("checkpoint-*")) and not (killed.folder / FINISHED).exists()
    steps = []
    resumed = killed.run("cpu", steps.append)
    assert steps[0] >= 4  # not from the beginning
    made, curve = whole
    assert resumed.loss == curve.loss and resumed.terms["features"] == curve.terms["features"]
    assert content_hash(killed.folder / "model") == content_hash(made.folder / "model")


def test_two_processes_give_the_curve_of_one(job, whole, tmp_path, monkeypatch):
    """The ratio too is of the whole step."""
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")
    two = job(tmp_path)
    together = processes.train(two, "cpu", Processes(2), lambda step: None)
    _, alone = whole
    assert together.loss == pytest.approx(alone.loss, rel=2e-3)
    assert together.terms["features"] == pytest.approx(alone.terms["features"], rel=1e-2)


def test_hidden_states_alone_are_learnt_beside_text(job, models, tmp_path):
    """alpha 1: no soft labels, and still a teacher."""
    made = job(tmp_path, steps=3)
    made = replace(made, config=replace(made.config, loss=replace(made.config.loss, alpha=1.0)))
    assert not made.cached
    assert {name for name in made.run("cpu", lambda step: None).terms if "norm" not in name} == {
        "cross_entropy",
        "features",
    }


def test_a_run_with_a_student_of_another_shape(job, tiny, tmp_path, monkeypatch, capsys):
    """The documented command."""
    start = job(tmp_path).start
    command = ("run", "feature-based", "--smoke", "--skip-empty", "--teacher", f"local:{tiny}", "--student", start)
    assert distill(monkeypatch, *command, "--workdir", tmp_path / "work") == 0, capsys.readouterr().err
    measured = record.load(tmp_path / "work" / "latest" / "record.json")
    assert (measured.teacher.layers, measured.student.layers, measured.simpler) == (4, 3, "response-based")
    student, _ = load(tmp_path / "work" / "latest" / "student", "cpu", "float32")
    assert student.config.hidden_size == 48 and student.num_parameters() == measured.student.parameters
