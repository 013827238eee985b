"""A local model as a teacher: open weights through transformers, all four signals."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from ..errors import InputError
from ..registry import PLATFORMS, Signal
from ..transfer.device import compute_dtype, pick_device
from ..transfer.generate import Generation, generate
from .teacher import Answer, Kind, Request


class LocalTeacher:
    """The model in ``folder`` (safetensors), loaded when it is first asked something it has not answered before."""

    gives: frozenset[Signal] = PLATFORMS["local"].gives

    def __init__(self, folder: Path, name: str, device: str = "auto", batch: int = 32, identity: str | None = None):
        self.folder, self.name, self.device, self.batch = folder, name, device, batch
        # The precision changes answers, so it is part of who answered.
        dtype = str(compute_dtype(pick_device(device))).removeprefix("torch.")
        self.identity = f"local:{identity or content_hash(folder)}:{dtype}"

    def answer(self, requests: list[Request]) -> Iterator[list[tuple[int, Answer]]]:
        """Greedy answers, one group per batch. The requests must differ in their prompts alone."""
        shared = {(request.instruction, request.max_new_tokens, request.top_logprobs) for request in requests}
        if not shared:
            return
        [(instruction, limit, top)] = shared
        model, tokenizer = load(self.folder, self.device)
        prompts = [request.prompt for request in requests]
        started = time.monotonic()
        for group in generate(model, tokenizer, instruction, prompts, limit, self.batch, top):
            each = (time.monotonic() - started) / len(group)
            yield [(g.index, _answer(g, each)) for g in group]
            started = time.monotonic()


def _answer(g: Generation, seconds: float) -> Answer:
    return Answer(g.text, _kind(g), g.prompt_tokens, g.completion_tokens, seconds, top_logprobs=g.top_logprobs)


def _kind(generation: Generation) -> Kind:
    if not generation.text:
        return Kind.EMPTY
    return Kind.TRUNCATED if generation.truncated else Kind.COMPLETE


def load(
    folder: Path, device: str = "auto", dtype: str | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Model and tokenizer from a local folder; ``dtype`` defaults to the fastest the device has for inference.

    Never runs code from the folder and never unpickles. Raises InputError when it holds no such model.
    """
    where = pick_device(device)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = AutoModelForCausalLM.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype=dtype or compute_dtype(where)
        )
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{folder}: {_first_line(error)}; {EXPECTED}") from error
    if tokenizer.chat_template is None:
        raise InputError(f"{folder}: its tokenizer has no chat template, so prompts cannot be phrased; {EXPECTED}")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return model.to(where), tokenizer


EXPECTED = (
    "give a folder with config.json, model.safetensors and the tokenizer of an instruction-tuned causal language model"
)


def check_folder(path: Path, option: str) -> Path:
    """``path`` if it looks like a model, before anything is spent. Raises InputError naming ``option``."""
    if not path.is_dir():
        raise InputError(f"{option} {path}: no such folder; {EXPECTED}")
    missing = [name for name in ("config.json", "tokenizer_config.json") if not (path / name).is_file()]
    if not list(path.glob("*.safetensors")):
        missing.append("*.safetensors")
    if missing:
        raise InputError(f"{option} {path}: no model ({', '.join(missing)} missing); {EXPECTED}")
    return path


def content_hash(folder: Path) -> str:
    """A hash of weights, configuration, tokenizer and chat template, so the same model has one name anywhere.

    BLAKE2b, for a model has hundreds of MB and SHA-256 takes three times as long on a processor without SHA-NI.
    """
    digest = hashlib.blake2b(digest_size=32)
    for path in sorted(folder.iterdir()):
        if path.suffix in {".safetensors", ".json", ".jinja", ".txt", ".model"}:
            digest.update(path.name.encode())
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "blake2b").digest())
    return digest.hexdigest()


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(".")
