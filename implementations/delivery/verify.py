"""Is the exported model still the student? It is read again, by other software where there is some, and compared.

Three steps, in the order in which one spoils the next: the chat template, byte for byte; the tokens of every held-out
prompt; the log-probabilities of the student's five likeliest next tokens, where an answer begins and halfway through.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from itertools import zip_longest
from statistics import fmean
from typing import Any

from ..errors import InputError
from . import Precision
from .readers import Reader, Transformers
from .student import Student

TOP = 5
PROMPTS = 16  # whose log-probabilities are compared; the tokens of all are
# Where pre-tokenizers differ, and held-out prompts may never go: spaces before digits, line ends, case, scripts.
HARD = "x  12,  345\n\n 6789\t\t0  I'll  WE'LL\r\n Größe ½ 3² ٣٤ 数値は7 🩺🩺 ...!? a_b\n   "
# The largest difference allowed, in nats: two to thirty times what was measured, for llama.cpp rounds activations, too.
TOLERANCE = {Precision.F32: 0.005, Precision.F16: 0.05, Precision.BF16: 0.5, Precision.Q8_0: 1.0}


class Step(StrEnum):
    TEMPLATE = "chat template"
    TOKENS = "tokens"
    LOGPROBS = "logprobs"


class Moved(InputError):
    """The exported model is not the student any more. The message names the reader and the step."""

    def __init__(self, reader: str, step: Step, what: str, mend: str):
        super().__init__(f"{reader}: {step} moved: {what}; nothing was exported; {mend}")
        self.step = step


REPORT = "this is a fault of the export: please report it"


@dataclass(frozen=True)
class Expected:
    """What the student itself says: ``prompts`` in tokens, and the likeliest tokens after each of ``contexts``."""

    template: str
    prompts: list[list[int]]
    contexts: list[list[int]]
    likeliest: list[dict[int, float]]


@dataclass(frozen=True)
class Agreement:
    """How far a reader's model is from the student: the differences of TOP tokens after each context, in nats.

    ``prompts`` counts those whose tokens were compared and are the same.
    """

    reader: str
    prompts: int
    contexts: int
    largest: float
    mean: float
    tolerance: float
    same_first: float  # share of contexts whose likeliest token is the same


def expect(student: Student) -> Expected:
    """What every reader of an export of ``student`` must find again."""
    reader = Transformers(student.model, student.tokenizer)
    prompts = [reader.tokens(student.instruction, prompt) for prompt in _prompts(student)]
    contexts = []
    for ids, probe in zip(prompts[:PROMPTS], student.probes[:PROMPTS], strict=False):  # the last prompt has no answer
        answer = student.tokenizer(probe.answer, add_special_tokens=False)["input_ids"]
        contexts += [ids, ids + answer[: len(answer) // 2]] if len(answer) > 1 else [ids]
    return Expected(reader.chat_template(), prompts, contexts, [_top(reader.logprobs(ids)) for ids in contexts])


def compare(
    expected: Expected, reader: Reader, student: Student, precision: Precision, tokens: bool = True
) -> Agreement:
    """How far ``reader`` is from what is ``expected``. Raises Moved at the first step that is not the same.

    ``tokens`` is whether its tokens are looked at: with the student's own, its log-probabilities can be compared alone.
    """
    check_template(expected.template, reader.chat_template(), reader.name)
    if tokens:
        _check_tokens(expected, reader, student)
    found = [reader.logprobs(ids) for ids in expected.contexts]
    return agree(expected.likeliest, found, reader.name, len(expected.prompts) if tokens else 0, precision)


def _check_tokens(expected: Expected, reader: Reader, student: Student) -> None:
    for number, (prompt, ids) in enumerate(zip(_prompts(student), expected.prompts, strict=True), 1):
        found = reader.tokens(student.instruction, prompt)
        if found != ids:
            at = next(i for i, (a, b) in enumerate(zip_longest(ids, found)) if a != b)
            which = f"held-out prompt {number}" if prompt != HARD else "a prompt of numbers and spaces"
            what = f"{which} has {ids[at : at + 3]} at token {at}, and now {found[at : at + 3]}"
            raise Moved(reader.name, Step.TOKENS, what, REPORT)


def check_template(expected: str, found: str | None, reader: str) -> None:
    """Raises Moved unless the two are the same bytes."""
    if found != expected:
        length = f"{len(expected.encode())} bytes, and now {len((found or '').encode())}"
        raise Moved(reader, Step.TEMPLATE, f"it had {length}", REPORT)


def agree(
    expected: list[dict[Any, float]], found: list[dict[Any, float]], reader: str, prompts: int, precision: Precision
) -> Agreement:
    """The differences between the likeliest tokens ``expected`` after each context and those ``found`` there.

    Raises Moved when one is larger than its tolerance, or a token is not found at all.
    """
    differences = [
        abs(logprob - now.get(token, -math.inf))
        for was, now in zip(expected, found, strict=True)
        for token, logprob in was.items()
    ]
    largest, tolerance = max(differences), TOLERANCE[precision]
    if not largest <= tolerance:
        by = f"by {largest:.3g} nats" if math.isfinite(largest) else "out of the likeliest tokens"
        mend = REPORT if precision is Precision.F32 else f"give --quantize {Precision.F32}, or report it"
        what = f"one of the student's {TOP} likeliest next tokens {by}, and {precision} may move it by {tolerance:g}"
        raise Moved(reader, Step.LOGPROBS, what, mend)
    same = fmean(max(was, key=was.get) == max(now, key=now.get) for was, now in zip(expected, found, strict=True))
    return Agreement(reader, prompts, len(expected), largest, fmean(differences), tolerance, same)


def _prompts(student: Student) -> list[str]:
    return [*(probe.prompt for probe in student.probes), HARD]


def _top(logprobs: dict[int, float]) -> dict[int, float]:
    return dict(sorted(logprobs.items(), key=lambda pair: -pair[1])[:TOP])
