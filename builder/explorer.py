"""Retention against speed-up, drawn: one plot for each machine, all on the same axes. Pure.

Every point is a link to its record, with the 95% interval of its retention. Retention begins at zero; equal factors of
speed are equal distances. Records of the same models are about as fast as each other, so their points would hide each
other: these are moved apart sideways, and a thin line leads to where they belong.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from markupsafe import Markup

from .prose import escape
from .results import Results

WIDTH, HEIGHT = 1020, 420
LEFT, RIGHT, TOP, BOTTOM = 58, 24, 26, 52
RADIUS = 10  # of what a point takes up
APART = 2 * RADIUS + 2  # from one point's middle to the next's
MARKS = 10  # along one axis, at most


@dataclass(frozen=True)
class Entry:
    """A record with its number in the tables and on the plots. ``href`` is empty where no page shows it."""

    number: int
    results: Results
    title: str
    href: Markup

    @property
    def speedup(self) -> float | None:
        """How many times as fast as its teacher: in tokens per second, of labels in the latency of one answer."""
        record = self.results.record
        measured = record.latency_ratio if record.labels else record.speedup
        return measured if measured and measured > 0 else None

    @property
    def state(self) -> str:
        """As the tags of a page say it; see `badge` in templates/macros.j2."""
        return "own" if self.results.own else "stale" if self.results.stale else "measured"

    @property
    def words(self) -> Markup:
        """The point for whoever cannot see it."""
        middle, low, high = self.results.retention
        speed = "at {} the {}".format(*self.results.faster) if self.speedup else self.results.unmeasured
        whose = {"own": ", your own run", "stale": ", stale", "measured": ""}[self.state]
        return Markup(escape(f"{self.number}. {self.title}: kept {middle} ({low} to {high}), {speed}{whose}"))


def machines(entries: list[Entry]) -> dict[str, list[Entry]]:
    """Records by the machine that made them, in the order given."""
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        found.setdefault(entry.results.machine, []).append(entry)
    return found


class Axes:
    """The scales that all plots share: retention from 0 in fifths, and speed-up in powers of two. Where there is none,
    as the teacher was elsewhere, a strip beside the scale holds the record."""

    def __init__(self, entries: list[Entry]) -> None:
        speeds = [entry.speedup for entry in entries if entry.speedup]
        self.fifths = max(5, *(math.ceil(5 * entry.results.record.retention.high) for entry in entries))
        self.first = math.floor(math.log2(min([1, *speeds])))
        self.last = math.ceil(math.log2(max([2, *speeds])))
        most = max(sum(not e.speedup for e in group) for group in machines(entries).values())
        strip = min(max(96, (most + 1) * APART), WIDTH / 3)  # where more would not fit, they stand closer
        self.elsewhere = LEFT + strip if most else None  # the right end of that strip
        self.left = (self.elsewhere or LEFT) + RADIUS + 4
        self.right = WIDTH - RIGHT - RADIUS - 4

    def x(self, speedup: float | None) -> float:
        if speedup is None:
            return (LEFT + self.elsewhere) / 2
        return self.left + (math.log2(speedup) - self.first) / (self.last - self.first) * (self.right - self.left)

    def y(self, retention: float) -> float:
        return HEIGHT - BOTTOM - max(0, retention) / (self.fifths / 5) * (HEIGHT - BOTTOM - TOP)

    def places(self, entries: list[Entry]) -> list[float]:
        """Where the points stand: each on its speed-up, or beside it where another one is."""
        ends = ((LEFT + RADIUS, (self.elsewhere or LEFT) - RADIUS), (self.left, self.right))
        found = {}
        for known, (left, right) in enumerate(ends):
            part = [entry for entry in entries if bool(entry.speedup) == bool(known)]
            places = spread([self.x(entry.speedup) for entry in part], left, right)
            found |= {entry.number: place for entry, place in zip(part, places, strict=True)}
        return [found[entry.number] for entry in entries]

    def grid(self) -> Iterator[Markup]:
        """Lines, their labels, and what stands along each axis. As good and as fast as the teacher are bold."""
        right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
        for fifth in range(0, self.fifths + 1, math.ceil(self.fifths / MARKS)):
            yield _line(LEFT, self.y(fifth / 5), right, self.y(fifth / 5), strong=fifth in (0, 5))
            yield _label(LEFT - 8, self.y(fifth / 5) + 4, f"{20 * fifth}%", "end")
        step = math.ceil((self.last - self.first) / MARKS)
        for power in range(self.first, self.last + 1, step):
            yield _line(self.x(2.0**power), TOP, self.x(2.0**power), bottom, strong=power == 0)
            yield _label(self.x(2.0**power), bottom + 18, f"{2.0**power:g}×")
        if self.elsewhere:
            yield _line(self.elsewhere, TOP, self.elsewhere, bottom)
            yield _label(self.x(None), bottom + 18, "no figure")
        what = f"Speed, student ÷ teacher: each line is {2**step} times the last"
        yield _label((LEFT + right) / 2, HEIGHT - 10, what)
        yield Markup('<g transform="translate(14 {}) rotate(-90)">{}</g>').format(
            _n((TOP + bottom) / 2), _label(0, 0, "Quality kept, student ÷ teacher")
        )


def plot(entries: list[Entry], axes: Axes, machine: str) -> Markup:
    """The records of one machine."""
    points = [_point(entry, axes, place) for entry, place in zip(entries, axes.places(entries), strict=True)]
    label = Markup(escape(f"Quality kept against speed-up on {machine}; the table below has the same figures"))
    return Markup(
        '<svg class="dp-chart dp-chart--wide" viewBox="0 0 {0} {1}" width="{0}" height="{1}" role="group"'
        ' aria-label="{2}">{3}{4}</svg>'
    ).format(WIDTH, HEIGHT, label, Markup().join(axes.grid()), Markup().join(points))


def spread(places: list[float], left: float, right: float) -> list[float]:
    """The same places, moved so that neighbours are APART, each group about its own middle and between the ends."""
    apart = min(APART, (right - left) / max(1, len(places) - 1))

    def ends(group: list[int]) -> tuple[float, float]:
        width = (len(group) - 1) * apart
        middle = sum(places[i] for i in group) / len(group)
        first = min(max(middle - width / 2, left), right - width)
        return first, first + width

    groups: list[list[int]] = []
    for i in sorted(range(len(places)), key=lambda i: places[i]):
        groups.append([i])
        while len(groups) > 1 and ends(groups[-1])[0] - ends(groups[-2])[1] < apart - 1e-9:
            groups[-2:] = [groups[-2] + groups[-1]]
    moved = {i: ends(group)[0] + n * apart for group in groups for n, i in enumerate(group)}
    return [moved[i] for i in range(len(places))]


def _point(entry: Entry, axes: Axes, place: float) -> Markup:
    kept, true = entry.results.record.retention, axes.x(entry.speedup)
    low, high, middle, foot = (axes.y(value) for value in (kept.low, kept.high, kept.value, 0))
    top, below = min(high, middle) - 18, min(foot, max(low, middle) + 4)
    drawn = [
        Markup('<rect class="dp-chart__target" x="{}" y="{}" width="{}" height="{}"/>').format(
            *map(_n, (place - APART / 2, top, APART, below - top))
        ),
        Markup('<path class="dp-chart__foot" d="M{} {}L{} {}"/>').format(*map(_n, (true, foot, place, below))),
        Markup('<path class="dp-chart__interval" d="M{} {}V{}M{} {}h8M{} {}h8"/>').format(
            *map(_n, (place, low, high, place - 4, low, place - 4, high))
        ),
        _dot(place, middle, diamond=entry.results.record.labels),
        Markup('<text class="dp-chart__number" text-anchor="middle" x="{}" y="{}">{}</text>').format(
            _n(place), _n(top + 12), entry.number
        ),
    ]
    inside = Markup("<title>{}</title>{}").format(entry.words, Markup().join(drawn))
    name = Markup('class="dp-result dp-result--{}" data-result="{}"').format(entry.state, entry.number)
    if not entry.href:
        return Markup("<g {}>{}</g>").format(name, inside)
    return Markup('<a {} href="{}" aria-label="{}">{}</a>').format(name, entry.href, entry.words, inside)


def _dot(x: float, y: float, *, diamond: bool) -> Markup:
    """A diamond where the speed is of one answer: the two measures are not to be taken for each other."""
    if diamond:
        return Markup('<path class="dp-chart__point" d="M{} {}l6 6-6 6-6-6z"/>').format(_n(x), _n(y - 6))
    return Markup('<circle class="dp-chart__point" cx="{}" cy="{}" r="4.5"/>').format(_n(x), _n(y))


def _line(x1: float, y1: float, x2: float, y2: float, *, strong: bool = False) -> Markup:
    kind = Markup("dp-chart__line dp-chart__line--strong" if strong else "dp-chart__line")
    return Markup('<path class="{}" d="M{} {}L{} {}"/>').format(kind, *map(_n, (x1, y1, x2, y2)))


def _label(x: float, y: float, text: str, anchor: str = "middle") -> Markup:
    return Markup('<text class="dp-chart__label" text-anchor="{}" x="{}" y="{}">{}</text>').format(
        anchor, _n(x), _n(y), text
    )


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
