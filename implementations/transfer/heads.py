"""How a model's hidden states become logits, so that the head can be applied to some positions alone."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn
from transformers import PreTrainedModel

from ..errors import InputError
from . import attention

CHECKED = 16  # tokens on which a head is checked


def last_hidden(model: PreTrainedModel, input_ids: Tensor, positions: Tensor) -> Tensor:
    """The last hidden states (N, H) at ``positions`` (N,) of the flattened batch ``input_ids`` (B, T)."""
    return at(hidden_states(model, input_ids)[0], positions)


def at(states: Tensor, positions: Tensor) -> Tensor:
    """The rows (N, H) of ``states`` (B, T, H) at ``positions`` (N,) of the flattened batch."""
    return states.flatten(0, 1).index_select(0, positions)


def hidden_states(
    model: PreTrainedModel, input_ids: Tensor, layers: Collection[int] = ()
) -> tuple[Tensor, Sequence[Tensor | None]]:
    """The last hidden states (B, T, H) of a batch ``input_ids`` (B, T), and by number those of ``layers``.

    Number 0 are the embeddings, the last number the last hidden states: after the final norm. Those of other layers may
    be None, and where no layers are asked for, there are none.
    Padding is on the right, where a causal model's earlier positions do not see it: no padding mask is needed.
    """
    embedded = _lookup(model, input_ids)
    given = {"input_ids": input_ids} if embedded is None else {"inputs_embeds": embedded}
    mask = causal_mask(model, input_ids)
    kept = sorted(layers) if layers else False
    out = model.base_model(**given, attention_mask=mask, use_cache=False, output_hidden_states=kept)
    return out.last_hidden_state, out.hidden_states or ()


def _lookup(model: PreTrainedModel, input_ids: Tensor) -> Tensor | None:
    """The tokens' embeddings with a sparse gradient, where the head has the same weight and so gives a dense one.

    Then the rows of the few tokens that occur are added to the head's gradient; else a second tensor of the whole
    vocabulary is filled with zeros and added. None where the model's embedding is its own affair, on a GPU, which would
    have to tell how many tokens differ, and where processes exchange gradients, which must be dense.
    """
    embedding = model.get_input_embeddings()
    tied = type(embedding) is nn.Embedding and embedding.weight is model.get_output_embeddings().weight
    if not tied or not torch.is_grad_enabled() or input_ids.device.type != "cpu" or dist.is_initialized():
        return None
    embedded = nn.functional.embedding(input_ids, embedding.weight, sparse=True)
    if embedding.padding_idx is None:
        return embedded
    return torch.where((input_ids == embedding.padding_idx).unsqueeze(-1), embedded.detach(), embedded)


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


def logits_of(model: PreTrainedModel, hidden: Tensor) -> Tensor:
    """The model's logits (N, V) from its last hidden states (N, H)."""
    return adjustment(model)(nn.functional.linear(hidden, model.get_output_embeddings().weight))


@torch.no_grad()
def check_head(model: PreTrainedModel, what: str) -> None:
    """Raise InputError unless ``logits_of`` gives the model's own logits: tried on a few tokens."""
    if model.get_output_embeddings() is None:
        raise InputError(f"{what}: no output head ({type(model).__name__}); give a causal language model")
    positions = torch.arange(CHECKED, device=model.device)
    ids = positions[None] % model.config.get_text_config().vocab_size
    # With the same mask, so by the same attention: in bfloat16 two kinds of it differ by more than a wrong head would.
    theirs = model(input_ids=ids, attention_mask=causal_mask(model, ids), use_cache=False).logits[0].float()
    ours = logits_of(model, last_hidden(model, ids, positions)).float()
    rounding = max(1e-5, 2 * torch.finfo(model.dtype).eps) * theirs.abs().max()
    if not (ours - theirs).abs().max() <= rounding:
        raise InputError(
            f"{what}: its output layer does more than a matrix product ({type(model).__name__}), which the loss here "
            "does not know; take a model built like Llama, Qwen, Mistral, Gemma, Granite or Cohere"
        )
