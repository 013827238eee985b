"""The report of one run: what its record and its answers say, as one page that needs nothing else.

No script, no font, no address outside the page: it opens from disk, from a mail or on paper. Prompts and answers are
other people's text, so everything is escaped and the page's own policy forbids it to load anything.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic import BaseModel, ValidationError

from .. import record as records
from ..errors import InputError, disk_errors
from ..figures import (
    FORMATS,
    LABELS,
    METRICS,
    SPEED,
    cascade_rows,
    faster,
    metric_title,
    number,
    points,
    serving_rows,
    slice_title,
)
from ..record import Arm, ArmKind, Comparison, Curve, Estimate, Record
from ..registry import RECIPES
from ..tasks.images import PREFIX

EXAMPLES = 10
LINE = 60  # characters, where a text is cut for its length
TEACHERS = (ArmKind.TEACHER_SHIPPED, ArmKind.TEACHER_TUNED, ArmKind.TEACHER_COMMITTEE)


class Answer(BaseModel):
    """One arm's answer to one item, as items.jsonl keeps it."""

    text: str
    metrics: dict[str, float]
    spans: list[tuple[int, int, Literal["found", "invented"]]]
    missed: list[str]


class Item(BaseModel):
    """One line of items.jsonl. ``answers`` holds one answer per seed for each arm."""

    slice: str
    id: str
    prompt: str
    reference: str | None
    answers: dict[ArmKind, list[Answer]]


def write(folder: Path) -> Path:
    """Write ``folder``/report.html from its record.json and items.jsonl. Raises InputError."""
    page = render(_record(folder), _items(folder))
    path = folder / "report.html"
    with disk_errors(folder, option=None):
        records.write_atomic(path, page)
    return path


def render(record: Record, items: list[Item]) -> str:
    """The page. The same record and items give the same page."""
    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= FORMATS | {"signed": signed, "x": place, "cut": cut, "plain": plain, "segments": segments}
    examples = choose(items, record.primary_metric)
    return environment.get_template("report.html.j2").render(
        record=record,
        titles={arm.kind: arm.title for arm in record.arms},
        image=PREFIX,
        metric=metric_title(record.primary_metric),
        stale=record.pattern in RECIPES and record.stale,
        slices=_slices(record),
        comparisons=_comparisons(record),
        bound=_bound(c.difference for c in record.comparisons),
        serving=serving_rows(record),
        faster=faster(record),
        how_fast=LABELS if record.labels else SPEED,
        cascade=cascade_rows(record),
        trained=[arm for arm in record.arms if arm.training],
        curves=_curves(record.arms),
        frame=FRAME,
        examples=examples,
        marked=any(a.spans or a.missed for e in examples for several in e.answers.values() for a in several),
        metric_title=metric_title,
        slice_title=slice_title,
    )


# ------------------------------------------------------------------------------------------------- reading


def _record(folder: Path) -> Record:
    path = folder / "record.json"
    try:
        return records.load(path)
    except (OSError, ValueError) as error:  # RecordError and UnicodeDecodeError are ValueErrors
        what = str(error).partition("; write it again")[0]
        raise InputError(f"{what if str(path) in what else f'{path}: {what}'}; {_again(folder)}") from error


def _items(folder: Path) -> list[Item]:
    path = folder / "items.jsonl"
    try:
        lines = path.read_text("utf-8").split("\n")  # splitlines would also cut at a U+2028 inside an answer
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error}); {_again(folder)}") from error
    items = []
    for at, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            items.append(Item.model_validate_json(line))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the line"
            raise InputError(f"{path}:{at}: {where}: {first['msg']}; {_again(folder)}") from error
    return items


def _again(folder: Path) -> str:
    return f"delete {folder} and give the run's command again: answers and models that are kept are used again"


# ----------------------------------------------------------------------------------------- what the page says


def _slices(record: Record) -> list[dict[str, Any]]:
    """For each slice a panel per metric, the primary one first: every arm that has it with its estimate."""
    out = []
    for name in dict.fromkeys(name for arm in record.arms for name in arm.metrics):
        arms = [arm for arm in record.arms if name in arm.metrics]
        metrics = sorted(
            dict.fromkeys(m for arm in arms for m in arm.metrics[name]), key=lambda m: m != record.primary_metric
        )
        panels = [
            {
                "metric": metric_title(m),
                "what": METRICS.get(m, ("", ""))[1],
                "rows": [(arm, arm.metrics[name][m]) for arm in arms if m in arm.metrics[name]],
            }
            for m in metrics
        ]
        out.append({"name": name, "title": slice_title(name), "panels": panels, "n": panels[0]["rows"][0][1].n})
    return out


def _comparisons(record: Record) -> dict[str, list[dict[str, Any]]]:
    """The paired differences by the title of their slice."""
    titles = {arm.kind: arm.title for arm in record.arms}
    out: dict[str, list[dict[str, Any]]] = {}
    for comparison in record.comparisons:
        out.setdefault(slice_title(comparison.slice), []).append(_comparison(comparison, titles))
    return out


def _comparison(comparison: Comparison, titles: dict[ArmKind, str]) -> dict[str, Any]:
    """One paired difference with the question it answers and what its interval says."""
    a, b, d = titles[comparison.a], titles[comparison.b], comparison.difference
    questions = {
        (ArmKind.STUDENT_DISTILLED, ArmKind.STUDENT_GOLD): "Was the teacher worth it?",
        (ArmKind.STUDENT_DISTILLED, ArmKind.STUDENT_SIMPLER): "Did this pattern add to the simpler one?",
        (ArmKind.STUDENT_DISTILLED, ArmKind.STUDENT_UNIFORM): "Was it worth weighing the teachers?",
        (ArmKind.TEACHER_COMMITTEE, ArmKind.TEACHER_BEST): "Did the others add to the best teacher?",
        **{(teacher, ArmKind.STUDENT_GOLD): "Had the teacher anything to teach?" for teacher in TEACHERS},
        **{(ArmKind.STUDENT_DISTILLED, teacher): "What was lost on the way?" for teacher in TEACHERS},
        (ArmKind.CASCADE, ArmKind.STUDENT_DISTILLED): "What did passing on buy?",
        **{(ArmKind.CASCADE, teacher): "What did keeping answers cost?" for teacher in TEACHERS},
    }
    says = f"{a} is better" if d.low > 0 else f"{b} is better" if d.high < 0 else "within the noise"
    return {
        "question": questions.get((comparison.a, comparison.b), f"{a} or {b[:1].lower()}{b[1:]}?"),
        "what": f"{a} minus {b[:1].lower()}{b[1:]}",
        "metric": metric_title(comparison.metric),
        "difference": d,
        "says": says,
    }


def _bound(differences: Iterable[Estimate]) -> float:
    """The end of a scale around 0 that holds every interval."""
    widest = max((max(abs(d.low), abs(d.high)) for d in differences), default=1)
    return next((b for b in (0.05, 0.1, 0.25, 0.5) if widest <= b), 1)


# ------------------------------------------------------------------------------------------------ examples


def choose(items: list[Item], metric: str, number: int = EXAMPLES) -> list[Item]:
    """``number`` items by rule: each slice in proportion to its size, its items ordered by the distilled student's
    ``metric`` (first seed) and taken at even steps from the worst to the best."""
    slices: dict[str, list[Item]] = {}
    for item in items:
        slices.setdefault(item.slice, []).append(item)
    shares = _shares({name: len(those) for name, those in slices.items()}, min(number, len(items)))
    chosen = []
    for name, those in slices.items():
        ranked = sorted(those, key=lambda item: _score(item, metric))
        last, steps = len(ranked) - 1, shares[name] - 1
        chosen += [ranked[round(i * last / steps) if steps else last // 2] for i in range(shares[name])]
    return chosen


def _shares(sizes: dict[str, int], number: int) -> dict[str, int]:
    """``number`` dealt out in proportion to ``sizes``, by largest remainder, to none more than it has."""
    exact = {name: number * n / sum(sizes.values()) for name, n in sizes.items()}
    shares = {name: math.floor(e) for name, e in exact.items()}
    for name in sorted(exact, key=lambda name: shares[name] - exact[name])[: number - sum(shares.values())]:
        shares[name] += 1
    return shares


def _score(item: Item, metric: str) -> float:
    answers = item.answers.get(ArmKind.STUDENT_DISTILLED, [])
    return answers[0].metrics.get(metric, 0.0) if answers else 0.0


class Segment(NamedTuple):
    """A stretch of an answer; ``kind`` is found, invented or empty."""

    text: str
    kind: str


def segments(answer: Answer) -> list[Segment]:
    """The whole answer, cut where its marks begin and end. A mark that lies over another is left out."""
    out, at = [], 0
    for start, end, kind in sorted(answer.spans):
        if at <= start < end <= len(answer.text):
            out += [Segment(answer.text[at:start], ""), Segment(answer.text[start:end], kind)]
            at = end
    return [s for s in (*out, Segment(answer.text[at:], "")) if s.text]


def plain(text: str) -> list[Segment]:
    """A text that carries no marks."""
    return [Segment(text, "")]


def cut(parts: list[Segment], limit: int) -> tuple[list[Segment], list[Segment]]:
    """``parts`` before and after ``limit`` characters, a line break counting for a whole line of them.

    What exceeds the limit by less than half is not cut off: a short rest is not worth a click.
    """
    whole = "".join(s.text for s in parts)
    lengths = list(accumulate(LINE if character == "\n" else 1 for character in whole))
    if not lengths or lengths[-1] <= 1.5 * limit:
        return parts, []
    head, tail, left = [], [], bisect_right(lengths, limit)
    for text, kind in parts:
        head.append(Segment(text[:left], kind))
        tail.append(Segment(text[left:], kind))
        left = max(0, left - len(text))
    return [s for s in head if s.text], [s for s in tail if s.text]


# ------------------------------------------------------------------------------------------- learning curves

POINTS = 400  # of one line at most: longer trainings are thinned evenly


class Frame(NamedTuple):
    """One plot and its margins, in the plot's own units."""

    width: int = 340
    height: int = 210
    left: int = 54  # room for 0.0001
    right: int = 12
    top: int = 10
    bottom: int = 34


FRAME = Frame()


class Axis(NamedTuple):
    """Where a value lies on a scale, and the values that are written on it."""

    place: Callable[[float], float]
    ticks: list[float]
    log: bool


def _curves(arms: list[Arm]) -> list[dict[str, Any]]:
    """A plot for each trained arm, all on one loss scale; each line is a seed's."""
    drawn = [(arm, [curve for curve in arm.training if curve.steps and curve.loss]) for arm in arms]
    losses = [loss for _, curves in drawn for curve in curves for loss in curve.loss]
    if not losses:
        return []
    y = _loss_axis(min(losses), max(losses))
    plots = []
    for arm, curves in drawn:
        if not curves:
            continue
        x = _step_axis(max(1, *(curve.steps[-1] for curve in curves)))
        plots.append(
            {
                "title": arm.title,
                "model": arm.model,
                "log": y.log,
                "x": [(x.place(t), f"{t:g}") for t in x.ticks],
                "y": [(y.place(t), f"{t:g}") for t in y.ticks],
                "lines": [(curve.seed, _line(curve, x, y)) for curve in curves],
                "says": "; ".join(
                    f"seed {c.seed}: from {number(c.loss[0])} to {number(c.loss[-1])} in {c.steps[-1]} steps"
                    for c in curves
                ),
            }
        )
    return plots


def _line(curve: Curve, x: Axis, y: Axis) -> str:
    """The curve as points of an SVG polyline."""
    stride = math.ceil(len(curve.steps) / POINTS)
    kept = list(zip(curve.steps, curve.loss, strict=False))[::-stride][::-1]
    return " ".join(f"{x.place(step):.1f},{y.place(loss):.1f}" for step, loss in kept)


def _step_axis(last: int) -> Axis:
    def place(step: float) -> float:
        return FRAME.left + (FRAME.width - FRAME.left - FRAME.right) * step / last

    return Axis(place, [t for t in _ticks(last) if round(t, 9).is_integer()], False)


def _loss_axis(lowest: float, highest: float) -> Axis:
    """Logarithmic where the losses span more than a factor of ten, else from 0."""
    log = lowest > 0 and highest / lowest > 10
    if log:
        steps = [m * 10.0**e for e in range(-12, 13) for m in (1, 2, 5)]
        first = max(i for i, s in enumerate(steps) if s <= lowest or i == 0)
        last = min(i for i, s in enumerate(steps) if s >= highest or i == len(steps) - 1)
        low, high = math.log10(steps[first]), math.log10(steps[last])
        ticks = steps[first : last + 1]
        ticks = [t for t in ticks if len(ticks) <= 7 or f"{t:e}"[0] == "1"]
    else:
        ticks = _ticks(highest if highest > 0 else 1, reach=True)
        low, high = min(0.0, lowest), ticks[-1]

    def place(loss: float) -> float:
        up = ((math.log10(loss) if log else loss) - low) / (high - low)
        return FRAME.height - FRAME.bottom - (FRAME.height - FRAME.top - FRAME.bottom) * up

    return Axis(place, ticks, log)


def _ticks(last: float, reach: bool = False) -> list[float]:
    """At most six round values from 0 to ``last`` > 0, or to the first one past it with ``reach``."""
    scale = 10.0 ** math.floor(math.log10(last))
    step = next(m * scale for m in (0.2, 0.25, 0.5, 1, 2) if last / (m * scale) <= 5)
    return [i * step for i in range((math.ceil if reach else math.floor)(last / step + (0 if reach else 1e-9)) + 1)]


# ------------------------------------------------------------------------------------------------- writing


def place(value: float, low: float = 0.0, high: float = 1.0) -> str:
    """Where ``value`` lies on a scale, as a length in SVG; a value off the scale stands at its end."""
    return f"{100 * min(1.0, max(0.0, (value - low) / (high - low))):.2f}%"


def signed(value: float) -> str:
    """A difference of two shares in points, whose unit stands nearby."""
    return points(value).removesuffix(" points")
