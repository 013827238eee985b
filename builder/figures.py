"""Figures of a record: how prose names them, how a page writes them.

In prose a figure is written `[[record: path | format]]`:

    [[record: retention | percent]]                      97.2% (95.1% to 98.8%)
    [[record: speedup | times]]                          2.6×
    [[record: serving.student.latency_p50_s | seconds]]  850 ms
    [[record: student.parameters | count]]               53.2 million
    [[record: stages.distil | seconds]]                  4 min 10 s
    [[record: task.sizes.gold]]                          48
    [[record: arms.student_distilled.metrics.unseen.fact_f1 | percent]]
    [[record: comparisons.student_distilled-student_gold.heldout.fact_f1 | points]]

The path follows the fields of `implementations.record.Record`. Where the record holds a list, the path names
the entry: an arm or its tuning by its kind, a comparison by `a-b` and then slice and metric, a stage by its
name. Some figures are derived, see DERIVED. An estimate is written with its 95% interval. A path that no
record can have is an error, and so is one that this record lacks; without any record the page says
"not measured yet".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime
from typing import Any, get_args, get_origin

from pydantic import BaseModel

from implementations.record import ArmKind, Estimate, Record


class FigureError(ValueError):
    """A path or a format that cannot be; the message says what there is instead."""


DERIVED: dict[str, Callable[[Record], float]] = {
    "speedup": lambda r: r.speedup,
    "size_ratio": lambda r: r.student.bytes / r.teacher.bytes,
    "parameter_ratio": lambda r: r.student.parameters / r.teacher.parameters,
    "memory_ratio": lambda r: r.serving["student"].peak_memory_mib / r.serving["teacher"].peak_memory_mib,
    "latency_ratio": lambda r: r.serving["teacher"].latency_p50_s / r.serving["student"].latency_p50_s,
    "total_seconds": lambda r: sum(stage.seconds for stage in r.stages),
}


def view(record: Record) -> dict[str, Any]:
    """The record as nested mappings, with lists of named things keyed by their names."""
    comparisons: dict[str, dict[str, dict[str, Any]]] = {}
    for c in record.comparisons:
        comparisons.setdefault(f"{c.a}-{c.b}", {}).setdefault(c.slice, {})[c.metric] = c.difference
    return {
        **{name: getattr(record, name) for name in Record.model_fields},
        **{name: figure(record) for name, figure in DERIVED.items()},
        "arms": {arm.kind.value: arm for arm in record.arms},
        "comparisons": comparisons,
        "stages": {stage.name: stage.seconds for stage in record.stages},
        "tuning": {tuning.arm.value: tuning for tuning in record.tuning},
    }


def read(record: Record, path: str) -> Any:
    """The value at `path`. Raises FigureError if the record has none."""
    value: Any = view(record)
    for i, part in enumerate(path.split(".")):
        inner = value if isinstance(value, dict) else _fields(value)
        if part not in inner:
            where = ".".join(path.split(".")[:i]) or "the record"
            raise FigureError(f"{where} has no {part}; it has {', '.join(map(str, inner)) or 'nothing inside'}")
        value = inner[part]
    return value


def _fields(value: Any) -> dict[str, Any]:
    return {n: getattr(value, n) for n in type(value).model_fields} if isinstance(value, BaseModel) else {}


def check_path(path: str) -> None:
    """Raise FigureError unless some record could have `path`."""
    first, *rest = path.split(".")
    if first in DERIVED:
        known: Any = float
    elif first == "arms" or first == "tuning":
        if not rest or rest[0] not in set(ArmKind):
            raise FigureError(f"{first} is followed by one of {', '.join(ArmKind)}")
        known = get_args(Record.model_fields[first].annotation)[0]
        rest = rest[1:]
    elif first == "comparisons":
        if len(rest) < 3:
            raise FigureError("comparisons is followed by a-b, a slice and a metric")
        known, rest = get_args(Record.model_fields["arms"].annotation)[0], ["metrics", *rest[1:]]
    elif first == "stages":
        if not rest:
            raise FigureError("stages is followed by a stage's name")
        known, rest = float, rest[1:]
    elif first in Record.model_fields:
        known = Record.model_fields[first].annotation
    else:
        raise FigureError(f"a record has no {first}; it has {', '.join([*Record.model_fields, *DERIVED])}")
    _check_rest(known, rest, first)


def _check_rest(known: Any, rest: list[str], where: str) -> None:
    for part in rest:
        if get_origin(known) is dict:
            known = get_args(known)[1]
        elif isinstance(known, type) and issubclass(known, BaseModel):
            if part not in known.model_fields:
                raise FigureError(f"{where} has no {part}; it has {', '.join(known.model_fields)}")
            known = known.model_fields[part].annotation
        else:
            raise FigureError(f"{where} has nothing inside")
        where += f".{part}"
    if get_origin(known) in (dict, list) or (
        isinstance(known, type) and issubclass(known, BaseModel) and "low" not in known.model_fields
    ):
        names = getattr(known, "model_fields", ())
        raise FigureError(f"{where} is not one figure" + (f"; go on with {', '.join(names)}" if names else ""))


# ------------------------------------------------------------------------------------------------- writing


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
    """`value` to so many significant digits, never in exponents; integers keep all theirs."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else "∞"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{decimals}f}".replace("-", "−")


FORMATS: dict[str, Callable[[float], str]] = {
    "percent": percent,
    "points": points,
    "times": times,
    "seconds": seconds,
    "bytes": size,
    "mib": mib,
    "count": count,
    "number": number,
    "dollars": dollars,
}


def write(value: Any, form: str | None = None) -> str:
    """`value` in `form`, an estimate with its interval. Text and dates need no form."""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d}"
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return ", ".join(write(item, form) for item in value)
    if isinstance(value, Estimate):
        return estimate(value, form or "number")
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    return FORMATS[form or ("count" if isinstance(value, int) else "number")](value)


def estimate(value: Estimate, form: str) -> str:
    """A value and its 95% interval. The unit of a difference is said once."""
    middle, low, high = interval(value, form)
    return f"{middle} ({low.removesuffix(' points')} to {high.removesuffix(' points')})"


def interval(value: Estimate, form: str = "percent") -> tuple[str, str, str]:
    """A value and the ends of its 95% interval, each in `form`."""
    wrote = share if form == "percent" else FORMATS[form]
    return wrote(value.value), wrote(value.low), wrote(value.high)


def check_format(form: str | None) -> None:
    if form is not None and form not in FORMATS:
        raise FigureError(f"there is no format {form}; there are {', '.join(FORMATS)}")
