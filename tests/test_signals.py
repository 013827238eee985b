"""The signal cache: what the teacher says, whole or not at all, and never another teacher's."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time

import killable_fill
import numpy as np
import pytest
import torch
from transformers import (
    CohereConfig,
    CohereForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GPTJConfig,
    GPTJForCausalLM,
    GraniteConfig,
    GraniteForCausalLM,
)

from implementations.errors import InputError
from implementations.teachers.local import content_hash, load
from implementations.transfer import signals
from implementations.transfer.chat import Row
from implementations.transfer.codecs import LastHidden, TopK
from implementations.transfer.heads import logits_of
from implementations.transfer.losses.top_k import top_k_kl
from implementations.transfer.signals import HEADER, SignalCache, cache_key, fill, measured_error

K = 20


@pytest.fixture(scope="module")
def tuned(tiny):
    """Teacher, tokenizer and rows of many lengths."""
    teacher, tokenizer = load(tiny, "cpu", "float32")
    return teacher, tokenizer, killable_fill.rows_of(tokenizer, 24)


def codecs(teacher):
    return {"top-k": TopK(K, teacher.config.vocab_size, 2.0), "hidden": LastHidden(teacher.config.hidden_size)}


def opened(folder, rows, codec, shard_tokens=300):
    return SignalCache(folder, codec, [row.completion for row in rows], shard_tokens)


def filled(folder, tuned, codec, shard_tokens=300):
    teacher, tokenizer, rows = tuned
    cache = opened(folder, rows, codec, shard_tokens)
    fill(cache, teacher, rows, tokenizer.pad_token_id, batch=5)
    return cache


@torch.no_grad()
def dense(teacher, row):
    """The logits that predict the completion, of the row alone and without padding."""
    return teacher(torch.tensor([row.input_ids])).logits[0, -row.completion - 1 : -1]


def test_the_top_k_is_that_of_each_row_alone(tuned, tmp_path):
    teacher, _, rows = tuned
    codec = codecs(teacher)["top-k"]
    cache = filled(tmp_path / "key", tuned, codec)
    assert len({row.completion for row in rows}) > 9  # so there was padding
    for i, row in enumerate(rows):
        log_p = (dense(teacher, row) / codec.temperature).log_softmax(-1)
        got = cache.read([i])
        assert got["ids"].shape == (row.completion, K)
        theirs = log_p.gather(-1, got["ids"])
        # The k best; where two are equal to rounding, either of them.
        torch.testing.assert_close(theirs.sort(descending=True).values, log_p.topk(K).values, rtol=0, atol=1e-4)
        torch.testing.assert_close(got["log_probs"], theirs, rtol=0, atol=0.02)
        torch.testing.assert_close(got["tail"], 1 - theirs.exp().sum(-1), rtol=2e-3, atol=1e-6)


def test_the_hidden_state_times_the_head_gives_the_logits(tuned, tmp_path):
    teacher, _, rows = tuned
    cache = filled(tmp_path / "key", tuned, codecs(teacher)["hidden"])
    for i, row in enumerate(rows):
        hidden = cache.read([i])["teacher_hidden"]
        assert hidden.dtype == torch.bfloat16
        logits = hidden.float() @ teacher.get_output_embeddings().weight.detach().T
        expected = dense(teacher, row)
        torch.testing.assert_close(logits, expected, rtol=0, atol=2**-8 * float(expected.abs().max()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_student_that_is_the_teacher_has_no_loss(tiny, tmp_path, dtype):
    """The cache's form is the one the loss takes; a teacher in bfloat16 is cached as it is."""
    teacher, tokenizer = load(tiny, "cpu", "float32")
    teacher = teacher.to(dtype)
    rows = killable_fill.rows_of(tokenizer, 6)
    cache = filled(tmp_path / "key", (teacher, tokenizer, rows), TopK(K, teacher.config.vocab_size))
    loss = top_k_kl(torch.cat([dense(teacher, row) for row in rows]), **cache.read(range(len(rows))))
    assert loss.mean() < (1e-4 if dtype == torch.float32 else 5e-3)


def test_logits_are_made_a_few_at_a_time(tuned, tmp_path, monkeypatch):
    teacher, *_ = tuned
    codec = codecs(teacher)["top-k"]
    whole = filled(tmp_path / "a" / "key", tuned, codec)
    sizes = []
    encode = TopK.encode
    monkeypatch.setattr(signals, "HEAD_LOGITS", 7 * codec.vocabulary + 3)
    monkeypatch.setattr(TopK, "encode", lambda self, logits: sizes.append(len(logits)) or encode(self, logits))
    chunked = filled(tmp_path / "b" / "key", tuned, codec)
    assert max(sizes) == 7
    every = range(len(whole.completions))
    for name, value in whole.read(every).items():
        torch.testing.assert_close(chunked.read(every)[name], value, rtol=0, atol=1e-2)


def test_rows_come_in_the_order_they_are_asked_for(tuned, tmp_path):
    teacher, _, rows = tuned
    cache = filled(tmp_path / "key", tuned, codecs(teacher)["hidden"])
    assert len(cache.shards) > 2
    order = random.Random(0).choices(range(len(rows)), k=40)
    each = [cache.read([i])["teacher_hidden"] for i in order]
    assert [len(part) for part in each] == [rows[i].completion for i in order]
    assert torch.equal(cache.read(order)["teacher_hidden"], torch.cat(each))
    assert cache.read([])["teacher_hidden"].shape == (0, teacher.config.hidden_size)


def test_it_opens_again_with_the_same_signals(tuned, tmp_path):
    teacher, _, rows = tuned
    codec = codecs(teacher)["top-k"]
    before = filled(tmp_path / "key", tuned, codec).read([7, 3])
    again = opened(tmp_path / "key", rows, codec)
    assert again.missing() == []
    for name, value in again.read([7, 3]).items():
        assert torch.equal(value, before[name])


def test_shards_are_whole_rows(tuned, tmp_path):
    cache = opened(tmp_path / "key", tuned[2], codecs(tuned[0])["top-k"])
    assert [row for shard in cache.shards for row in shard] == list(range(24))
    tokens = [sum(cache.completions[i] for i in shard) for shard in cache.shards]
    assert all(300 <= n < 300 + max(cache.completions) for n in tokens[:-1])
    assert cache.missing() == cache.shards


def test_bytes_per_token_are_those_on_disk(tuned, tmp_path):
    teacher, _, rows = tuned
    codec = codecs(teacher)["top-k"]
    with pytest.raises(ValueError, match="nothing is cached"):
        _ = opened(tmp_path / "key", rows, codec).bytes_per_token
    cache = filled(tmp_path / "key", tuned, codec)
    size = sum(path.stat().st_size for path in (tmp_path / "key").iterdir())
    assert cache.bytes_per_token == size / sum(cache.completions)
    assert 0 < cache.bytes_per_token - codec.bytes_per_token < 0.2


def flip(path, at):
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


DAMAGES = {
    "a bit of the magic": lambda path: flip(path, 0),
    "a bit of the checksum": lambda path: flip(path, HEADER.size - 1),
    "the first bit of the data": lambda path: flip(path, HEADER.size),
    "the last bit of the data": lambda path: flip(path, -1),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "too long": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
    "empty": lambda path: path.write_bytes(b""),
    "another shard": lambda path: shutil.copy(path.with_name("shard-00000"), path),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_shard_is_made_again_and_never_used(tuned, tmp_path, damage):
    teacher, tokenizer, rows = tuned
    codec = codecs(teacher)["top-k"]
    before = filled(tmp_path / "key", tuned, codec).read(range(len(rows)))
    path = tmp_path / "key" / "shard-00001"
    kept = {p: p.stat().st_mtime_ns for p in (tmp_path / "key").iterdir() if p != path}
    DAMAGES[damage](path)
    cache = opened(tmp_path / "key", rows, codec)
    assert cache.missing() == [cache.shards[1]] and not path.exists()
    with pytest.raises(ValueError, match=f"row {cache.shards[1][0]} is not cached"):
        cache.read([cache.shards[1][0]])
    cache.read(cache.shards[0])
    told = []
    fill(cache, teacher, rows, tokenizer.pad_token_id, 5, told.append)
    assert told[0] == len(rows) - len(cache.shards[1]) and told[-1] == len(rows)
    assert {p: p.stat().st_mtime_ns for p in kept} == kept
    for name, value in cache.read(range(len(rows))).items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize("other", ["folder", "codec", "completions"])
def test_a_shard_of_another_cache_is_none(tuned, tmp_path, other):
    """Same sizes everywhere, so that nothing but the header can tell."""
    teacher, *_ = tuned
    codec = TopK(K, teacher.config.vocab_size)
    cache = filled(tmp_path / "key", tuned, codec)
    completions = list(cache.completions)
    assert completions[0] != completions[1] and {0, 1} <= set(cache.shards[0])
    if other == "folder":
        shutil.copytree(tmp_path / "key", tmp_path / "other")
    elif other == "codec":
        codec = TopK(K, teacher.config.vocab_size, 2.0)
    else:
        completions[:2] = completions[1::-1]
    folder = tmp_path / ("other" if other == "folder" else "key")
    again = SignalCache(folder, codec, completions, 300)
    assert again.missing() == (again.shards if other != "completions" else again.shards[:1])


def test_a_killed_fill_goes_on_where_it_was(tuned, tiny, tmp_path):
    teacher, tokenizer, _ = tuned
    rows = killable_fill.rows_of(tokenizer, 200)
    folder = tmp_path / "key"

    def whole():
        cache = killable_fill.opened(folder, rows, teacher.config.vocab_size)
        return len(rows) - sum(map(len, cache.missing()))

    def files():
        return {path: path.stat().st_mtime_ns for path in folder.glob("shard-?????")}

    rng, held = random.Random(), files()
    for _ in range(3):
        before = whole()
        assert files() == held  # all of them were whole
        command = [sys.executable, killable_fill.__file__, folder, tiny]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert int(child.stdout.readline()) == before
            for _ in range(rng.randrange(1, 8)):
                child.stdout.readline()
            time.sleep(0.01 * rng.random())
            child.kill()
        assert child.returncode == -signal.SIGKILL
        assert files().items() >= held.items()  # none was made twice
        held = files()
    cache = killable_fill.opened(folder, rows, teacher.config.vocab_size)
    missing = sum(map(len, cache.missing()))
    assert 0 < missing < len(rows)
    seen = []
    counter = teacher.base_model.register_forward_hook(lambda module, args, output: seen.append(len(output[0])))
    fill(cache, teacher, rows, tokenizer.pad_token_id, killable_fill.BATCH)
    counter.remove()
    assert sum(seen) == missing + 2  # and the row on which the head is checked, twice
    assert files().items() >= held.items() and len(files()) == len(list(folder.iterdir())) == len(cache.shards)
    assert measured_error(cache, teacher, rows, len(rows)).max_kl < 1e-4


def test_a_shard_takes_its_name_when_it_is_on_disk(tuned, tmp_path, monkeypatch):
    def names():
        return sorted(path.name for path in (tmp_path / "key").iterdir())

    there = []
    flush = os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: flush(file) or there.append(names()))
    filled(tmp_path / "key", tuned, codecs(tuned[0])["top-k"])
    shards = [f"shard-{number:05}" for number in range(3)]
    assert there == [[*shards[:number], f"{shards[number]}.part"] for number in range(3)]
    assert names() == shards


def test_a_disk_that_fills_up_leaves_nothing_under_a_shards_name(tuned, tmp_path):
    teacher, tokenizer, rows = tuned
    cache = opened(tmp_path / "key", rows, codecs(teacher)["top-k"])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            fill(cache, teacher, rows, tokenizer.pad_token_id)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list((tmp_path / "key").iterdir()) == []
    assert cache.missing() == cache.shards


@pytest.mark.parametrize("name", ["top-k", "hidden"])
def test_the_measured_error(tuned, tmp_path, name):
    teacher, _, rows = tuned
    codec = codecs(teacher)[name]
    cache = filled(tmp_path / "key", tuned, codec)
    error = measured_error(cache, teacher, rows, sample=5)
    chosen = [0, 6, 12, 17, 23]  # evenly spread
    assert error.tokens == sum(rows[i].completion for i in chosen)
    assert 0 < error.mean_kl < 1e-5 and error.mean_kl < error.max_kl < 1e-4
    if name == "hidden":
        assert error.mean_tail == error.max_tail == 0
    else:
        tails = [1 - (dense(teacher, rows[i]) / 2).softmax(-1).topk(K).values.sum(-1) for i in chosen]
        assert error.mean_tail == pytest.approx(torch.cat(tails).mean().item(), rel=1e-4)
        assert error.max_tail == pytest.approx(torch.cat(tails).max().item(), rel=1e-4)


@pytest.mark.parametrize("name", ["top-k", "hidden"])
def test_the_error_against_another_teacher_is_seen(tuned, tiny, tmp_path, name):
    cache = filled(tmp_path / "key", tuned, codecs(tuned[0])[name])
    other, _ = load(tiny, "cpu", "float32")
    with torch.no_grad():
        other.model.norm.weight *= 1.1
    assert measured_error(cache, other, tuned[2]).mean_kl > 1e-3


def small(config, model, **more):
    torch.manual_seed(0)
    shape = {"vocab_size": 97, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1}
    shape |= {"num_attention_heads": 2, "num_key_value_heads": 2, "initializer_range": 1.0}
    return model(config(**shape, **more, pad_token_id=0, bos_token_id=1, eos_token_id=2))


@pytest.mark.parametrize("codec", [TopK(5, 97), LastHidden(32)])
def test_a_teacher_whose_head_does_more_is_refused(tmp_path, codec):
    rows = [Row(list(range(3, 20)), 9)]
    with pytest.raises(InputError, match=r"the teacher \(GPTJForCausalLM\): its output layer does more than a matrix"):
        fill(opened(tmp_path / "key", rows, codec), biased(), rows, 0)
    assert not (tmp_path / "key").exists()


def biased():
    torch.manual_seed(0)
    shape = {"vocab_size": 97, "n_embd": 32, "n_layer": 1, "n_head": 2, "rotary_dim": 8, "n_positions": 64}
    model = GPTJForCausalLM(GPTJConfig(**shape, bos_token_id=1, eos_token_id=2))
    torch.nn.init.normal_(model.lm_head.bias)
    return model


@pytest.mark.parametrize("codec", [TopK(5, 97), LastHidden(32)])
@pytest.mark.parametrize(
    "teacher",
    [
        lambda: small(CohereConfig, CohereForCausalLM, logit_scale=0.25),
        lambda: small(GraniteConfig, GraniteForCausalLM, logits_scaling=8.0),
        lambda: small(Gemma2Config, Gemma2ForCausalLM, head_dim=16, final_logit_softcapping=3.0),
        lambda: small(Gemma2Config, Gemma2ForCausalLM, head_dim=16, final_logit_softcapping=None),
    ],
    ids=["Cohere, scaled", "Granite, scaled", "Gemma, capped", "Gemma, as it is"],
)
def test_what_a_model_does_to_its_logits_is_in_its_signals(tmp_path, teacher, codec):
    rows, model = [Row(list(range(3, 20)), 9), Row([5, 6, 7], 2)], teacher().eval()
    cache = opened(tmp_path / "key", rows, codec)
    fill(cache, model, rows, 0)
    assert measured_error(cache, model, rows).max_kl < 1e-3
    cached = cache.read([0])
    with torch.no_grad():
        own = model(torch.tensor([rows[0].input_ids])).logits[0, -10:-1].log_softmax(-1)
        if isinstance(codec, TopK):
            theirs, own = cached["log_probs"], own.gather(-1, cached["ids"])
        else:
            theirs = logits_of(model, cached["teacher_hidden"].float()).log_softmax(-1)
    torch.testing.assert_close(theirs, own, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("codec", [TopK(5, 98), LastHidden(31)])
def test_a_codec_of_another_teacher_is_refused(tmp_path, codec):
    rows = [Row([3, 4, 5], 2)]
    teacher = small(Gemma2Config, Gemma2ForCausalLM, head_dim=16, final_logit_softcapping=None)
    with pytest.raises(ValueError, match="head has 97 tokens of width 32"):
        fill(opened(tmp_path / "key", rows, codec), teacher, rows, 0)


def test_rows_without_a_signal_are_refused(tuned, tmp_path):
    teacher, tokenizer, rows = tuned
    codec = codecs(teacher)["top-k"]
    with pytest.raises(ValueError, match="without completion tokens"):
        SignalCache(tmp_path / "key", codec, [3, 0])
    whole = [Row([5, 6, 7], 3)]
    with pytest.raises(ValueError, match="follows nothing"):
        fill(opened(tmp_path / "key", whole, codec), teacher, whole, tokenizer.pad_token_id)
    with pytest.raises(ValueError, match="not the rows"):
        fill(opened(tmp_path / "key", rows, codec), teacher, rows[::-1], tokenizer.pad_token_id)


def test_a_shard_of_another_shape_is_not_written(tuned, tmp_path):
    cache = opened(tmp_path / "key", tuned[2], codecs(tuned[0])["top-k"])
    with pytest.raises(ValueError, match="not the shape of the signals of rows 0 to"):
        cache.write(cache.shards[0], np.zeros((3, cache.codec.bytes_per_token), np.uint8))


def test_no_rows_need_no_teacher(tmp_path):
    cache = SignalCache(tmp_path / "key", TopK(5, 97), [])
    assert cache.missing() == []
    fill(cache, None, [], 0)


CHANGES = {
    "weights": "model.safetensors",
    "configuration": "config.json",
    "tokenizer": "tokenizer.json",
    "template": "chat_template.jinja",
}


@pytest.mark.parametrize("what", CHANGES)
def test_another_teacher_tokenizer_or_template_is_another_key(tuned, tiny, tmp_path, what):
    """They are the teacher's folder, whose content is its identity."""
    rows, codec = tuned[2], TopK(5, 97)
    copy = shutil.copytree(tiny, tmp_path / "copy")
    assert cache_key(content_hash(copy), rows, codec) == cache_key(content_hash(tiny), rows, codec)
    flip(copy / CHANGES[what], -2)
    assert cache_key(content_hash(copy), rows, codec) != cache_key(content_hash(tiny), rows, codec)


def test_other_data_or_another_codec_is_another_key():
    rows = [Row([1, 2, 3], 1), Row([4, 5], 1)]
    keys = [
        cache_key("teacher", rows, TopK(5, 97)),
        cache_key("teacher", rows, TopK(6, 97)),
        cache_key("teacher", rows, TopK(5, 97, 2.0)),
        cache_key("teacher", rows, LastHidden(32)),
        cache_key("teacher", rows[::-1], TopK(5, 97)),
        cache_key("teacher", rows[:1], TopK(5, 97)),
        cache_key("teacher", [Row([1, 2, 3], 2), rows[1]], TopK(5, 97)),
        cache_key("teacher", [Row([1, 2, 4], 1), rows[1]], TopK(5, 97)),
        cache_key("teacher", [Row([1, 23], 1), rows[1]], TopK(5, 97)),
    ]
    assert len(set(keys)) == len(keys)
    assert all(key.isalnum() for key in keys)
