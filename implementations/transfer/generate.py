"""Batched greedy generation, the same for teachers and students."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList, PreTrainedModel, PreTrainedTokenizerBase

from .chat import prompt_ids


@dataclass(frozen=True)
class Generation:
    """One answer. ``index`` is its prompt's place in the input; ``truncated`` when it ran into the token limit.

    ``top_logprobs`` holds, for each token of the answer, [token, natural log-probability] of the likeliest ones there.
    """

    index: int
    text: str
    prompt_tokens: int
    completion_tokens: int
    truncated: bool
    top_logprobs: tuple[tuple[tuple[str, float], ...], ...] | None = None


class _Likeliest(LogitsProcessor):
    """Keeps the log-probabilities of the ``k`` likeliest tokens of every step, and leaves the step as it is.

    Few numbers a step, where ``output_scores`` would hold the whole vocabulary of every step until the end.
    """

    def __init__(self, k: int):
        self.k, self.values, self.ids = k, [], []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        values, ids = scores.float().log_softmax(-1).topk(self.k)
        self.values.append(values)
        self.ids.append(ids)
        return scores

    def rows(self, tokenizer: PreTrainedTokenizerBase) -> list[list[tuple[tuple[str, float], ...]]]:
        """By row, then by step. Greedy decoding takes the first."""
        values, ids = torch.stack(self.values, 1).tolist(), torch.stack(self.ids, 1).tolist()

        def step(of_ids: list[int], of_values: list[float]) -> tuple[tuple[str, float], ...]:
            return tuple(zip(map(tokenizer.decode, of_ids), of_values, strict=True))

        return [list(map(step, *of_row)) for of_row in zip(ids, values, strict=True)]


@torch.inference_mode()
def generate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    instruction: str,
    prompts: list[str],
    max_new_tokens: int,
    batch: int = 32,
    top_logprobs: int = 0,
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
        likeliest = _Likeliest(top_logprobs)
        output = model.generate(
            **inputs,
            do_sample=False,
            max_new_tokens=max_new_tokens,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=sorted(stops),
            logits_processor=LogitsProcessorList([likeliest] if top_logprobs else []),
        )
        new = output[:, inputs["input_ids"].shape[1] :].tolist()
        likely = likeliest.rows(tokenizer) if top_logprobs else [None] * len(new)
        yield [
            _generation(tokenizer, stops, i, len(encoded[i]), ids, steps)
            for i, ids, steps in zip(indices, new, likely, strict=True)
        ]


def _stop_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """What ends an answer: the tokenizer's end of sequence, and what the model's own configuration adds to it."""
    configured = model.generation_config.eos_token_id
    return {tokenizer.eos_token_id, *([configured] if isinstance(configured, int) else configured or [])}


def _generation(
    tokenizer: PreTrainedTokenizerBase,
    stops: set[int],
    index: int,
    prompt_tokens: int,
    ids: list[int],
    likeliest: list[tuple[tuple[str, float], ...]] | None,
) -> Generation:
    end = next((at for at, token in enumerate(ids) if token in stops), None)
    text = tokenizer.decode(ids[:end], skip_special_tokens=True).strip()
    written = len(ids) if end is None else end + 1
    return Generation(index, text, prompt_tokens, written, end is None, likeliest and tuple(likeliest[:written]))
