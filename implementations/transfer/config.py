"""How long and how hard to train. Imports nothing heavy, so that a plan can be made before torch is loaded."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TrainConfig:
    """How long and how hard. The same for a student and its control."""

    steps: int
    learning_rate: float
    batch: int = 8
    warmup_steps: int = 10
    seed: int = 0
    checkpoint_seconds: float = 60.0
