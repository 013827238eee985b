"""The student's own text in place of the rows': what on-policy distillation is taught on (GKD, 2306.13649, alg. 1)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from .chat import Row
from .collate import RightPadding
from .config import TrainConfig
from .generate import complete, stop_ids
from .objective import answering

AT_ONCE = 32  # answers written in one batch, as many as when a model is asked
TERMS = ("empty", "truncated", "seconds_writing")  # what a curve tells of the writing


class Writer:
    """Makes the batch of a step from its places in the schedule, ``order``, which holds the rows of all steps.

    In a step on its own text the student has answered the rows' prompts. The teacher's part comes later, as does the
    gradient: none goes through the sampling. An answer that was cut at the limit carries loss on its tokens and no end,
    so nobody learns to stop there. One that ends at once gives way to the row's own answer: what is to be learnt at its
    only place is the same there, and the places after it come along.

    What is written follows from seed, place and weights: every place has its own random numbers, whichever process
    writes there. (Up to rounding: in another batch, bfloat16 now and then tips a draw.) A round of writing begins at
    every multiple of ``refresh`` steps, and there alone can a training that was killed go on.
    """

    def __init__(
        self,
        student: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        rows: list[Row],
        order: list[int],
        config: TrainConfig,
    ):
        self.student, self.tokenizer, self.config, self.own = student, tokenizer, config, config.loss.on_policy
        self.scheduled = [rows[i] for i in order]
        self.collate = RightPadding(tokenizer.pad_token_id)
        self.written: dict[int, Row] = {}  # by place, in this round
        self.answers = self.empty = self.truncated = 0  # since they were last taken, and what they took
        self.seconds = 0.0

    def batch(self, step: int, places: list[int], autocast: Callable[[], AbstractContextManager]) -> dict[str, Tensor]:
        """The batch of ``step``, 0 for the first, as of ``collate.RightPadding``.

        ``places`` are this process's; every later step has its own ``config.batch`` places on. ``autocast`` makes the
        context in which the student computes.
        """
        if step % self.own.refresh == 0:
            started = time.monotonic()
            with answering(self.student), autocast():
                self.written = dict(self._round(step, places))
            self.seconds += time.monotonic() - started
        return self.collate([vars(self.written.get(place, self.scheduled[place])) for place in places])

    def _round(self, step: int, places: list[int]) -> Iterator[tuple[int, Row]]:
        """What the student writes for the steps until the next round, by place; without the empty ones."""
        steps = range(step, min(step + self.own.refresh, self.config.steps))
        due = [p + (s - step) * self.config.batch for s in steps if self._on_own_text(s) for p in places]
        due.sort(key=lambda place: -len(self._prompt(place)))  # of like length in one batch
        stops = stop_ids(self.student, self.tokenizer)
        for at in range(0, len(due), AT_ONCE):
            group = due[at : at + AT_ONCE]
            numbers = torch.from_numpy(np.stack([self._numbers(place) for place in group]))
            prompts = [self._prompt(place) for place in group]
            answers = complete(
                self.student, self.tokenizer, prompts, self.own.max_new_tokens, numbers, self.own.temperature
            )
            for place, prompt, answer in zip(group, prompts, answers, strict=True):
                self.answers += 1
                self.truncated += answer[-1] not in stops
                if answer[0] in stops:
                    self.empty += 1
                else:
                    yield place, Row(prompt + answer, len(answer))

    def _prompt(self, place: int) -> list[int]:
        row = self.scheduled[place]
        return row.input_ids[: -row.completion]

    def _on_own_text(self, step: int) -> bool:
        """Drawn for each step, the same in every process."""
        return np.random.default_rng((self.config.seed, step)).random() < self.own.share

    def _numbers(self, place: int) -> np.ndarray:
        return np.random.default_rng((self.config.seed, place, 1)).random(self.own.max_new_tokens)

    def take(self) -> tuple[list[int], float]:
        """How many answers were written since the last call, were empty and were cut off; and the seconds it took."""
        taken = [self.answers, self.empty, self.truncated], self.seconds
        self.answers = self.empty = self.truncated = 0
        self.seconds = 0.0
        return taken
