"""One training as data: all that a process needs to do it, or its share of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter
from transformers import AutoConfig, AutoTokenizer

from ..record import Curve, write_atomic
from ..teachers.local import load
from . import attention
from .chat import Row
from .codecs import LastHidden, TopK
from .config import Source, TrainConfig
from .device import compute_dtype
from .heads import adjustment, check_head
from .losses.vocabulary import common_vocabulary
from .objective import Teacher
from .signals import Codec, SignalCache, fill
from .trainer import train


@dataclass(frozen=True)
class Job:
    """Train the model in ``start`` on ``rows``, into ``folder``.

    ``teacher`` is the folder of the model whose distribution the loss gives a share to, ``signals`` where it is cached.
    """

    start: Path
    folder: Path
    rows: list[Row]
    config: TrainConfig
    teacher: Path | None = None
    signals: Path | None = None

    def write(self, path: Path) -> None:
        """As JSON, for a process that has nothing but the file."""
        write_atomic(path, TypeAdapter(Job).dump_json(self).decode())

    @classmethod
    def read(cls, path: Path) -> Job:
        return TypeAdapter(Job).validate_json(path.read_text("utf-8"))

    @property
    def cached(self) -> bool:
        """Whether the teacher's distribution is read from the cache, which must be filled first."""
        return self.config.loss.needs_teacher and self.config.loss.source is not Source.LIVE

    def fill(self, device: str, on_row: Callable[[int], None]) -> None:
        """Run the teacher over the rows that the cache does not hold. Raises InputError, OSError on a full disk."""
        model, tokenizer = load(self.teacher, device)
        attention.prefer(model, compute_dtype(model.device))
        fill(self._cache(), model, self.rows, tokenizer.pad_token_id, on_row=on_row)

    def run(self, device: str, on_step: Callable[[int], None]) -> Curve:
        """Train. Raises InputError where student and teacher do not fit each other, OSError on a full disk."""
        model, tokenizer = load(self.start, device, "float32")
        check_head(model, str(self.start))
        dtype = compute_dtype(model.device)
        attention.prefer(model, dtype)
        teacher = vocabulary = None
        if self.config.loss.needs_teacher:
            vocabulary = shared_vocabulary(self.start, self.teacher)
            theirs, _ = load(self.teacher, device)
            check_head(theirs, str(self.teacher))
            attention.prefer(theirs, dtype)
            head, live = theirs.get_output_embeddings().weight.detach(), self.config.loss.source is Source.LIVE
            teacher = Teacher(head, adjustment(theirs), theirs.eval() if live else None)
        signals = self._cache() if self.cached else None
        return train(model, tokenizer, self.rows, self.config, self.folder, on_step, teacher, signals, vocabulary)

    def codec(self) -> Codec:
        """How the cache keeps the teacher's distribution."""
        loss = self.config.loss
        if loss.source is Source.TOP_K:
            return TopK(loss.k, shared_vocabulary(self.start, self.teacher), loss.temperature)
        return LastHidden(AutoConfig.from_pretrained(self.teacher).get_text_config().hidden_size)

    def _cache(self) -> SignalCache:
        return SignalCache(self.signals, self.codec(), [row.completion for row in self.rows])


def shared_vocabulary(student: Path, teacher: Path) -> int:
    """How many of the first entries of both models' logits are the same tokens. Raises InputError if others differ."""
    ours, theirs = (AutoTokenizer.from_pretrained(folder) for folder in (student, teacher))
    rows = (AutoConfig.from_pretrained(folder).get_text_config().vocab_size for folder in (student, teacher))
    return common_vocabulary(ours, theirs, *rows)
