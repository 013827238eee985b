"""Prompts and completions as token ids, with the model's own chat template."""

from __future__ import annotations

from dataclasses import dataclass

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Row:
    """One training example. Only the last ``completion`` of ``input_ids`` carry loss."""

    input_ids: list[int]
    completion: int


def prompt_ids(tokenizer: PreTrainedTokenizerBase, instruction: str, prompt: str) -> list[int]:
    """The ids of system instruction and user prompt, up to where the assistant's answer begins."""
    system = [{"role": "system", "content": instruction}] if instruction else []
    try:
        encoded = _encode(tokenizer, [*system, {"role": "user", "content": prompt}])
    except TemplateError:  # a template without a system role: the instruction leads the user's message
        encoded = _encode(tokenizer, [{"role": "user", "content": f"{instruction}\n\n{prompt}"}])
    return list(encoded)


def _encode(tokenizer: PreTrainedTokenizerBase, messages: list[dict[str, str]]) -> list[int]:
    return tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)["input_ids"]


def row(tokenizer: PreTrainedTokenizerBase, instruction: str, prompt: str, answer: str) -> Row:
    """Prompt and answer as one sequence; the answer ends with the end-of-sequence token, so stopping is learnt."""
    start = prompt_ids(tokenizer, instruction, prompt)
    end = tokenizer(answer, add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id]
    return Row(start + end, len(end))
