"""Batched greedy generation, the same for teachers and students."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from .chat import prompt_ids


@dataclass(frozen=True)
class Generation:
    """One answer. ``index`` is its prompt's place in the input; ``truncated`` when it ran into the token limit."""

    index: int
    text: str
    prompt_tokens: int
    completion_tokens: int
    truncated: bool


@torch.inference_mode()
def generate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    instruction: str,
    prompts: list[str],
    max_new_tokens: int,
    batch: int = 32,
) -> Iterator[list[Generation]]:
    """Answer ``prompts`` greedily, a list of generations per batch, in order of prompt length.

    Prompts of like length share a batch, so little padding is computed. Greedy, because a transfer set should not
    depend on the draw, and the mode is what sequence-level distillation approximates (Kim & Rush 2016, sec. 3.2).
    """
    encoded = [prompt_ids(tokenizer, instruction, prompt) for prompt in prompts]
    order = sorted(range(len(prompts)), key=lambda i: -len(encoded[i]))  # the longest first: memory fails early
    stops = _stop_ids(model, tokenizer)
    model.eval()
    for at in range(0, len(order), batch):
        indices = order[at : at + batch]
        inputs = tokenizer.pad(
            {"input_ids": [encoded[i] for i in indices]}, padding_side="left", return_tensors="pt"
        ).to(model.device)
        output = model.generate(
            **inputs,
            do_sample=False,
            max_new_tokens=max_new_tokens,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=sorted(stops),
        )
        new = output[:, inputs["input_ids"].shape[1] :].tolist()
        yield [_generation(tokenizer, stops, i, len(encoded[i]), ids) for i, ids in zip(indices, new, strict=True)]


def _stop_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """What ends an answer: the tokenizer's end of sequence, and what the model's own configuration adds to it."""
    configured = model.generation_config.eos_token_id
    return {tokenizer.eos_token_id, *([configured] if isinstance(configured, int) else configured or [])}


def _generation(
    tokenizer: PreTrainedTokenizerBase, stops: set[int], index: int, prompt_tokens: int, ids: list[int]
) -> Generation:
    end = next((at for at, token in enumerate(ids) if token in stops), None)
    text = tokenizer.decode(ids[:end], skip_special_tokens=True).strip()
    return Generation(index, text, prompt_tokens, len(ids) if end is None else end + 1, truncated=end is None)
