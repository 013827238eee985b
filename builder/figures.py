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
"not measured yet". Of a difference in points whose interval holds zero the page says that it is within the noise.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import cache
from types import NoneType
from typing import Any, get_args, get_origin

from pydantic import BaseModel

from implementations.figures import FORMATS, share
from implementations.record import ArmKind, Estimate, Record


class FigureError(ValueError):
    """A path or a format that cannot be; the message says what there is instead."""


def _served(ratio: Callable[[Record], float]) -> Callable[[Record], float | None]:
    """``ratio`` of records whose teacher was on the machine; None for others."""
    return lambda r: ratio(r) if "teacher" in r.serving else None


DERIVED: dict[str, Callable[[Record], float | None]] = {
    "speedup": lambda r: r.speedup,
    "size_ratio": lambda r: r.size_ratio,
    "parameter_ratio": _served(lambda r: r.student.parameters / r.teacher.parameters),
    "memory_ratio": _served(lambda r: r.serving["student"].peak_memory_mib / r.serving["teacher"].peak_memory_mib),
    "latency_ratio": lambda r: r.latency_ratio,
    "total_seconds": lambda r: sum(stage.seconds for stage in r.stages),
}


NONE = {"machine.gpu", "commit"}
"""What may be none, and is then written so; elsewhere a record without it lacks a figure."""


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
    if value is None and path not in NONE:
        raise FigureError(f"the record has no {path}; it was not measured")
    return value


def _fields(value: Any) -> dict[str, Any]:
    return {n: getattr(value, n) for n in type(value).model_fields} if isinstance(value, BaseModel) else {}


@cache
def check_path(path: str) -> None:
    """Raise FigureError unless some record could have `path`. What is right is looked up once."""
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
        known = _given(known)
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


def _given(known: Any) -> Any:
    """The type of what is there, where a record may lack it."""
    present = [kind for kind in get_args(known) if kind is not NoneType] if NoneType in get_args(known) else []
    return present[0] if present else known


# ------------------------------------------------------------------------------------------------- writing


def write(value: Any, form: str | None = None) -> str:
    """`value` in `form`, an estimate with its interval. Text and dates need no form."""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d}"
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return ", ".join(write(item, form) for item in value)
    if isinstance(value, Estimate):
        wrote = estimate(value, form or "number")
        return f"{wrote[:-1]}: within the noise)" if form == "points" and not clear(value) else wrote
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    return FORMATS[form or ("count" if isinstance(value, int) else "number")](value)


def estimate(value: Estimate, form: str) -> str:
    """A value and its 95% interval. The unit of a difference is said once."""
    middle, low, high = interval(value, form)
    return f"{middle} ({low.removesuffix(' points')} to {high.removesuffix(' points')})"


def clear(difference: Estimate) -> bool:
    """Whether its interval leaves zero out."""
    return difference.low > 0 or difference.high < 0


def interval(value: Estimate, form: str = "percent") -> tuple[str, str, str]:
    """A value and the ends of its 95% interval, each in `form`."""
    wrote = share if form == "percent" else FORMATS[form]
    return wrote(value.value), wrote(value.low), wrote(value.high)


def check_format(form: str | None) -> None:
    if form is not None and form not in FORMATS:
        raise FigureError(f"there is no format {form}; there are {', '.join(FORMATS)}")
