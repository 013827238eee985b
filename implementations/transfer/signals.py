"""The signal cache: a teacher's word on every completion token, on disk, so that later epochs never run the teacher.

    FOLDER/shard-00000   header, then the tokens of its rows one after the other, ``codec.bytes_per_token`` each

FOLDER is named by ``cache_key``: teacher, rows and codec. Shards are whole rows in order. Each is written beside its
name, flushed and renamed, so a kill at any point leaves whole shards; one that is not what its header and its folder
say is deleted when the cache is opened, and made again by ``fill``.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from .chat import Row
from .codecs import ZERO, LastHidden, TopK
from .collate import RightPadding
from .heads import check_head, last_hidden, logits_of
from .losses.divergence import kl

FORMAT = "signals 1"  # part of the key: another layout is another cache
HEADER = struct.Struct("<8sQ16sI")  # MAGIC, tokens, what they are of, CRC-32 of the rest of the file
MAGIC = b"signals\n"
SHARD_TOKENS = 2**14  # a shard closes with the row that reaches it: what a kill can lose
BLOCK = 2**20  # bytes read at a time
HEAD_LOGITS = 2**26  # logits made at a time: 256 MiB in float32

Codec = TopK | LastHidden


def cache_key(teacher_identity: str, rows: list[Row], codec: Codec) -> str:
    """The name of the folder that holds these signals, and no others.

    ``teacher_identity`` is the hash of the teacher's content (``teachers.local.content_hash``) and the precision that
    it runs in. Tokenizer and chat template are part of that content; what they made of the data is ``rows``.
    """
    digest = hashlib.blake2b(json.dumps([FORMAT, teacher_identity, codec.name]).encode(), digest_size=16)
    for row in rows:
        digest.update(json.dumps([row.input_ids, row.completion]).encode())
    return digest.hexdigest()


class SignalCache:
    """The signals in ``folder`` of rows with that many ``completions`` tokens that carry loss.

    Opening reads every shard once. Raises OSError when a shard can neither be read nor deleted, ValueError when a row
    has no completion.
    """

    def __init__(self, folder: Path, codec: Codec, completions: list[int], shard_tokens: int = SHARD_TOKENS):
        if min(completions, default=1) < 1:
            raise ValueError("a row without completion tokens has no signal; leave it out")
        self.folder, self.codec, self.completions = folder, codec, completions
        self.shards = list(_whole_rows(completions, shard_tokens))
        self._place: list[tuple[int, int]] = []  # of every row: its shard, and its first token there
        for number, rows in enumerate(self.shards):
            ends = np.cumsum(completions[rows.start : rows.stop]).tolist()
            self._place += [(number, end - completions[row]) for row, end in zip(rows, ends, strict=True)]
        self._data = [self._open(number) for number in range(len(self.shards))]

    def missing(self) -> list[range]:
        """The rows of every shard that is not there; ``fill`` makes them."""
        return [rows for rows, data in zip(self.shards, self._data, strict=True) if data is None]

    @property
    def bytes_per_token(self) -> float:
        """Measured: the size of the files over the tokens in them. Raises ValueError when there are none."""
        there = [number for number, data in enumerate(self._data) if data is not None]
        if not there:
            raise ValueError(f"{self.folder}: nothing is cached yet")
        return sum(self._path(n).stat().st_size for n in there) / sum(self._tokens(n) for n in there)

    def read(self, rows: Sequence[int]) -> dict[str, Tensor]:
        """What the codec decodes for the tokens of ``rows``, one row after the other in the order given.

        Raises ValueError when one of them is missing.
        """
        parts = [np.empty((0, self.codec.bytes_per_token), np.uint8)]
        for row in rows:
            number, start = self._place[row]
            data = self._data[number]
            if data is None:
                raise ValueError(f"{self.folder}: row {row} is not cached; fill the cache first")
            parts.append(data[start : start + self.completions[row]])
        return self.codec.decode(np.concatenate(parts))

    def write(self, rows: range, packed: np.ndarray) -> None:
        """Keep ``packed`` (tokens, bytes_per_token), the signals of ``rows``, one of ``missing()``.

        Raises ValueError when the shapes do not fit, OSError when the disk is full; no part of the shard then stays.
        """
        number = self.shards.index(rows)
        if packed.shape != (self._tokens(number), self.codec.bytes_per_token):
            raise ValueError(f"{packed.shape} is not the shape of the signals of rows {rows.start} to {rows.stop - 1}")
        path = self._path(number)
        part = path.with_name(path.name + ".part")
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("wb") as file:
                file.write(self._header(number, zlib.crc32(packed)))
                file.write(packed)
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        part.replace(path)
        self._data[number] = self._map(number)

    def _open(self, number: int) -> np.ndarray | None:
        """The shard if it is whole; None, and the file deleted, if not."""
        path = self._path(number)
        try:
            with path.open("rb") as file:  # read, not mapped: an unreadable sector is then an error, not a signal
                header, checksum = file.read(HEADER.size), 0
                while block := file.read(BLOCK):
                    checksum = zlib.crc32(block, checksum)
                size = file.tell()
        except FileNotFoundError:
            return None
        whole = HEADER.size + self._tokens(number) * self.codec.bytes_per_token
        if size == whole and header == self._header(number, checksum):
            return self._map(number)
        path.unlink(missing_ok=True)
        return None

    def _map(self, number: int) -> np.ndarray:
        shape = (self._tokens(number), self.codec.bytes_per_token)
        return np.memmap(self._path(number), np.uint8, "r", HEADER.size, shape)

    def _path(self, number: int) -> Path:
        return self.folder / f"shard-{number:05}"

    def _tokens(self, number: int) -> int:
        rows = self.shards[number]
        return sum(self.completions[rows.start : rows.stop])

    def _header(self, number: int, checksum: int) -> bytes:
        """What a whole shard begins with: it names the key, so a shard of another cache is as good as none."""
        rows = self.shards[number]
        content = [self.folder.name, self.codec.name, rows.start, self.completions[rows.start : rows.stop]]
        of = hashlib.blake2b(json.dumps(content).encode(), digest_size=16).digest()
        return HEADER.pack(MAGIC, self._tokens(number), of, checksum)


def _whole_rows(completions: list[int], shard_tokens: int) -> Iterator[range]:
    start = tokens = 0
    for row, completion in enumerate(completions):
        tokens += completion
        if tokens >= shard_tokens or row == len(completions) - 1:
            yield range(start, row + 1)
            start, tokens = row + 1, 0


@torch.inference_mode()
def fill(
    cache: SignalCache,
    teacher: PreTrainedModel,
    rows: list[Row],
    pad_token_id: int,
    batch: int = 16,
    on_row: Callable[[int], None] = lambda done: None,
) -> None:
    """Run ``teacher`` over the rows whose shards are missing, in the precision and on the device that it has.

    ``on_row`` is told how many of all rows are cached, or computed for the shard at work. A killed fill that is started
    again keeps every whole shard. Raises InputError when the cache's codec cannot speak for the teacher, ValueError
    when ``rows`` are not the cache's, OSError when the disk is full.
    """
    if [row.completion for row in rows] != cache.completions:
        raise ValueError("these are not the rows that the cache was opened for")
    missing = cache.missing()
    done = len(rows) - sum(len(shard) for shard in missing)
    on_row(done)
    if not missing:
        return
    teacher.eval()
    _check(teacher, cache.codec)
    for shard in missing:
        packed: dict[int, np.ndarray] = {}
        order = sorted(shard, key=lambda i: -len(rows[i].input_ids))  # little padding, and memory fails early
        for at in range(0, len(order), batch):
            some = order[at : at + batch]
            parts = _encoded(teacher, [rows[i] for i in some], pad_token_id, cache.codec)
            packed |= zip(some, parts, strict=True)
            on_row(done + len(packed))
        cache.write(shard, np.concatenate([packed[i] for i in shard]))
        done += len(shard)


def _encoded(teacher: PreTrainedModel, rows: list[Row], pad_token_id: int, codec: Codec) -> list[np.ndarray]:
    """The packed signals of every row, from one forward pass: the teacher's word at the position before each token."""
    batch = RightPadding(pad_token_id)([vars(row) for row in rows])
    ids, positions = (batch[name].to(teacher.device) for name in ("input_ids", "positions"))
    hidden = last_hidden(teacher, ids, positions)
    if isinstance(codec, TopK):
        chunks = hidden.split(max(1, HEAD_LOGITS // codec.vocabulary))
        packed = np.concatenate([codec.encode(_logits(teacher, chunk, codec)) for chunk in chunks])
    else:
        packed = codec.encode(hidden)
    return np.split(packed, np.cumsum([row.completion for row in rows])[:-1])


def _logits(teacher: PreTrainedModel, hidden: Tensor, codec: TopK) -> Tensor:
    """Of the entries that the codec is of: rows of the head beyond them are padding."""
    return logits_of(teacher, hidden)[:, : codec.vocabulary]


def _check(teacher: PreTrainedModel, codec: Codec) -> None:
    """Raises InputError for a head that is not known, ValueError when the codec is of another one."""
    check_head(teacher, f"the teacher ({type(teacher).__name__})")
    vocabulary, width = teacher.get_output_embeddings().weight.shape
    if (codec.vocabulary > vocabulary) if isinstance(codec, TopK) else (codec.width != width):
        raise ValueError(f"{codec.name} is not of this teacher, whose head has {vocabulary} tokens of width {width}")


@dataclass(frozen=True)
class MeasuredError:
    """KL(dense ‖ cached) in nats a token, and the mass outside the top k, of ``tokens`` tokens.

    For a ``TopK`` the KL is over its k entries and one bucket for the rest, which is what quantization alone costs:
    of the proportions within the tail the cache says nothing.
    """

    tokens: int
    mean_kl: float
    max_kl: float
    mean_tail: float
    max_tail: float


@torch.inference_mode()
def measured_error(cache: SignalCache, teacher: PreTrainedModel, rows: list[Row], sample: int = 16) -> MeasuredError:
    """What the cache says of ``sample`` rows, evenly spread, against ``teacher`` run on each alone, in float64."""
    teacher.eval()
    parts = []
    for i in np.unique(np.linspace(0, len(rows) - 1, min(sample, len(rows))).round().astype(int)).tolist():
        batch = RightPadding(0)([vars(rows[i])])
        hidden = last_hidden(teacher, batch["input_ids"].to(teacher.device), batch["positions"].to(teacher.device))
        parts.append(_against_dense(teacher, hidden, cache.read([i]), cache.codec))
    divergence, tail = (torch.cat(each) for each in zip(*parts, strict=True))
    return MeasuredError(
        len(tail), divergence.mean().item(), divergence.max().item(), tail.mean().item(), tail.max().item()
    )


def _against_dense(
    teacher: PreTrainedModel, hidden: Tensor, cached: dict[str, Tensor], codec: Codec
) -> tuple[Tensor, Tensor]:
    """KL and the dense tail, (n,) each, from the teacher's last hidden states (n, H)."""
    if isinstance(codec, LastHidden):
        dense, theirs = (logits_of(teacher, h.to(hidden)).double().cpu() for h in (hidden, cached["teacher_hidden"]))
        return kl(dense.log_softmax(-1), theirs.log_softmax(-1)), torch.zeros(len(dense))
    log_p = (_logits(teacher, hidden, codec).double().cpu() / codec.temperature).log_softmax(-1)
    rest = log_p.scatter(-1, cached["ids"], -torch.inf).logsumexp(-1, keepdim=True)
    log_p = torch.cat([log_p.gather(-1, cached["ids"]), rest], -1)
    log_p = log_p.masked_fill(log_p < -ZERO, -torch.inf)  # 0 in float32, and to the codec
    log_q = torch.cat([cached["log_probs"], cached["tail"].log().unsqueeze(-1)], -1)
    return kl(log_p, log_q.double()), rest.exp().squeeze(-1)
