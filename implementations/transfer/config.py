"""How long and how hard a training goes, and what it learns from. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Divergence(StrEnum):
    """How far the student's next-token distribution is from the teacher's; see losses/divergence.py."""

    FORWARD_KL = "forward_kl"
    REVERSE_KL = "reverse_kl"
    JSD = "jsd"


class Source(StrEnum):
    """Where the teacher's distribution comes from in a step."""

    LIVE = "live"  # the teacher runs in every step
    HIDDEN = "hidden"  # its last hidden state, cached: the exact distribution is one matrix product away
    TOP_K = "top_k"  # its most probable entries, cached, and one bucket for the rest


class LayerMap(StrEnum):
    """Which hidden states of student and teacher are compared; see features.py."""

    EVEN = "even"  # every layer of the student's, with the teacher's layers evenly spread
    LAST = "last"  # the last of both


class Distance(StrEnum):
    """How far a hidden state of the student's is from the teacher's; see losses/hidden.py.

    Squared error is ruled by the largest states, and in many models a first token's is far larger than all others (Sun
    et al. 2024, 2402.17762); to cosine each token is as much as any other.
    """

    COSINE = "cosine"
    MSE = "mse"


@dataclass(frozen=True)
class Features:
    """λ · the distance of the mapped hidden states, added to the loss of the outputs.

    ``weight`` is λ; None sets it afresh in every step to the ratio of both losses, so that hidden states count as much
    as outputs (Muralidharan et al. 2024, 2407.14679, sec. 3).
    """

    layers: LayerMap = LayerMap.EVEN
    distance: Distance = Distance.COSINE
    weight: float | None = None


@dataclass(frozen=True)
class OnPolicy:
    """The student writes the text that it is taught on (GKD, 2306.13649, alg. 1).

    ``max_new_tokens`` is its longest answer and ``temperature`` that of the sampling. ``share`` is how often a step is
    on its own text, the paper's lambda; the other steps are on the answers of the rows. One round of writing serves
    ``refresh`` steps, as one large batch, which is many times faster than one for each step; the text of the last of
    them is ``refresh`` − 1 steps old. 1 is the paper's.
    """

    max_new_tokens: int
    share: float = 1.0
    temperature: float = 1.0
    refresh: int = 8


@dataclass(frozen=True)
class Loss:
    """alpha · CE + (1 − alpha) · T² · D, per completion token. alpha = 1 learns from text alone.

    ``beta`` is of the JSD alone; ``k`` of the cached top-k alone, whose divergence is forward KL. ``chunk`` is how many
    tokens meet the head at a time, 0 for all at once; None measures what fits. ``features`` adds hidden states, of a
    live teacher. Without ``on_policy`` the text is the rows' own.
    """

    alpha: float = 1.0
    temperature: float = 1.0
    divergence: Divergence = Divergence.FORWARD_KL
    source: Source = Source.HIDDEN
    beta: float = 0.5
    k: int = 50
    chunk: int | None = None
    on_policy: OnPolicy | None = None
    features: Features | None = None

    @property
    def needs_teacher(self) -> bool:
        """Whether anything but text is learnt."""
        return self.alpha < 1 or self.features is not None


TEXT_ALONE = Loss()


@dataclass(frozen=True)
class TrainConfig:
    """How long and how hard. The same for a student and its control."""

    steps: int
    learning_rate: float
    batch: int = 8  # rows of a step, of all processes together
    warmup_steps: int = 10
    seed: int = 0
    checkpoint_seconds: float = 60.0
    loss: Loss = TEXT_ALONE


@dataclass(frozen=True)
class Processes:
    """How many share a training, and how: an accelerate configuration (FSDP, DeepSpeed), or plainly."""

    count: int
    config: Path | None = None


ONE_PIECE = (
    "a student that writes its own text must be whole in every process, and FSDP and DeepSpeed take it apart; leave "
    "--config out"
)
