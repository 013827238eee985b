"""Exports: the same model comes back from the exported file, and whatever moved on the way out is named."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import shutil
from pathlib import Path

import pytest
from builder_samples import make_record
from commands import distill
from loopback import echo
from protocols import ollama as protocol
from rich.console import Console

from implementations import record as records
from implementations.delivery import PRECISIONS, Precision, Target, gguf
from implementations.delivery.readers import Transformers, has_llama_cpp
from implementations.delivery.safetensors import card
from implementations.delivery.student import Probe, Student, finished
from implementations.delivery.verify import Expected, Moved, Step, compare, expect
from implementations.errors import InputError
from implementations.progress import Stages
from implementations.tasks.clinical_summary import ClinicalSummary
from implementations.tasks.task import Sizes
from implementations.teachers import embedded, terms

needs_llama_cpp = pytest.mark.skipif(not has_llama_cpp(), reason="xllamacpp is not installed")
QUIET = Stages(Console(quiet=True))


def make_run(folder: Path, model: Path) -> Path:
    """A finished run whose student is ``model``."""
    items = ClinicalSummary().splits(Sizes(0, 0, 0, 3, 1), seed=0).slices["heldout"]
    lines = [
        {
            "slice": "heldout",
            "id": item.id,
            "prompt": item.prompt,
            "answers": {"student_distilled": [{"text": item.reference}]},
        }
        for item in items
    ]
    folder.mkdir()
    (folder / "items.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    measured = make_record()
    task = measured.task.model_copy(update={"instruction": ClinicalSummary.instruction})
    records.save(measured.model_copy(update={"task": task}), folder / "record.json")
    records.link(folder / "student", model)
    return folder


@pytest.fixture(scope="module")
def run(tiny, tmp_path_factory) -> Path:
    return make_run(tmp_path_factory.mktemp("export") / "a-run", tiny)


@pytest.fixture(scope="module")
def student(run) -> Student:
    return finished(run)


@pytest.fixture(scope="module")
def expected(student) -> Expected:
    return expect(student)


def test_a_held_out_item_may_hold_what_ends_lines_elsewhere(tiny, tmp_path):
    odd = "one\u2028two\u2029three\x85four"
    run = make_run(tmp_path / "odd", tiny)
    item = {"prompt": odd, "answers": {"student_distilled": [{"text": odd}]}}
    (run / "items.jsonl").write_text(json.dumps(item, ensure_ascii=False) + "\n", "utf-8")
    assert finished(run).probes == [Probe(odd, odd)]


@pytest.mark.parametrize("precision", PRECISIONS[Target.SAFETENSORS])
def test_a_plain_folder(precision, run, tiny, tmp_path, monkeypatch, capsys):
    from transformers import AutoModelForCausalLM

    command = ("export", run, "--to", "safetensors", "--quantize", precision)
    assert distill(monkeypatch, *command, "--out", tmp_path / "x") == 0
    said = capsys.readouterr().out
    assert "transformers" in said and "same in 4 prompts" in said
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "x", dtype="auto")
    assert str(model.dtype).endswith({"f32": "float32", "bf16": "bfloat16", "f16": "float16"}[precision])
    measured = json.loads((tmp_path / "x/export.json").read_text())
    assert len({(tmp_path / "x" / name).stat().st_mode for name in measured["sha256"]}) == 1  # as the umask has it
    for name, digest in measured["sha256"].items():
        assert hashlib.sha256((tmp_path / "x" / name).read_bytes()).hexdigest() == digest
    assert {"README.md", "model.safetensors", "tokenizer.json", "chat_template.jinja", "generation_config.json"} <= set(
        measured["sha256"]
    )
    [agreement] = measured["agreements"]
    assert (agreement["largest"] == 0) is (precision == "f32") and agreement["largest"] <= agreement["tolerance"]
    card = (tmp_path / "x/README.md").read_text()
    assert (
        "77.7% | 75.7% – 79.7%" in card and ClinicalSummary.instruction.splitlines()[0] in card and "Apache 2.0" in card
    )
    assert str(tiny) not in "".join(path.read_text(errors="replace") for path in (tmp_path / "x").iterdir())


def test_the_card_of_a_committees_student_has_the_terms_of_all(tmp_path):
    """Also of the open model that completes it, which the record's teacher does not name."""
    claude, gpt, own = "claude:claude-x", "langchain:openai:gpt-x", "SmolLM2-135M-Instruct"
    measured = make_record()
    seat = {"competence": None, "weight": 0.25, "won": 0.25, "heldout": measured.retention}
    names = (claude, gpt, f"{own}, tuned on one half of the gold", own)
    members = [records.Member(name=name, **seat) for name in names]
    teacher = measured.teacher.model_copy(update={"name": f"{claude} and {gpt}"})
    measured = measured.model_copy(update={"platform": "claude", "teacher": teacher, "members": members})
    text = card(Student(tmp_path, tmp_path, measured, [], None, None), Precision.F32)
    for name, provider in ((claude, terms.find("claude")), (gpt, terms.find("langchain", "openai:gpt-x"))):
        assert f"the answers of **{name}** may train a model ({provider.status}" in text and provider.note in text
    assert f"the answers of **{own}** may train" in text and text.count(terms.find("local").note) == 1
    assert text.count(terms.NOTICE) == 1


@pytest.fixture(scope="module")
def made(student, expected, tmp_path_factory) -> Path:
    """The student as a GGUF file in float32."""
    path = tmp_path_factory.mktemp("gguf") / "student.gguf"
    gguf.export(student, expected, path, Precision.F32, QUIET)
    return path


def rewritten(made: Path, path: Path, **changes: object) -> Path:
    """A copy of ``made`` whose metadata of these names, under tokenizer, have other values."""
    import gguf as library
    from gguf.scripts.gguf_new_metadata import MetadataDetails, copy_with_new_metadata

    with embedded.read_once(lambda done: None):
        reader, new = library.GGUFReader(str(made)), {}
    for name, value in changes.items():
        field = reader.fields[f"tokenizer.{name}"]
        sub = field.types[-1] if len(field.types) > 1 else None
        new[f"tokenizer.{name}"] = MetadataDetails(field.types[0], value, sub_type=sub)
    copy_with_new_metadata(reader, library.GGUFWriter(path, "llama"), new, [])
    return path


def test_gguf(run, student, expected, tmp_path, monkeypatch, capsys):
    """The documented command; and what it made, read again by both readers."""
    assert distill(monkeypatch, "export", run, "--to", "gguf", "--quantize", "q8_0") == 0
    path = run / "export/a-run-q8_0.gguf"
    measured = json.loads(path.with_suffix(".export.json").read_text())
    assert measured["sha256"] == {path.name: hashlib.sha256(path.read_bytes()).hexdigest()}
    by = {a["reader"].split()[0]: a for a in measured["agreements"]}
    assert set(by) == {"transformers"} | ({"llama.cpp"} if has_llama_cpp() else set())
    assert all(0 < a["largest"] <= a["tolerance"] for a in by.values())
    said = capsys.readouterr().out
    assert "same in 4 prompts" in said and str(path) in said
    assert [p.name for p in path.parent.iterdir() if p.suffix == ".part"] == []


def test_float32_is_the_same_model(made):
    measured = json.loads(made.with_suffix(".export.json").read_text())["agreements"]
    assert all(a["largest"] < 1e-3 and a["same_first"] == 1 for a in measured)


def test_a_changed_template_is_named(made, student, expected, tmp_path):
    template = student.tokenizer.chat_template.replace("assistant", "Assistant")
    path = rewritten(made, tmp_path / "x.gguf", **{"chat_template": template})
    with pytest.raises(Moved, match="chat template moved: it had") as error:
        gguf.verify(student, expected, path, Precision.F32, QUIET)
    assert error.value.step is Step.TEMPLATE


def test_changed_tokens_are_named(made, student, expected, tmp_path):
    from gguf import GGUFReader

    merges = GGUFReader(made).fields["tokenizer.ggml.merges"].contents()
    path = rewritten(made, tmp_path / "x.gguf", **{"ggml.merges": merges[40:] + merges[:40]})
    with pytest.raises(Moved, match="tokens moved: held-out prompt 1 has") as error:
        gguf.verify(student, expected, path, Precision.F32, QUIET)
    assert error.value.step is Step.TOKENS


@needs_llama_cpp
def test_a_pre_tokenizer_that_is_nearly_right_is_named(made, student, expected, tmp_path):
    path = rewritten(made, tmp_path / "x.gguf", **{"ggml.pre": "smollm"})
    with pytest.raises(Moved, match=r"llama.cpp .* tokens moved: held-out prompt 1 has"):
        gguf.verify(student, expected, path, Precision.F32, QUIET)


def test_without_llama_cpp_transformers_looks_at_the_tokens_too(made, student, expected, monkeypatch, capsys):
    monkeypatch.setattr(gguf, "has_llama_cpp", lambda: False)
    [agreement] = gguf.verify(student, expected, made, Precision.F32, Stages(Console()))
    assert agreement.prompts == 4 and agreement.largest < 1e-3
    assert "pip install -e '.[export]'" in capsys.readouterr().out


def test_rows_in_the_wrong_order_are_named_and_nothing_is_left(student, expected, tmp_path, monkeypatch):
    monkeypatch.setattr(gguf, "interleave", lambda data, heads: data)
    with pytest.raises(Moved, match="logprobs moved: one of the student's 5 likeliest next tokens") as error:
        gguf.export(student, expected, tmp_path / "x.gguf", Precision.F32, QUIET)
    assert error.value.step is Step.LOGPROBS and list(tmp_path.iterdir()) == []


def test_a_folder_that_changed_is_named(student, expected, tmp_path):
    from safetensors.torch import load_file, save_file

    for name in (Step.TEMPLATE, Step.TOKENS, Step.LOGPROBS):
        shutil.copytree(student.folder, tmp_path / name)
    template = tmp_path / Step.TEMPLATE / "chat_template.jinja"
    template.write_text(template.read_text() + "\n")
    tokenizer = tmp_path / Step.TOKENS / "tokenizer.json"
    described = json.loads(tokenizer.read_text())
    described["model"]["merges"] = described["model"]["merges"][40:]
    tokenizer.write_text(json.dumps(described))
    weights = tmp_path / Step.LOGPROBS / "model.safetensors"
    tensors = load_file(weights)
    tensors["model.norm.weight"] *= 1.1
    save_file(tensors, weights, {"format": "pt"})
    for name in (Step.TEMPLATE, Step.TOKENS, Step.LOGPROBS):
        with pytest.raises(Moved) as error:
            compare(expected, Transformers.of(tmp_path / name), student, Precision.F32)
        assert error.value.step is name


def test_the_embedded_tokenizer(tmp_path):
    """49,152 tokens of SmolLM2's, as `make run` has them, and with the pre-tokenizer that SmolLM2 was trained with."""
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    file = embedded.gguf()
    with embedded.read_once(lambda done: None):
        tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    assert gguf.pre_tokenizer(tokenizer) == "gpt-2"
    embedded.split_digits(tokenizer)
    assert gguf.pre_tokenizer(tokenizer) == "smollm"
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    ends = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}
    config = LlamaConfig(vocab_size=len(tokenizer), **sizes, **ends, tie_word_embeddings=False, initializer_range=0.3)
    LlamaForCausalLM(config).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    student = finished(make_run(tmp_path / "run", tmp_path / "model"))
    if has_llama_cpp():  # transformers has no pre-tokenizer of that name
        expected = expect(student)
        exported = gguf.export(student, expected, tmp_path / "x.gguf", Precision.F32, QUIET)
        assert [a.prompts for a in exported.agreements] == [4, 0]
        path = rewritten(tmp_path / "x.gguf", tmp_path / "y.gguf", **{"ggml.pre": "gpt-2"})
        with pytest.raises(Moved, match="tokens moved: a prompt of numbers and spaces has"):  # the notes do not tell
            gguf.verify(student, expected, path, Precision.F32, QUIET)


def test_what_a_gguf_file_cannot_say_is_refused(student):
    from tokenizers import pre_tokenizers
    from transformers import GPT2Config, PreTrainedTokenizerFast

    other = dataclasses.replace(student, model=copy.deepcopy(student.model))
    other.model.config.rope_parameters["rope_type"] = "yarn"
    raw = copy.deepcopy(student.tokenizer.backend_tokenizer)
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    other = dataclasses.replace(other, tokenizer=PreTrainedTokenizerFast(tokenizer_object=raw))
    with pytest.raises(InputError, match=r"'yarn' is not known; the pre-tokenizer is not known \(Whitespace\); export"):
        gguf.check(other)
    other.model.config = GPT2Config()
    with pytest.raises(InputError, match="a gpt2 model, and only Llama's kind is known; export --to safetensors and"):
        gguf.check(other)


@needs_llama_cpp
def test_ollama(run, start, tmp_path, monkeypatch, capsys):
    """The server gets the file, the template in its own language, the instruction, the stop tokens."""
    server = start(protocol.respond(echo, store=tmp_path))
    monkeypatch.setenv("OLLAMA_HOST", server.url)
    command = ("export", run, "--to", "ollama", "--model", "notes", "--quantize", "f32")
    assert distill(monkeypatch, *command) == 0
    [asked] = [call.json for call in server.calls if call.path == "/api/create"]
    assert asked["system"] == ClinicalSummary.instruction
    assert asked["parameters"] == {"temperature": 0, "stop": ["<|im_end|>"]}
    assert asked["template"] == (
        '{{ range .Messages }}{{ if eq .Role "system" }}<|im_start|>system\n{{ .Content }}<|im_end|>\n'
        '{{ else if eq .Role "user" }}<|im_start|>user\n{{ .Content }}<|im_end|>\n'
        '{{ else if eq .Role "assistant" }}<|im_start|>assistant\n{{ .Content }}<|im_end|>\n{{ end }}{{ end }}'
        "<|im_start|>assistant\n"
    )
    [blob] = tmp_path.iterdir()
    assert blob.read_bytes() == (run / "export/a-run-f32.gguf").read_bytes()
    ollama = json.loads((run / "export/a-run-f32.ollama.json").read_text())["agreements"][-1]
    assert ollama["reader"].startswith("Ollama at") and ollama["prompts"] == 3 and ollama["largest"] < 1e-3
    assert distill(monkeypatch, *command) == 2
    assert "--model notes: is there already" in capsys.readouterr().err


@needs_llama_cpp
def test_a_template_that_says_something_else_at_ollama_is_named(run, start, tmp_path, monkeypatch, capsys):
    from implementations.delivery import ollama

    server = start(protocol.respond(echo, store=tmp_path))
    monkeypatch.setenv("OLLAMA_HOST", server.url)
    right = ollama.Phrasing.template
    monkeypatch.setattr(ollama.Phrasing, "template", lambda self: right(self) + " ")
    assert distill(monkeypatch, "export", run, "--to", "ollama", "--quantize", "f32") == 2
    assert "tokens moved" in capsys.readouterr().err
    assert server.paths["DELETE /api/delete"] == 1


REFUSING = "{% if messages[0].role == 'system' %}{{ raise_exception('none') }}{% endif %}"
DEFAULT = "{% if messages[0].role != 'system' %}<s>system: Be nice.</s>{% endif %}"
ROLES = "{% for m in messages %}<s>{{ m.role }}: {{ m.content }}</s>{% endfor %}"
GENERATE = "{% if add_generation_prompt %}<s>assistant: {% endif %}"


@pytest.mark.parametrize(
    "before, instruction, default", [("", "Go.", ""), (DEFAULT, "", "Be nice."), (DEFAULT, "Go.", "Be nice.")]
)
def test_templates_that_ollama_can_have(before, instruction, default, student):
    from implementations.delivery.ollama import phrase

    task = student.record.task.model_copy(update={"instruction": instruction})
    tokenizer = copy.deepcopy(student.tokenizer)
    tokenizer.chat_template = before + ROLES + GENERATE
    asked = dataclasses.replace(student, tokenizer=tokenizer, record=student.record.model_copy(update={"task": task}))
    phrasing = phrase(asked)
    assert phrasing.default_system == default and phrasing.system == ("<s>system: ", "</s>")
    messages = [{"role": role, "content": f"a {role}"} for role in ("system", "user", "assistant", "user")]
    rendered = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert protocol.execute(phrasing.template(), messages) == rendered


@pytest.mark.parametrize(
    "template, says",
    [
        (ROLES.replace("m.content", "m.content | upper") + GENERATE, "writes more than each role's text"),
        (REFUSING, r"takes no system instruction \(none\)"),
    ],
)
def test_templates_that_ollama_cannot_have(template, says, student):
    from implementations.delivery.ollama import phrase

    tokenizer = copy.deepcopy(student.tokenizer)
    tokenizer.chat_template = template
    with pytest.raises(InputError, match=f"its chat template {says}.*; export --to gguf"):
        phrase(dataclasses.replace(student, tokenizer=tokenizer))


BAD = {
    "nowhere": (["{run}", "--to", "moon"], "--to moon: choose one of: safetensors, gguf, ollama"),
    "mistyped": (["{run}", "--to", "gguff"], "--to gguff: did you mean `gguf`?"),
    "stored in no such way": (["{run}", "--to", "gguf", "--quantize", "fp16"], "--quantize fp16: did you mean `f16`?"),
    "not finished": (["{tmp}", "--to", "gguf"], "{tmp}: no finished run (record.json, items.jsonl, student missing)"),
    "there already": (["{run}", "--to", "gguf", "--out", "{tmp}"], "--out {tmp}: is there already"),
    "a name for a file": (["{run}", "--to", "gguf", "--model", "x"], "--model goes with --to ollama"),
    "a file for Ollama": (["{run}", "--to", "ollama", "--out", "x"], "--out: Ollama keeps its models itself"),
    "not of a folder": (
        ["{run}", "--to", "safetensors", "--quantize", "q8_0"],
        "--quantize q8_0: safetensors takes f32, bf16, f16",
    ),
    "no folder to write": (
        ["{run}", "--to", "gguf", "--out", "/dev/null/x.gguf"],
        "/dev/null/x.gguf: cannot be written",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name, run, tmp_path, monkeypatch, capsys):
    arguments, says = (
        [text.format(run=run, tmp=tmp_path) for text in texts] for texts in (BAD[name][0], [BAD[name][1]])
    )
    assert distill(monkeypatch, "export", *arguments) == 2
    assert says[0] in capsys.readouterr().err


def test_a_full_disk(student, expected, tmp_path, monkeypatch):
    monkeypatch.setattr(gguf, "write", lambda *_: Path("/dev/full").write_bytes(b"x"))
    with pytest.raises(
        InputError, match=r"x.gguf: the disk is full; free some space \(or give --out on another disk\)"
    ):
        gguf.export(student, expected, tmp_path / "x.gguf", Precision.F32, QUIET)
    assert list(tmp_path.iterdir()) == []
