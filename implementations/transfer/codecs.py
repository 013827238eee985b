"""A teacher's signal for one token in a fixed number of bytes: its most probable tokens, or its last hidden state."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from .losses.numeric import check_temperature, upcast

GONE = 255  # the code of an entry whose probability is 0
STEPS = GONE - 1  # codes 0 to STEPS are depths below the row's maximum
POWER = 1.5  # of the grid: measured, 1 is better for flat rows and 2 for peaked ones, neither by much
ZERO = 104.0  # nats: exp(−ZERO) is 0 in float32
FLATTEST = -(2.0**-24)  # the float16 next to 0: the logarithm of a tail that is all but everything


@dataclass(frozen=True)
class TopK:
    """The ``k`` most probable tokens of a softmax at ``temperature``, and the mass of all others.

    A token takes the ids, sorted and Elias–Fano coded; one byte an entry; the depth of the deepest entry and the
    logarithm of the tail's mass, as float16. An entry's byte c says that it lies range · (c / 254)^1.5 nats below the
    row's maximum: finer where the mass is, and off by at most ¾ · range · √(c + ½) / 254^1.5. The maximum itself is not
    stored, for everything adds up to 1: what is decoded is normalized, whatever was rounded. Where k is V or more, all
    entries are there and the tail is 0. Raises ValueError when k, V or the temperature make no sense.

    50 of 49,152 take 129 bytes; the plain form (float16 values, 16-bit ids, float16 tail) takes 202.
    """

    k: int
    vocabulary: int
    temperature: float = 1.0

    def __post_init__(self):
        if self.k < 1 or self.vocabulary < 1:
            raise ValueError(f"the top {self.k} of {self.vocabulary} tokens are none; give at least 1 of 1")
        check_temperature(self.temperature)

    @property
    def name(self) -> str:
        return f"top-{self.k}-of-{self.vocabulary}@T{float(self.temperature)}"

    @cached_property
    def ids(self) -> SortedIds:
        return SortedIds(min(self.k, self.vocabulary), self.vocabulary)

    @property
    def bytes_per_token(self) -> int:
        return self.ids.bytes + self.ids.count + 4

    def encode(self, logits: Tensor) -> np.ndarray:
        """Logits (N, V) on any device to uint8 (N, bytes_per_token).

        Raises ValueError when V is another, or when a row is no distribution (NaN, +inf, or nothing but −inf).
        """
        if logits.shape[-1] != self.vocabulary:
            raise ValueError(f"logits of {logits.shape[-1]} tokens; this codec is of {self.vocabulary}")
        logits = upcast(logits)
        values, ids = logits.topk(self.ids.count)
        ids, order = ids.sort()
        highest = values[:, :1]
        depth = (highest - values.gather(-1, order)) / self.temperature
        odds = (logits - highest).div_(self.temperature).exp_()  # of every token, against the most probable one
        rest = odds.scatter_(-1, ids, 0).sum(-1)
        total = rest + depth.neg().exp().sum(-1)
        if not total.isfinite().all():
            raise ValueError("the teacher's logits hold NaN, +inf, or nothing but −inf: they are no distribution")
        tail = (rest / total).log().cpu().numpy()
        codes, reach = _quantize(depth.cpu().numpy())
        tail = np.where(tail < -ZERO, -np.inf, np.minimum(tail, FLATTEST)).astype("<f2")
        floats = np.stack([reach, tail], axis=1).view(np.uint8)
        return np.concatenate([self.ids.pack(ids.cpu().numpy()), codes, floats], axis=1)

    def decode(self, packed: np.ndarray) -> dict[str, Tensor]:
        """``ids`` int64 (N, k), ascending, their ``log_probs`` float32 (N, k), and ``tail`` float32 (N,), a mass."""
        ids, codes, floats = np.split(packed, [self.ids.bytes, self.ids.bytes + self.ids.count], axis=1)
        reach, log_tail = np.ascontiguousarray(floats).view("<f2").astype(np.float32).T
        depth = np.where(codes == GONE, np.float32(np.inf), reach[:, None] * _GRID[codes])
        log_kept = np.log(-np.expm1(log_tail)) - np.log(np.exp(-depth).sum(axis=1))
        return {
            "ids": torch.from_numpy(self.ids.unpack(ids)),
            "log_probs": torch.from_numpy(log_kept[:, None] - depth),
            "tail": torch.from_numpy(np.exp(log_tail)),
        }


def _quantize(depth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Codes, uint8 like ``depth`` (N, k), and the depth of each row's deepest entry, float16 (N,)."""
    gone = depth > ZERO
    reach = np.where(gone, 0, depth).max(axis=1).astype("<f2")
    scale = np.where(reach > 0, reach, 1).astype(np.float32)[:, None]
    codes = (np.where(gone, 0, depth) / scale) ** (1 / POWER) * STEPS
    return np.where(gone, GONE, np.rint(codes).clip(max=STEPS)).astype(np.uint8), reach


_GRID = (np.arange(256, dtype=np.float32) / STEPS) ** POWER


@dataclass(frozen=True)
class SortedIds:
    """``count`` different ids below ``bound``, ascending, in a fixed number of bytes.

    Elias–Fano: the low bits of every id as they are; of the high bits h, a bitmap in which the i-th id sets bit h + i.
    P. Elias, "Efficient storage and retrieval by content and address of static files", J. ACM 21(2), 1974; R. M. Fano,
    "On the number of bits required to implement an associative memory", Memorandum 61, Project MAC, MIT, 1971. How it
    serves sorted lists in general: S. Vigna, "Quasi-succinct indices", 1206.4300.
    """

    count: int
    bound: int

    def _bitmap_bits(self, low_bits: int) -> int:
        return self.count + ((self.bound - 1) >> low_bits)

    @cached_property
    def low_bits(self) -> int:
        """The width that makes the whole smallest."""
        return min(range(self.bound.bit_length()), key=lambda low: self.count * low + self._bitmap_bits(low))

    @cached_property
    def bits(self) -> int:
        return self.count * self.low_bits + self._bitmap_bits(self.low_bits)

    @property
    def bytes(self) -> int:
        return -(-self.bits // 8)

    def pack(self, ids: np.ndarray) -> np.ndarray:
        """Ids (N, count), ascending, to uint8 (N, bytes)."""
        bitmap = np.zeros((len(ids), self._bitmap_bits(self.low_bits)), np.uint8)
        np.put_along_axis(bitmap, (ids >> self.low_bits) + np.arange(self.count), 1, axis=1)
        low = (ids[..., None] >> np.arange(self.low_bits)) & 1
        bits = np.concatenate([bitmap, low.reshape(len(ids), self.count * self.low_bits).astype(np.uint8)], axis=1)
        return np.packbits(bits, axis=1, bitorder="little")

    def unpack(self, packed: np.ndarray) -> np.ndarray:
        """uint8 (N, bytes) to int64 ids (N, count), ascending."""
        bits = np.unpackbits(packed, axis=1, count=self.bits, bitorder="little")
        bitmap, low = np.split(bits, [self._bitmap_bits(self.low_bits)], axis=1)
        high = np.nonzero(bitmap)[1].reshape(len(packed), self.count) - np.arange(self.count)
        words = np.zeros((len(packed), self.count, 32), np.uint8)
        words[..., : self.low_bits] = low.reshape(len(packed), self.count, self.low_bits)
        return (high << self.low_bits) | np.packbits(words, axis=-1, bitorder="little").view("<u4")[..., 0]


@dataclass(frozen=True)
class LastHidden:
    """The last hidden state, ``width`` wide, in bfloat16: the output head makes the whole distribution of it."""

    width: int

    @property
    def name(self) -> str:
        return f"hidden-{self.width}"

    @property
    def bytes_per_token(self) -> int:
        return 2 * self.width

    def encode(self, hidden: Tensor) -> np.ndarray:
        """Hidden states (N, width) on any device to uint8 (N, 2 · width).

        Raises ValueError when the width is another, or when there is a NaN or an infinity.
        """
        if hidden.shape[-1] != self.width:
            raise ValueError(f"hidden states {hidden.shape[-1]} wide; this codec is of {self.width}")
        if not hidden.isfinite().all():
            raise ValueError("the teacher's hidden states hold NaN or infinity")
        return hidden.to("cpu", torch.bfloat16).contiguous().view(torch.uint8).numpy()

    def decode(self, packed: np.ndarray) -> dict[str, Tensor]:
        """``teacher_hidden``, bfloat16 (N, width)."""
        return {"teacher_hidden": torch.from_numpy(packed.copy().view(np.int16)).view(torch.bfloat16)}
