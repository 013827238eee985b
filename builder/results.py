"""One record, ready to print: every figure of a page comes through here or through a placeholder in prose."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from implementations.figures import (
    cascade_rows,
    count,
    dollars,
    faster,
    metric_title,
    percent,
    seconds,
    serving_rows,
    share,
    slice_title,
    times,
)
from implementations.record import ArmKind, Comparison, Estimate, Member
from implementations.registry import RECIPES

from . import figures
from .load import Measured

TO_TEACHER = "rouge_l_to_teacher"


def day(iso: str) -> str:
    """2026-11-22 → 22 November 2026"""
    date = dt.date.fromisoformat(iso)
    return f"{date.day} {date:%B %Y}"


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
    def settings(self) -> str:
        """How the run differs from the recipe's own settings, as a title says it; empty when it does not."""
        return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in self.record.settings.items())

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
    def teacher(self) -> ArmKind | None:
        """The arm that the student's share is of."""
        pairs = ((c.a, c.b) for c in self.record.comparisons if c.b.value.startswith("teacher"))
        return next((b for a, b in pairs if a == ArmKind.STUDENT_DISTILLED), None)

    def compared(self, a: ArmKind, b: ArmKind | None) -> Comparison | None:
        """Two arms in the primary metric, on what is like the items they learnt from."""
        wanted = (a, b, "heldout", self.record.primary_metric)
        return next((c for c in self.record.comparisons if (c.a, c.b, c.slice, c.metric) == wanted), None)

    @property
    def beside(self) -> list[tuple[str, str]]:
        """Shares of the teacher's score without which the student's says little. An interval would take the items."""
        scores = {
            (arm.kind, name): found[self.record.primary_metric].value
            for arm in self.record.arms
            for name, found in arm.metrics.items()
            if self.record.primary_metric in found
        }
        wanted = (
            ("the same student on the gold alone", ArmKind.STUDENT_GOLD, "heldout"),
            ("the student on kinds that it never saw", ArmKind.STUDENT_DISTILLED, "unseen"),
        )
        return [
            (what, share(scores[kind, name] / scores[self.teacher, name]))
            for what, kind, name in wanted
            if (kind, name) in scores and scores.get((self.teacher, name))
        ]

    @property
    def tiers(self) -> list[tuple[str, tuple[str, str, str]]]:
        """Of a cascade: the points between it and either tier alone, each with the ends of its interval."""
        pairs = (("teacher", self.teacher), ("student", ArmKind.STUDENT_DISTILLED))
        found = [(who, self.compared(ArmKind.CASCADE, kind)) for who, kind in pairs]
        return [(f"against the {who} alone", _bare_points(c.difference)) for who, c in found if c]

    @property
    def passed_on(self) -> list[tuple[str, str]]:
        """Of a cascade: the share that the student passed on, by slice."""
        deferred = self.record.cascade.deferred if self.record.cascade else {}
        return [
            (f"passed on, {slice_title(name).split(',')[0].lower()}", figures.estimate(of, "percent"))
            for name, of in deferred.items()
        ]

    @property
    def remark(self) -> str:
        """What follows from the record beside the verdict, which was written with it."""
        simpler = self.compared(ArmKind.STUDENT_DISTILLED, ArmKind.STUDENT_SIMPLER)
        if simpler and simpler.difference.high < 0 and self.record.simpler in RECIPES:
            name, by = RECIPES[self.record.simpler].title, figures.estimate(simpler.difference, "points")
            return f"Against the control, {name.lower()}, the same student comes to {by}: take that, if any."
        if passed := self.compared(ArmKind.CASCADE, ArmKind.STUDENT_DISTILLED):
            by = figures.write(passed.difference, "points")
            return f"That is choosing what to pass on, against drawing it; passing on as such adds {by}."
        return ""

    @property
    def metric(self) -> str:
        """The primary metric's name, as it stands inside a sentence."""
        title = metric_title(self.record.primary_metric)
        return title if title[1:2].isupper() else title[0].lower() + title[1:]

    @property
    def retention(self) -> tuple[str, str, str]:
        return figures.interval(self.record.retention)

    @property
    def speedup(self) -> str | None:
        return times(self.record.speedup) if self.record.speedup else None

    @property
    def faster(self) -> tuple[str, str] | None:
        return faster(self.record)

    @property
    def unmeasured(self) -> str:
        """Why there is no speed-up."""
        return "not compared: answers are labels" if self.record.labels else "not measured: its teacher was elsewhere"

    @property
    def latency(self) -> tuple[str, str | None]:
        """The median of one answer, the student's and the teacher's."""
        served = self.record.serving
        teacher = served.get("teacher")
        return seconds(served["student"].latency_p50_s), seconds(teacher.latency_p50_s) if teacher else None

    @property
    def latency_ratio(self) -> str | None:
        return times(self.record.latency_ratio) if self.record.latency_ratio else None

    @property
    def size_ratio(self) -> str | None:
        return percent(self.record.size_ratio) if self.record.size_ratio else None

    @property
    def total(self) -> str:
        return seconds(figures.DERIVED["total_seconds"](self.record))

    @property
    def dollars(self) -> str:
        return dollars(self.record.collection.usd)

    @property
    def seeds(self) -> str:
        return f"{len(self.record.seeds)} seed{'s' if len(self.record.seeds) != 1 else ''}"

    @property
    def cost(self) -> str:
        c = self.record.collection
        took = f"{self.total} for {self.seeds}, controls and measuring included"
        told = f"{self.dollars} to providers and {took}, with {count(c.asked)} answers"
        if c.prompt_tokens == c.completion_tokens == c.asked:  # one of each: a classifier has no tokens to tell of
            return told
        return f"{told}, {count(c.prompt_tokens)} tokens read and {count(c.completion_tokens)} written"

    # -- the tables

    def slices(self) -> list[dict[str, Any]]:
        """A table for each slice: a row for each arm, the primary metric first."""
        names = list(dict.fromkeys(name for arm in self.record.arms for name in arm.metrics))
        out = []
        for name in names:
            arms = [arm for arm in self.record.arms if name in arm.metrics]
            metrics = list(dict.fromkeys(m for arm in arms for m in arm.metrics[name]))
            metrics.sort(key=lambda m: m != self.record.primary_metric)
            rows = [(arm.title, arm.kind, [_value(arm.metrics[name].get(m)) for m in metrics]) for arm in arms]
            n = max((e.n for arm in arms for e in arm.metrics[name].values()), default=0)
            out.append({"title": slice_title(name), "metrics": [self._title(m) for m in metrics], "rows": rows, "n": n})
        return out

    def _title(self, metric: str) -> str:
        """Of labels, overlap of words is told by a plainer name."""
        of_label = self.record.labels and metric == TO_TEACHER
        return "Likeness to the teacher’s label" if of_label else metric_title(metric)

    def comparisons(self) -> list[tuple[str, str, str, str]]:
        titles = {arm.kind: arm.title for arm in self.record.arms}
        out = []
        for c in self.record.comparisons:
            what = f"{titles[c.a]} minus {titles[c.b][:1].lower()}{titles[c.b][1:]}"
            where = f"{metric_title(c.metric)}, {slice_title(c.slice).split(',')[0].lower()}"
            d = c.difference
            clear = "clear" if figures.clear(d) else "within the noise"
            out.append((what, where, figures.estimate(d, "points"), clear))
        return out

    def serving(self) -> list[tuple[str, str, str, str]]:
        """What was measured of serving: teacher, student, and how they compare."""
        return serving_rows(self.record)

    def cascade(self) -> list[tuple[str, str, str, str, str]]:
        """The curve of a cascade; empty where nothing was passed on."""
        return cascade_rows(self.record)

    def stages(self) -> list[tuple[str, str]]:
        return [(s.name.replace("_", " ").capitalize(), seconds(s.seconds)) for s in self.record.stages]

    def facts(self) -> list[tuple[str, str]]:
        """How the run was set up, for whoever wants to repeat it."""
        r = self.record
        sizes = ", ".join(f"{count(n)} {name}" for name, n in r.task.sizes.items())
        c = r.collection
        rates = ", ".join(f"{_arm(t.arm)} {t.chosen:g}" for t in r.tuning)
        return [
            ("Command", r.command),
            ("Task", f"{r.task.title}; items of one seed: {sizes}"),
            *([("Data", r.task.source)] if r.task.source else []),
            ("Teacher", f"{r.teacher.name}, {r.teacher.dtype or 'whose size and speed were not measured here'}"),
            *((f"Teacher {n}", _member(member)) for n, member in enumerate(r.members, 1)),
            ("Student", f"{r.student.name}, {r.student.dtype}"),
            ("Seeds", ", ".join(map(str, r.seeds))),
            ("Learning rates chosen", rates or "none were tried"),
            (
                "Answers collected",
                f"{count(c.asked)} asked, {count(c.from_ledger)} found in the ledger, "
                f"{count(c.empty)} empty, {count(c.truncated)} cut off, {count(c.refused)} refused, "
                f"{count(c.malformed)} malformed, {count(c.failed)} failed, {count(c.pending)} left out, "
                f"{count(c.duplicates)} equal to another's; "
                f"{count(c.prompt_tokens)} tokens read, {count(c.completion_tokens)} written; "
                f"{self.dollars} spent",
            ),
            ("Machine", f"{self.machine}; {r.machine.system}; Python {r.machine.python}"),
            ("Packages", ", ".join(f"{name} {version}" for name, version in r.packages.items())),
            ("Commit", r.commit or "not recorded"),
        ]


def _bare_points(difference: Estimate) -> tuple[str, str, str]:
    """Points without their unit, and the ends of their interval."""
    middle, low, high = (text.removesuffix(" points") for text in figures.interval(difference, "points"))
    return middle, low, high


def _member(member: Member) -> str:
    """A teacher of a committee, in one line."""
    scored = f"{figures.estimate(member.competence, 'share')} on gold" if member.competence else "not scored"
    return f"{member.name}: {scored}, weight {percent(member.weight)}, {percent(member.won)} of the prompts won"


def _arm(kind: ArmKind) -> str:
    return kind.value.replace("_", " ")


def _value(estimate: Any) -> Value | None:
    if estimate is None:
        return None
    text, low, high = figures.interval(estimate)
    return Value(text, low, high, " · ".join(map(share, estimate.per_seed)), _plot(estimate))


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
