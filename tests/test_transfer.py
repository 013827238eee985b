"""Students, the trainer's loss and order, generation: what a training must get right."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch

from implementations.errors import InputError
from implementations.teachers.local import content_hash, load
from implementations.transfer import students
from implementations.transfer.chat import prompt_ids, row
from implementations.transfer.config import TrainConfig
from implementations.transfer.generate import generate
from implementations.transfer.trainer import schedule, train

PROMPTS = ["CRP 142 confirmed pneumonia.", "Seen today: man of 40, gout.", "Chest clear; " * 9]


@pytest.fixture
def model(tiny):
    return load(tiny, "cpu", "float32")


@pytest.mark.parametrize(
    ("total", "keep", "kept"),
    [(30, 10, [0, 3, 6, 10, 13, 16, 19, 23, 26, 29]), (4, 2, [0, 3]), (4, 4, [0, 1, 2, 3]), (4, 1, [0])],
)
def test_kept_layers(total, keep, kept):
    assert students.kept_layers(total, keep) == kept


@pytest.mark.parametrize("keep", [0, 5])
def test_a_student_is_no_larger_than_its_teacher(keep):
    with pytest.raises(ValueError, match="ask for 1 to 4"):
        students.kept_layers(4, keep)


def test_a_cut_student_has_the_teachers_layers_and_leaves_the_teacher_alone(model):
    teacher, tokenizer = model
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    student = students.cut(teacher, 2)
    assert student.config.num_hidden_layers == 2 and teacher.config.num_hidden_layers == 4
    for ours, theirs in zip(student.model.layers, (teacher.model.layers[0], teacher.model.layers[3]), strict=True):
        for (name, a), (_, b) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
            assert torch.equal(a, b), name
    with torch.no_grad():
        student.model.layers[0].mlp.up_proj.weight.zero_()
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
    [[generation]] = generate(student, tokenizer, "", ["x"], 4)  # the cache finds its renumbered layers
    assert generation.completion_tokens <= 4


def test_no_rows_is_an_error_not_an_endless_epoch():
    with pytest.raises(ValueError, match="no rows"):
        schedule([], TrainConfig(steps=1, learning_rate=1e-3))


def test_a_row_ends_with_the_end_of_sequence(model):
    _, tokenizer = model
    r = row(tokenizer, "Summarize.", "note", "answer")
    assert r.input_ids[-1] == tokenizer.eos_token_id
    assert r.input_ids[: -r.completion] == prompt_ids(tokenizer, "Summarize.", "note")
    assert tokenizer.decode(r.input_ids[-r.completion : -1]) == "answer"


def test_a_template_without_a_system_role_gets_the_instruction_in_the_prompt(model):
    _, tokenizer = model
    tokenizer.chat_template = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
        "{{ messages[0]['content'] }}<|im_start|>"
    )
    assert tokenizer.decode(prompt_ids(tokenizer, "Summarize.", "note")) == "Summarize.\n\nnote<|im_start|>"


def test_the_schedule_covers_every_row_once_an_epoch_and_is_the_seeds_own():
    lengths = [n % 7 + 2 for n in range(40)]
    config = TrainConfig(steps=10, learning_rate=1, batch=8)
    ordered = schedule(lengths, config)
    assert len(ordered) == 80
    assert sorted(ordered[:40]) == sorted(ordered[40:]) == list(range(40))
    assert ordered == schedule(lengths, config)
    assert ordered != schedule(lengths, TrainConfig(steps=10, learning_rate=1, batch=8, seed=1))
    assert ordered[:40] != ordered[40:]
    spread = [max(of) - min(of) for of in ([lengths[i] for i in ordered[k : k + 8]] for k in range(0, 40, 8))]
    assert max(spread) <= 2 < max(lengths) - min(lengths)  # like lengths together: little padding


def test_generation_in_a_batch_is_generation_alone(model):
    network, tokenizer = model
    together = {g.index: g for group in generate(network, tokenizer, "Summarize.", PROMPTS, 24, 3) for g in group}
    for i, prompt in enumerate(PROMPTS):
        [[alone]] = generate(network, tokenizer, "Summarize.", [prompt], 24)
        assert (alone.text, alone.truncated) == (together[i].text, together[i].truncated)
        assert together[i].prompt_tokens == len(prompt_ids(tokenizer, "Summarize.", prompt))
    assert all(g.completion_tokens == 24 for g in together.values() if g.truncated)


def test_training_fits_and_any_transformers_process_loads_the_student(tiny, tmp_path):
    network, tokenizer = load(tiny, "cpu", "float32")
    student = students.cut(network, 2)
    rows = [row(tokenizer, "", prompt, f"answer {i}") for i, prompt in enumerate(PROMPTS)]
    curve = train(student, tokenizer, rows, TrainConfig(steps=12, learning_rate=5e-3, batch=4), tmp_path)
    assert curve.steps == list(range(1, 13)) and curve.loss[-1] < 0.7 * curve.loss[0]
    assert {path.suffix for path in (tmp_path / "model").iterdir()} <= {".json", ".safetensors", ".jinja"}
    prompt = tokenizer("Seen today", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        ours = load(tmp_path / "model", "cpu", "float32")[0](prompt).logits[0, -1, :5].tolist()
    script = (
        "import json, sys, torch\n"
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n"
        f"model = AutoModelForCausalLM.from_pretrained({str(tmp_path / 'model')!r})\n"
        f"tokenizer = AutoTokenizer.from_pretrained({str(tmp_path / 'model')!r})\n"
        "ids = tokenizer('Seen today', return_tensors='pt')['input_ids']\n"
        "assert not any(name.split('.')[0] in ('implementations', 'builder') for name in sys.modules)\n"
        "print(json.dumps(model(ids).logits[0, -1, :5].tolist()))\n"
    )
    run = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert json.loads(run.stdout) == pytest.approx(ours, abs=1e-4)


def test_the_same_model_has_one_identity_wherever_it_lies(tiny, tmp_path):
    (copy := tmp_path / "copy").mkdir()
    for path in tiny.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    assert content_hash(copy) == content_hash(tiny)
    (copy / "chat_template.jinja").write_text("other")
    assert content_hash(copy) != content_hash(tiny)


def test_a_model_without_a_chat_template_is_refused(tiny, tmp_path):
    for path in tiny.iterdir():
        if path.name != "chat_template.jinja":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(InputError, match="no chat template"):
        load(tmp_path, "cpu")
