"""Which hidden states a student is compared by, and how: the part of a loss that learns along with it."""

from __future__ import annotations

from transformers import PreTrainedModel

from .config import Distance, Features, LayerMap
from .losses.hidden import HiddenStateLoss, hidden_cosine, hidden_mse

DISTANCES = {Distance.COSINE: hidden_cosine, Distance.MSE: hidden_mse}


def layer_map(rule: LayerMap, student: int, teacher: int) -> dict[int, int]:
    """Student layer to teacher layer, for models of so many layers; layer 0 would be the embeddings.

    Even is g(m) = m · teacher / student, rounded: TinyBERT's uniform strategy (Jiao et al., 1909.10351, tab. 4). The
    last layer alone is advised against overfitting (Ko et al., 2302.01530, abstract).

    >>> layer_map(LayerMap.EVEN, 4, 30)
    {1: 8, 2: 15, 3: 22, 4: 30}
    """
    if rule is LayerMap.LAST:
        return {student: teacher}
    return {m: round(m * teacher / student) for m in range(1, student + 1)}


def hidden_state_loss(features: Features, student: PreTrainedModel, teacher: PreTrainedModel) -> HiddenStateLoss:
    """The comparison that ``features`` asks for, with projections of its own, where the student is.

    Depths and widths may differ; that both have the same tokens is for the caller to check.
    """
    ours, theirs = (model.config.get_text_config() for model in (student, teacher))
    layers = layer_map(features.layers, ours.num_hidden_layers, theirs.num_hidden_layers)
    loss = HiddenStateLoss(layers, ours.hidden_size, theirs.hidden_size, DISTANCES[features.distance])
    return loss.to(student.device)
