"""Batched generation, the same for teachers and students: greedy, or by given random numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import LogitsProcessor, PreTrainedModel, PreTrainedTokenizerBase

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
    stops = stop_ids(model, tokenizer)
    for at in range(0, len(order), batch):
        indices = order[at : at + batch]
        likeliest = _Likeliest(top_logprobs) if top_logprobs else None
        new = complete(model, tokenizer, [encoded[i] for i in indices], max_new_tokens, watch=likeliest)
        likely = likeliest.rows(tokenizer) if likeliest else [None] * len(new)
        yield [
            _generation(tokenizer, stops, i, len(encoded[i]), ids, steps)
            for i, ids, steps in zip(indices, new, likely, strict=True)
        ]


def complete(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: list[list[int]],
    max_new_tokens: int,
    numbers: Tensor | None = None,
    temperature: float = 1.0,
    watch: LogitsProcessor | None = None,
) -> list[list[int]]:
    """The token ids that ``model`` adds to each of ``prompts``, in one batch, up to and with the one that ends them.

    Greedy; or, with ``numbers`` (B, max_new_tokens) drawn uniformly from [0, 1), sampled at ``temperature`` from the
    whole distribution, so that a row's text depends on its own numbers alone, whatever else is in the batch. ``watch``
    sees each step's scores first.
    """
    stops = stop_ids(model, tokenizer)
    inputs = tokenizer.pad({"input_ids": prompts}, padding_side="left", return_tensors="pt").to(model.device)
    width = inputs["input_ids"].shape[1]
    draw = None if numbers is None else _Draw(numbers.to(model.device), width, temperature)
    output = model.eval().generate(
        **inputs,
        do_sample=False,  # what is sampled, _Draw has made the likeliest
        logits_processor=[step for step in (watch, draw) if step],
        max_new_tokens=max_new_tokens,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=sorted(stops),
    )
    return [_until(stops, ids) for ids in output[:, width:].tolist()]


class _Draw(LogitsProcessor):
    """Leaves each row one token: that in whose share of the interval from 0 to 1 the row's number lies."""

    def __init__(self, numbers: Tensor, width: int, temperature: float):
        self.numbers, self.width, self.temperature = numbers, width, temperature

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        number = self.numbers[:, input_ids.shape[1] - self.width, None]
        reached = (scores / self.temperature).softmax(-1).cumsum(-1, dtype=torch.float64)
        token = torch.searchsorted(reached, number * reached[:, -1:], right=True)
        return torch.full_like(scores, -torch.inf).scatter(1, token, 0.0)


def _until(stops: set[int], ids: list[int]) -> list[int]:
    end = next((at for at, token in enumerate(ids) if token in stops), len(ids) - 1)
    return ids[: end + 1]


def stop_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> set[int]:
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
    ended = ids[-1] in stops
    text = tokenizer.decode(ids[:-1] if ended else ids, skip_special_tokens=True).strip()
    return Generation(index, text, prompt_tokens, len(ids), not ended, likeliest and tuple(likeliest[: len(ids)]))
