"""One record, ready to print: every figure of a page comes through here or through a placeholder in prose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from implementations.record import ArmKind

from . import figures
from .load import Measured

METRICS = {  # how a metric of a record is called and written; others are plain numbers
    "fact_f1": ("Fact F1", "percent"),
    "fact_precision": ("Fact precision", "percent"),
    "fact_recall": ("Fact recall", "percent"),
    "rouge_l": ("ROUGE-L", "percent"),
    "rouge_l_to_teacher": ("ROUGE-L to the teacher", "percent"),
}
SLICES = {
    "heldout": "Held-out items, of the kinds that training saw",
    "unseen": "Unseen kinds, which no arm was trained on",
}
MONTHS = ("January February March April May June July August September October November December").split()  # noqa: SIM905 - read as words


def day(date: str) -> str:
    """2026-11-22 → 22 November 2026"""
    year, month, number = date.split("-")
    return f"{int(number)} {MONTHS[int(month) - 1]} {year}"


@dataclass(frozen=True)
class Value:
    """An estimate, ready to print, with its place on a scale from 0 to 1."""

    text: str
    low: str
    high: str
    seeds: str
    plot: Markup


class Results:
    """One record as a page shows it."""

    def __init__(self, measured: Measured) -> None:
        self.measured, self.record = measured, measured.record
        self.own, self.stale = measured.own, measured.stale

    @property
    def date(self) -> str:
        return day(f"{self.record.date:%Y-%m-%d}")

    @property
    def machine(self) -> str:
        m = self.record.machine
        where = m.gpu or m.processor
        return f"{where}, {m.cores} core{'s' if m.cores != 1 else ''}, {m.memory_gib:.3g} GiB"

    @property
    def source(self) -> str:
        whose = "Your own run" if self.own else "Measured"
        return f"{whose} on {self.date}; {self.machine}" + ("; the code has changed since" if self.stale else "")

    # -- the summary

    @property
    def metric(self) -> str:
        """The primary metric's name, as it stands inside a sentence."""
        title = metric_title(self.record.primary_metric)
        return title if title[1:2].isupper() else title[0].lower() + title[1:]

    @property
    def retention(self) -> tuple[str, str, str]:
        return figures.interval(self.record.retention)

    @property
    def speedup(self) -> str:
        return figures.times(self.record.speedup)

    @property
    def size_ratio(self) -> str:
        return figures.percent(figures.DERIVED["size_ratio"](self.record))

    @property
    def total(self) -> str:
        return figures.seconds(figures.DERIVED["total_seconds"](self.record))

    @property
    def dollars(self) -> str:
        return figures.dollars(self.record.collection.usd)

    @property
    def seeds(self) -> str:
        return f"{len(self.record.seeds)} seed{'s' if len(self.record.seeds) != 1 else ''}"

    # -- the tables

    def slices(self) -> list[dict[str, Any]]:
        """A table for each slice: a row for each arm, the primary metric first."""
        names = list(dict.fromkeys(name for arm in self.record.arms for name in arm.metrics))
        out = []
        for name in names:
            arms = [arm for arm in self.record.arms if name in arm.metrics]
            metrics = list(dict.fromkeys(m for arm in arms for m in arm.metrics[name]))
            metrics.sort(key=lambda m: m != self.record.primary_metric)
            rows = [(arm.title, arm.kind, [_value(arm.metrics[name].get(m), m) for m in metrics]) for arm in arms]
            n = max((e.n for arm in arms for e in arm.metrics[name].values()), default=0)
            title = SLICES.get(name, name.replace("_", " ").capitalize())
            out.append({"title": title, "metrics": [metric_title(m) for m in metrics], "rows": rows, "n": n})
        return out

    def comparisons(self) -> list[tuple[str, str, str, str]]:
        titles = {arm.kind: arm.title for arm in self.record.arms}
        out = []
        for c in self.record.comparisons:
            form = "points" if metric_form(c.metric) == "percent" else "number"
            what = f"{titles[c.a]} minus {titles[c.b][:1].lower()}{titles[c.b][1:]}"
            where = f"{metric_title(c.metric)}, {SLICES.get(c.slice, c.slice).split(',')[0].lower()}"
            d = c.difference
            clear = "clear" if d.low > 0 or d.high < 0 else "within the noise"
            out.append((what, where, figures.estimate(d, form), clear))
        return out

    def serving(self) -> list[tuple[str, str, str, str]]:
        """What was measured of serving: teacher, student, and how they compare."""
        r = self.record
        t, s = r.serving["teacher"], r.serving["student"]
        rows = (
            ("Latency of one answer, p50", t.latency_p50_s, s.latency_p50_s, figures.seconds),
            ("Latency of one answer, p95", t.latency_p95_s, s.latency_p95_s, figures.seconds),
            (f"Tokens per second at batch {s.batch}", t.tokens_per_s, s.tokens_per_s, figures.number),
            ("Peak memory", t.peak_memory_mib, s.peak_memory_mib, figures.mib),
            ("Weights on disk", r.teacher.bytes, r.student.bytes, figures.size),
            ("Parameters", r.teacher.parameters, r.student.parameters, figures.count),
            ("Layers", r.teacher.layers, r.student.layers, figures.count),
        )
        return [(what, form(a), form(b), figures.times(b / a) if a else "") for what, a, b, form in rows]

    def stages(self) -> list[tuple[str, str]]:
        return [(s.name.replace("_", " ").capitalize(), figures.seconds(s.seconds)) for s in self.record.stages]

    def facts(self) -> list[tuple[str, str]]:
        """How the run was set up, for whoever wants to repeat it."""
        r = self.record
        sizes = ", ".join(f"{figures.count(n)} {name}" for name, n in r.task.sizes.items())
        c = r.collection
        rates = ", ".join(f"{_arm(t.arm)} {t.chosen:g}" for t in r.tuning)
        return [
            ("Command", r.command),
            ("Task", f"{r.task.title}; items of one seed: {sizes}"),
            ("Teacher", f"{r.teacher.name}, {r.teacher.dtype}"),
            ("Student", f"{r.student.name}, {r.student.dtype}"),
            ("Seeds", ", ".join(map(str, r.seeds))),
            ("Learning rates chosen", rates or "none were tried"),
            (
                "Answers collected",
                f"{figures.count(c.asked)} asked, {figures.count(c.from_ledger)} found in the ledger, "
                f"{c.empty} empty, {c.truncated} cut off, {c.duplicates} equal to another's; "
                f"{figures.count(c.prompt_tokens)} tokens read, {figures.count(c.completion_tokens)} written; "
                f"{self.dollars} spent",
            ),
            ("Machine", f"{self.machine}; {r.machine.system}; Python {r.machine.python}"),
            ("Packages", ", ".join(f"{name} {version}" for name, version in r.packages.items())),
            ("Commit", r.commit or "not recorded"),
        ]


def _arm(kind: ArmKind) -> str:
    return kind.value.replace("_", " ")


def metric_title(metric: str) -> str:
    return METRICS.get(metric, (metric.replace("_", " ").capitalize(), ""))[0]


def metric_form(metric: str) -> str:
    return METRICS.get(metric, ("", "number"))[1]


def _value(estimate: Any, metric: str) -> Value | None:
    if estimate is None:
        return None
    form = metric_form(metric)
    text, low, high = figures.interval(estimate, form)
    write = figures.share if form == "percent" else figures.FORMATS[form]
    seeds = " · ".join(write(v) for v in estimate.per_seed)
    return Value(text, low, high, seeds, _plot(estimate) if form == "percent" else Markup(""))


def _plot(estimate: Any) -> Markup:
    """The interval and each seed on a scale from 0 to 100%: decoration, for the numbers stand beside it."""

    def x(share: float) -> str:
        return f"{4 + 112 * min(1, max(0, share)):.1f}"

    seeds = "".join(f'<circle class="dp-plot__seed" cx="{x(v)}" cy="10" r="2.5"/>' for v in estimate.per_seed)
    return Markup(
        '<svg class="dp-plot" viewBox="0 0 120 20" width="120" height="20" aria-hidden="true">'
        '<path class="dp-plot__scale" d="M4 10H116M4 6V14M60 8V12M116 6V14"/>'
        f'<path class="dp-plot__interval" d="M{x(estimate.low)} 10H{x(estimate.high)}"/>{seeds}'
        f'<circle class="dp-plot__value" cx="{x(estimate.value)}" cy="10" r="3.2"/></svg>'
    )
