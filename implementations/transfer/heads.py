"""How a model's hidden states become logits, so that the head can be applied to some positions alone."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.distributed as dist
from torch import Tensor, nn
from transformers import PreTrainedModel

from ..errors import InputError
from . import attention


def last_hidden(model: PreTrainedModel, input_ids: Tensor, positions: Tensor) -> Tensor:
    """The last hidden states (N, H) at ``positions`` (N,) of the flattened batch ``input_ids`` (B, T).

    Padding is on the right, where a causal model's earlier positions do not see it: no padding mask is needed.
    """
    given = (
        {"inputs_embeds": embedded} if (embedded := _lookup(model, input_ids)) is not None else {"input_ids": input_ids}
    )
    states = model.base_model(**given, attention_mask=causal_mask(model, input_ids), use_cache=False).last_hidden_state
    return states.flatten(0, 1).index_select(0, positions)


def _lookup(model: PreTrainedModel, input_ids: Tensor) -> Tensor | None:
    """The tokens' embeddings with a sparse gradient, where the head has the same weight and so gives a dense one.

    Then the rows of the few tokens that occur are added to the head's gradient; else a second tensor of the whole
    vocabulary is filled with zeros and added. None where the model's embedding is its own affair, or where processes
    exchange gradients, which must be dense.
    """
    embedding = model.get_input_embeddings()
    tied = type(embedding) is nn.Embedding and embedding.weight is model.get_output_embeddings().weight
    if not tied or not torch.is_grad_enabled() or dist.is_initialized():
        return None
    return nn.functional.embedding(input_ids, embedding.weight, embedding.padding_idx, sparse=True)


def causal_mask(model: PreTrainedModel, input_ids: Tensor) -> Tensor | None:
    """(1, 1, T, T), True where a token sees another; None where the model must make its own.

    Transformers makes the same mask itself, but looks for packed sequences first, which makes the host wait for the
    device. A model whose layers see less than all that went before, or with another attention, keeps its own.
    """
    config = model.config.get_text_config()
    if config._attn_implementation not in ("sdpa", attention.NAME) or getattr(config, "sliding_window", None):
        return None
    length = input_ids.shape[1]
    return torch.ones(length, length, dtype=torch.bool, device=input_ids.device).tril()[None, None]


def adjustment(model: PreTrainedModel) -> Callable[[Tensor], Tensor]:
    """What the model does to the product of hidden state and head before it calls it logits."""
    config = model.config.get_text_config()
    if cap := getattr(config, "final_logit_softcapping", None):  # Gemma
        return lambda logits: cap * torch.tanh(logits / cap)
    if divisor := getattr(config, "logits_scaling", None):  # Granite
        return lambda logits: logits / divisor
    if factor := getattr(config, "logit_scale", None):  # Cohere
        return lambda logits: logits * factor
    return lambda logits: logits


@torch.no_grad()
def check_head(model: PreTrainedModel, what: str) -> None:
    """Raise InputError unless head and ``adjustment`` give the model's own logits: tried on four tokens."""
    ids = torch.arange(4, device=model.device)[None] % model.config.get_text_config().vocab_size
    theirs = model(input_ids=ids, use_cache=False).logits[0]
    hidden = last_hidden(model, ids, torch.arange(4, device=model.device))
    ours = adjustment(model)(hidden @ model.get_output_embeddings().weight.T)
    if not torch.allclose(ours.float(), theirs.float(), rtol=2e-2, atol=2e-2 * float(theirs.float().abs().max())):
        raise InputError(
            f"{what}: its output layer does more than a matrix product ({type(model).__name__}), which the loss here "
            "does not know; take a model built like Llama, Qwen, Mistral, Gemma, Granite or Cohere"
        )
