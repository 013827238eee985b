"""How figures are written, and what the measures are called: for the catalogue's pages, the report and the terminal.

Imports nothing heavy. Every number a reader sees passes through here.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from .record import Record

METRICS = {  # how a metric is called, what it is; all are shares from 0 to 1
    "fact_f1": ("Fact F1", "The harmonic mean of precision and recall."),
    "fact_precision": ("Fact precision", "Of what the answer states, the share that is true of its prompt."),
    "fact_recall": ("Fact recall", "Of the facts known of the prompt, the share that the answer states."),
    "accuracy": ("Accuracy", "Of the answers, the share whose first word is the right label."),
    "label_given": ("Label given", "Of the answers, the share whose first word is a label at all."),
    "agreement": ("Agreement with raters", "The share of the human raters who gave the answer's label."),
    "rouge_l": ("ROUGE-L", "Overlap of words, in order, with the reference answer."),
    "rouge_l_to_teacher": (
        "ROUGE-L to the teacher",
        "Overlap of words, in order, with the answer of the teacher that the student learnt from: likeness, not truth. "
        "That teacher agrees with itself by definition.",
    ),
}
SLICES = {
    "heldout": "Held-out items, of the kinds that training saw",
    "unseen": "Unseen kinds, which no arm was trained on",
}


def metric_title(metric: str) -> str:
    return METRICS.get(metric, (metric.replace("_", " ").capitalize(), ""))[0]


def slice_title(name: str) -> str:
    return SLICES.get(name, name.replace("_", " ").capitalize())


def percent(value: float) -> str:
    return f"{100 * value:.0f}%"


def share(value: float) -> str:
    """A percentage that comes with an interval, so its first decimal can be judged."""
    return f"{100 * value:.1f}%"


def points(value: float) -> str:
    """A difference of two shares, signed, in percentage points."""
    return f"{100 * value:+.1f} points".replace("-", "−")


def times(value: float) -> str:
    return f"{significant(value, 2)}×"


def seconds(value: float) -> str:
    if value < 1:
        return f"{significant(1000 * value, 2 if value < 0.1 else 3)} ms"
    if value < 60:
        return f"{significant(value, 3)} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(round(value / 60), 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def size(value: float) -> str:
    """Bytes, in decimal units as disks and downloads are sold."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= scale:
            return f"{significant(value / scale, 3)} {unit}"
    return f"{value:.0f} bytes"


def mib(value: float) -> str:
    return f"{significant(value / 1024, 3)} GiB" if value >= 1024 else f"{significant(value, 3)} MiB"


def many(n: int, what: str) -> str:
    """1 prompt, 1,200 prompts."""
    return f"{count(n)} {what}{'s' if n != 1 else ''}"


def count(value: float) -> str:
    for word, scale in (("billion", 1e9), ("million", 1e6)):
        if value >= scale:
            return f"{significant(value / scale, 3)} {word}"
    return f"{value:,.0f}"


def number(value: float) -> str:
    return significant(value, 3)


def dollars(value: float) -> str:
    return f"${value:,.2f}"


def significant(value: float, digits: int) -> str:
    """``value`` to so many significant digits, never in exponents; integers keep all theirs."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else "∞"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{decimals}f}".replace("-", "−")


FORMATS: dict[str, Callable[[float], str]] = {
    "percent": percent,
    "share": share,
    "points": points,
    "times": times,
    "seconds": seconds,
    "bytes": size,
    "mib": mib,
    "count": count,
    "number": number,
    "dollars": dollars,
}


SPEED = (
    "Tokens per second are all that one batch generates, by the time until its last answer ends: long answers keep a "
    "batch full, so a model that writes more can show more of them and be no sooner done with one answer. The latency "
    "of one answer tells that."
)
"""How tokens per second come about, wherever they are compared."""
LABELS = "Where an answer is a label there are no tokens to compare, and the latency alone tells how fast a model is."


def faster(record: Record) -> tuple[str, str] | None:
    """How fast the student is, as a multiple, and of which of its teacher's figures. None for a teacher elsewhere."""
    if record.speedup:
        return times(record.speedup), "tokens per second"
    return (times(record.latency_ratio), "speed, one answer at a time") if record.latency_ratio else None


def serving_rows(record: Record) -> list[tuple[str, str, str, str]]:
    """Size and speed: what, the teacher's, the student's, and student over teacher.

    A teacher behind a platform has no size that anyone tells, and its speed is its provider's: its cells are dashes.
    Where answers are labels, tokens per second are left out.
    """
    teacher, student = record.serving.get("teacher"), record.serving["student"]
    measures = (
        ("Latency of one answer, p50", "latency_p50_s", seconds),
        ("Latency of one answer, p95", "latency_p95_s", seconds),
        *([] if record.labels else [(f"Tokens per second at batch {student.batch}", "tokens_per_s", number)]),
        ("Peak memory", "peak_memory_mib", mib),
    )
    rows = [(what, getattr(teacher, name, None), getattr(student, name), form) for what, name, form in measures]
    rows += [
        ("Weights on disk", record.teacher.bytes, record.student.bytes, size),
        ("Parameters", record.teacher.parameters, record.student.parameters, count),
        ("Layers", record.teacher.layers, record.student.layers, count),
    ]
    return [(what, form(a) if a else "–", form(b), times(b / a) if a else "") for what, a, b, form in rows]


def cascade_rows(record: Record) -> list[tuple[str, str, str, str, str]]:
    """A cascade's curve: share passed on, quality with its interval, quality at random, seconds an answer.

    An answer takes the student's median, and the teacher's as well where it is passed on; a dash where the teacher's
    is its provider's.
    """
    teacher, student = record.serving.get("teacher"), record.serving["student"]
    rows = []
    for point in record.cascade.curve if record.cascade else ():
        q = point.quality
        took = seconds(student.latency_p50_s + point.share * teacher.latency_p50_s) if teacher else "–"
        interval = f"{share(q.low)} to {share(q.high)}"
        rows.append((percent(point.share), share(q.value), interval, share(point.at_random.value), took))
    return rows
