"""The pages that help to decide: break-even by the formula of `distill check`, and every record on honest axes."""

from __future__ import annotations

import html
import itertools
import json
import math
import random
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from builder_samples import GOOD, ROOT, load, measured, real_catalogue, real_pages
from test_builder_find import Elements, rows
from typer.testing import CliRunner

from builder import explorer, payback
from builder import figures as written_figures
from builder.check import headline
from builder.load import Catalogue, Measured
from builder.models import Line
from builder.pages.results import ResultsPage
from builder.render import navigation, render
from builder.results import Results
from implementations import figures, registry
from implementations.checks import payback as check
from implementations.checks.model import Case
from implementations.cli import app
from implementations.record import Estimate, Machine
from implementations.registry import RECIPES
from implementations.tasks.task import Item
from implementations.teachers import prices

ASSETS = ROOT / "site_overrides/docs/assets"
NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="node runs the script; without it, this comparison is not made")
PAGES = ("payback.md", "results.md")


def by_script(body: str, given: Any) -> Any:
    """What payback.js says: `body` sees its functions and `given`. JSON has no infinity, so null stands for it."""
    program = (
        "const fs = require('fs'), vm = require('vm')\n"
        "vm.runInThisContext(fs.readFileSync(process.argv[1], 'utf8'))\n"
        "const given = JSON.parse(fs.readFileSync('/dev/stdin', 'utf8'))\n"
        f"process.stdout.write(JSON.stringify({body}))"
    )
    command = [str(NODE), "-e", program, str(ASSETS / "payback.js")]
    done = subprocess.run(command, input=json.dumps(given), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def finite(value: float | None) -> float:
    return math.inf if value is None else value


# --------------------------------------------------------------------------------------------------- the formula


def drawn() -> list[tuple[Case, dict[str, Any], list[tuple[int, int]]]]:
    """Cases of `distill check` with every teacher of the table, the same as data, and the tokens it reckons with."""
    draw, out = random.Random(6), []
    for entry in payback.data():
        for _ in range(4):
            length = draw.choice((40, 1_000, 12_000, 1_300_000))
            written = draw.randrange(4, 4_000)
            items = [Item(f"row-{n}", "x" * length, "y" * written if n < 8 else None) for n in range(10)]
            case = Case(
                pattern="sequence-level",
                teacher=entry["teacher"],
                prompts=Path("notes.jsonl"),
                items=items,
                monthly_requests=draw.randrange(1, 10 ** draw.randrange(2, 8)),
                training_usd=draw.choice((0.0, 6.0, 12_345.6)),
                serving_usd=draw.choice((0.0, 150.0, 2_000.0)),
                payback_months=draw.choice((0.5, 12.0)),
            )
            said = check.payback(case).estimate
            if said and draw.random() < 0.3:
                case = replace(case, payback_months=said.value)  # within the band, so nobody can be sure
            tokens = [(round(length * each), round(written * each)) for each in check.TOKENS]
            out.append((case, {"price": entry, "tokens": tokens, **told(case)}, tokens))
    return out


def told(case: Case) -> dict[str, Any]:
    return {
        "one": {
            "requests": case.monthly_requests,
            "collection": len(case.transfer) + 2,  # of eight references, two are held out
            "training": case.training_usd,
            "serving": case.serving_usd,
        },
        "accepted": case.payback_months,
    }


@needs_node
def test_the_script_says_what_distill_check_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOOGLE_CLOUD_LOCATION", raising=False)  # of which the script knows nothing
    cases = drawn()
    body = """given.map(({ price, tokens, one, accepted }) => {
        const each = tokens.map(([prompt, answer]) => priceOf(price, prompt, answer))
        const months = each.map(usd => monthsOf({ ...one, each: usd }))
        return { each, months, decision: decide([Math.max(...months), Math.min(...months)], accepted) } })"""
    found = by_script(body, [given for _, given, _ in cases])
    decisions = []
    for (case, given, tokens), by in zip(cases, found, strict=True):
        price = prices.find(case.platform, case.model)
        assert by["each"] == pytest.approx([price.cost(*pair) for pair in tokens])
        said = check.payback(case)
        months = [finite(m) for m in by["months"]]
        if said.estimate:
            assert (min(months), max(months)) == pytest.approx((said.estimate.low, said.estimate.high)), given
        else:
            assert math.isinf(max(months)), given
        assert by["decision"] == said.decision.value, given
        decisions.append(by["decision"])
    assert all(decisions.count(name) > 5 for name in ("go", "no-go", "unsure")), decisions


@needs_node
def test_the_tables_of_the_page_are_worked_out_as_the_script_does() -> None:
    cases = [
        (replace(payback.EXAMPLE, monthly_requests=volume, prompt_tokens=prompt), teacher, price)
        for teacher, (_, price) in payback.teachers().items()
        for volume in payback.VOLUMES
        for prompt in (400, 300_000)
    ]
    entries = {entry["teacher"]: entry for entry in payback.data()}
    given = [
        {
            "price": entries[teacher],
            "tokens": [case.prompt_tokens, case.completion_tokens],
            "requests": case.monthly_requests,
            "collection": case.collection,
            "training": case.training_usd,
            "serving": case.serving_usd,
        }
        for case, teacher, _ in cases
    ]
    found = by_script("given.map(one => monthsOf({ ...one, each: priceOf(one.price, ...one.tokens) }))", given)
    told_ = [payback.months(case, price) for case, _, price in cases]
    assert [finite(m) for m in found] == pytest.approx(told_)
    assert 10 < sum(map(math.isinf, told_)) < len(told_) - 10


@needs_node
def test_the_band_holds_every_corner() -> None:
    one = {"each": 0.00345, "requests": 200_000, "collection": 5_000, "training": 300, "serving": 300}
    off = {"price": 0.1, "volume": 0.2, "serving": 0.3}
    corners = []
    for signs in itertools.product((-1, 1), repeat=3):
        p, v, s = (1 + sign * share for sign, share in zip(signs, off.values(), strict=True))
        saved = one["requests"] * v * one["each"] * p - one["serving"] * s
        corners.append((one["collection"] * one["each"] * p + one["training"]) / saved)
    most, fewest = by_script("bandOf(given.one, given.off)", {"one": one, "off": off})
    assert (fewest, most) == pytest.approx((min(corners), max(corners)))
    assert by_script("bandOf(given, { price: 0, volume: 0, serving: 0 })", one) == pytest.approx([317.25 / 390] * 2)
    assert by_script("bandOf(given, { volume: 0.9 })", one)[0] is None  # never, if there are so few


@needs_node
def test_a_long_prompt_has_the_rates_that_are_shown() -> None:
    price = {"input": 1, "output": 2, "long": {"above": 100, "input": 3, "output": 4}}
    rates = by_script(
        "given.map(tokens => ratesOf(given_price, tokens))".replace("given_price", json.dumps(price)), [100, 101]
    )
    assert [(r["input"], r["output"]) for r in rates] == [(1, 2), (3, 4)]
    script = (ASSETS / "calculator.js").read_text("utf-8")
    assert "${rates.input}" in script and "${price.input}" not in script


def test_every_number_that_can_be_typed_is_read_from_the_address() -> None:
    (pattern,) = re.findall(r"/(\^-.*\$)/i\.test", (ASSETS / "address.js").read_text("utf-8"))
    for text in ("48", "-2", "0.25", ".5", "1e6", "2.5E-3"):
        assert re.fullmatch(pattern, text, re.I), text
    for text in ("", ".", "e6", "1e", "x", "1 2"):
        assert not re.fullmatch(pattern, text, re.I), text


@needs_node
def test_numbers_are_written_as_everywhere() -> None:
    draw = random.Random(1)
    values = [0, 1, 12.5, 999.4, 1234.5678, 1e-5, *(10 ** draw.uniform(-6, 8) for _ in range(200))]
    assert by_script("given.map(significant)", values) == [figures.number(v) for v in values]
    assert by_script("given.map(dollars)", values) == [payback.usd(v) for v in values]


@needs_node
def test_axes_have_round_steps_from_zero_to_the_end() -> None:
    draw = random.Random(2)
    ends = [1, 2.5, 10, *(10 ** draw.uniform(-4, 7) for _ in range(40))]
    for most, steps in zip(ends, by_script("given.map(most => stepsTo(most, 6))", ends), strict=True):
        assert steps[0] == 0 and steps[-2] < most <= steps[-1] * (1 + 1e-9)
        assert 3 <= len(steps) <= 8
        assert float(f"{steps[1]:.6e}"[:8]) in (1, 2, 5)


# ------------------------------------------------------------------------------------------------- break-even


def test_every_price_is_told_with_its_day_and_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOOGLE_CLOUD_LOCATION", raising=False)
    assert "it is the price of that one" in " ".join(real_pages()["payback.md"].split())
    found = {row[0].split()[0]: row for row in rows(real_pages()["payback.md"]) if len(row) == 8}
    table = prices.load(prices.TABLE)
    assert len(found) == sum(map(len, table.values())) > 30
    for teacher, row in found.items():
        platform, _, model = teacher.partition(":")
        price = prices.find(platform, model)
        assert price is not None, teacher
        assert [float(cell.lstrip("$")) for cell in row[1:3]] == [price.rates.input, price.rates.output]
        assert datetime.strptime(row[3], "%d %B %Y").date() == price.date
        assert row[4:] == payback.worked(price)
        assert not price.note or price.note in row[0]
        assert not price.rates.long or "tokens:" in row[0]
        assert f'href="{price.source}"' in real_pages()["payback.md"]


def test_a_worked_case_by_hand() -> None:
    """(5,000 answers and 100 hours) against what 200,000 requests cost more than serving."""
    price = prices.given(3, 15)
    assert payback.each(payback.EXAMPLE, price) == pytest.approx(0.00345)
    assert payback.months(payback.EXAMPLE, price) == pytest.approx((5_000 * 0.00345 + 300) / (690 - 300))
    assert payback.worked(price)[1] == "never"


def test_the_calculator_offers_every_teacher_and_starts_from_the_example() -> None:
    page = real_pages()["payback.md"]
    options = [html.unescape(v) for v in re.findall(r'<option value="([^"]*)"', page)]
    assert options == [*payback.teachers(), "own"]
    data = json.loads(re.search(r"^data: (.*)$", page, re.M)[1])
    published = json.loads(real_pages()["prices.json"])
    assert data["teachers"] == published["teachers"] and data["most_days"] == prices.MOST_DAYS
    fields = dict(re.findall(r'<input type="number" name="([^"]+)" value="([^"]+)"', html.unescape(page)))
    start = payback.start()
    assert fields == {name: str(value) for name, value in start.items() if name != "teacher"}
    assert re.search(rf'<option value="{re.escape(start["teacher"])}" selected', html.unescape(page))


def test_the_command_is_one_and_asks_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = re.search(r"^distill check .*$", real_pages()["payback.md"], re.M)[0]
    lines = [json.dumps({"id": f"n{n}", "prompt": f"note {n} of the ward", "reference": "fine"}) for n in range(10)]
    (tmp_path / "notes.jsonl").write_text("\n".join([*lines, json.dumps({"id": "t", "prompt": "another note"})]))
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, [*shlex.split(command)[1:], "--json"])
    assert done.exit_code in (0, 1), done.output
    found = {one["name"]: one for one in json.loads(done.stdout)["checks"]}["payback"]
    assert "$300.00 training" in found["what"] and "(200,000 · " in found["what"] and "$300.00 serving" in found["what"]
    assert found["source"].startswith("https://platform.claude.com/")


# --------------------------------------------------------------------------------------------------- results


def with_records(*records: Measured) -> Catalogue:
    return replace(load(GOOD)[0], records=list(records))


def other_machine(**changes: Any) -> dict[str, Any]:
    machine = Machine(processor="Loom", cores=4, memory_gib=8, gpu="Jacquard", system="Linux", python="3.11.7")
    return {"machine": machine, **changes}


def scales(svg: str) -> tuple[Callable[[float], float], Callable[[float], float]]:
    """What places along the two axes of a plot mean, by the first and last of their labels: speed-up, and retention."""
    label = r'<text class="dp-chart__label"[^>]* x="([\d.]+)" y="([\d.]+)">([\d.]+)(%|×)</text>'
    ticks = [(float(x), float(y), float(value), unit) for x, y, value, unit in re.findall(label, svg)]
    (_, bottom, low, _), *_, (_, top, high, _) = (tick for tick in ticks if tick[3] == "%")
    (left, _, slow, _), *_, (right, _, fast, _) = (tick for tick in ticks if tick[3] == "×")
    lower = 4  # that labels stand, so that they are level with their lines

    def speed(x: float) -> float:
        return slow * (fast / slow) ** ((x - left) / (right - left))

    def share(y: float) -> float:
        return (low + (y + lower - bottom) / (top - bottom) * (high - low)) / 100

    return speed, share


def points(page: str) -> dict[int, dict[str, Any]]:
    """What is drawn, by number, read back from the axes of its plot."""
    found = {}
    for svg in re.findall(r'<svg class="dp-chart .*?</svg>', page, re.S):
        speed, share = scales(svg)
        point = r'<(a|g) class="dp-result dp-result--(\w+)" data-result="(\d+)"(.*?)</\1>'
        for tag, state, number, inside in re.findall(point, svg, re.S):
            low, high = re.search(r'dp-chart__interval" d="M[\d.]+ ([\d.]+)V([\d.]+)', inside).groups()
            x, middle = re.search(r'cx="([\d.]+)" cy="([\d.]+)"', inside).groups()
            found[int(number)] = {
                "linked": tag == "a",
                "state": state,
                "speed": speed(float(re.search(r'dp-chart__foot" d="M([\d.]+)', inside)[1])),
                "kept": [share(float(y)) for y in (middle, low, high)],
                "x": float(x),
                "title": html.unescape(re.search(r"<title>(.*?)</title>", inside)[1]),
            }
    return found


def test_every_record_is_a_point_where_it_was_measured_and_a_row() -> None:
    slow = {"value": 0.41, "low": 0.32, "high": 0.55, "n": 9}
    fast = measured().record.serving["student"].model_copy(update={"tokens_per_s": 2300})
    serving = {"teacher": measured().record.serving["teacher"], "student": fast}
    catalogue = with_records(
        measured(),
        measured(name="old", stale=True, retention=slow, date=datetime(2030, 1, 1, tzinfo=UTC)),
        measured(name="mine", own=True, serving=serving),
        measured(name="loom", **other_machine(retention={"value": 1.11, "low": 1.02, "high": 1.3, "n": 9})),
        measured(name="smoke", smoke=True),
    )
    page = render(catalogue)["results.md"]
    entries, drawn_ = ResultsPage(catalogue, "results.md").entries, points(page)
    assert [e.results.measured.name for e in entries] == ["loom", "made-up", "mine", "old"]
    assert list(drawn_) == [1, 2, 3, 4]
    for entry in entries:
        point, kept = drawn_[entry.number], entry.results.record.retention
        assert point["kept"] == pytest.approx((kept.value, kept.low, kept.high), abs=0.001)
        assert point["speed"] == pytest.approx(entry.results.record.speedup, rel=0.002)
        assert point["linked"] and point["title"] == html.unescape(entry.words)
    assert {n: p["state"] for n, p in drawn_.items()} == {1: "measured", 2: "measured", 3: "own", 4: "stale"}
    told_ = [row for row in rows(page) if row[0][0].isdigit()]
    for entry, row in zip(entries, told_, strict=True):
        assert row[0] == f"{entry.number}. Sequence-level distillation"
        assert " to ".join(entry.results.retention[1:]) in row[1] and row[2] == entry.results.speedup
        assert row[3] == "543 ms teacher 5.67 s, 10×"
        assert ("stale" in row[8]) == entry.results.stale and ("your own run" in row[8]) == entry.results.own
        assert page.count(f'href="{entry.href}"') == 2
    headings = ["Jacquard, 4 cores, 8 GiB", "Abacus <script>, 13 cores, 3.5 GiB"]
    assert [html.unescape(heading) for heading in re.findall(r"^## (.*)$", page, re.M)] == headings
    for kind in ("region", "group"):  # screen readers list these by their names
        labels = re.findall(rf'role="{kind}"[^>]* aria-label="([^"]*)"', page)
        assert labels and len(labels) == len(set(labels))


def test_records_of_other_teachers_are_drawn_beside_the_scale() -> None:
    away = {"student": measured().record.serving["student"]}
    catalogue = with_records(measured(), measured(name="away", serving=away))
    page = render(catalogue)["results.md"]
    found = points(page)
    assert "not measured: its teacher was elsewhere" in page and ">no figure</text>" in page
    strip = explorer.Axes(ResultsPage(catalogue, "results.md").entries).elsewhere
    assert sorted(p["x"] < strip for p in found.values()) == [False, True]
    assert ">no figure</text>" not in render(with_records(measured()))["results.md"]


def test_many_records_of_other_teachers_leave_the_scale_its_place() -> None:
    away = {"student": measured().record.serving["student"]}
    catalogue = with_records(measured(), *(measured(name=f"away-{i}", serving=away) for i in range(40)))
    entries = ResultsPage(catalogue, "results.md").entries
    axes = explorer.Axes(entries)
    assert axes.x(2) - axes.x(1) > 40
    for entry, place in zip(entries, axes.places(entries), strict=True):
        assert (explorer.LEFT < place < axes.elsewhere) == (entry.speedup is None)


def test_every_real_record_leads_to_its_figures() -> None:
    page = real_pages()["results.md"]
    addresses = [html.unescape(a) for a in re.findall(r'href="(patterns/[^"]+)"', page)]
    assert len(addresses) == 2 * len([m for m in real_catalogue().records if not m.record.smoke]) > 0
    for address in addresses:
        path, _, anchor = address.partition("#")
        assert f"#{anchor} }}" in real_pages()[path.replace(".html", ".md")]
    for name in re.findall(r'href="(records/[^"]+)"', page):
        assert name in real_pages()


def test_a_record_of_a_pattern_without_a_page_leads_nowhere() -> None:
    catalogue = replace(with_records(measured()), patterns={})
    page = ResultsPage(catalogue, "results.md").render("explorer.md.j2")
    assert "patterns/" not in page and points(page)[1]["linked"] is False


def test_without_records_nothing_is_drawn() -> None:
    page = render(load(GOOD)[0])["results.md"]
    assert "No record of a run is committed yet" in page and "<svg" not in page and "scripts:" not in page


def test_only_what_tells_records_apart_is_a_filter() -> None:
    one = ResultsPage(with_records(measured()), "results.md")
    assert one.facets() == []
    two = ResultsPage(with_records(measured(), measured(name="b", stale=True, **other_machine())), "results.md")
    assert [(name, list(options.values())) for name, _, options in two.facets()] == [
        ("machine", ["Jacquard, 4 cores, 8 GiB", "Abacus <script>, 13 cores, 3.5 GiB"]),
        ("state", ["stale", "measured"]),
    ]
    page = two.render("explorer.md.j2")
    for field, _, options in two.facets():
        assert {html.unescape(v) for v in re.findall(rf'data-{field}="([^"]*)"', page)} == set(options)


def test_points_stand_apart_in_order_and_within_their_plot() -> None:
    draw = random.Random(3)
    for count in (1, 2, 3, 8, 20, 60):
        for _ in range(50):
            left, right = 60, 640
            places = [draw.choice((draw.uniform(left, right), 200 + draw.random())) for _ in range(count)]
            moved = explorer.spread(places, left, right)
            apart = min(explorer.APART, (right - left) / max(1, count - 1))
            order = sorted(range(count), key=lambda i: places[i])
            steps = [moved[b] - moved[a] for a, b in itertools.pairwise(order)]
            assert all(step >= apart - 1e-6 for step in steps)
            assert all(left - 1e-6 <= place <= right + 1e-6 for place in moved)
    assert explorer.spread([100, 300, 304], 60, 640) == [100, 291, 313]
    assert explorer.spread([], 60, 640) == []


def test_odd_records_are_drawn_all_the_same() -> None:
    wild = {"value": 1e6, "low": -3, "high": 2e6, "n": 1}
    slow = measured().record.serving["student"].model_copy(update={"tokens_per_s": 1e-200})
    still = slow.model_copy(update={"tokens_per_s": 0})
    teacher = measured().record.serving["teacher"]
    page = render(
        with_records(
            measured(retention=wild),
            measured(name="slow", serving={"teacher": teacher, "student": slow}),
            measured(name="still", serving={"teacher": teacher, "student": still}),
        )
    )["results.md"]
    assert len(re.findall('class="dp-result ', page)) == 3
    assert len(re.findall('class="dp-chart__label"', page)) < 40
    assert not re.search(r'"[^"]*(nan|inf)[^"]*"', page)


# ---------------------------------------------------------------------------------------------------- safety

BOMB = '</td></title><script>alert(1)</script>"onfocus="alert(1)" [x](javascript:alert(1)) `<b>`'
BOMB += " [x](https://e.org/onfocus=location=name//)"


def hostile(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Pages of a record, a pattern and a price table that all try to break out."""
    record = measured().record
    machine = record.machine.model_copy(update={"processor": BOMB})
    task = record.task.model_copy(update={"title": BOMB, "name": BOMB})
    one = measured(machine=machine, task=task, settings={"gold": BOMB}, verdict={"decision": "unsure", "reason": BOMB})
    catalogue = with_records(
        replace(one, record=one.record.model_copy(update={"platform": BOMB})), measured(name="two")
    )
    pattern = catalogue.patterns["sequence-level"].model_copy(update={"title": Line(BOMB)})
    price = payback.PRICES["claude"]["claude-sonnet-4-6"]
    bad = replace(price, model=BOMB, note=BOMB)
    table = {**payback.PRICES, "claude": {**payback.PRICES["claude"], '"><script>alert(1)</script>': bad}}
    monkeypatch.setattr(payback, "PRICES", table)
    return render(replace(catalogue, patterns={"sequence-level": pattern}))


def test_hostile_words_stay_words(monkeypatch: pytest.MonkeyPatch) -> None:
    out = hostile(monkeypatch)
    for name in PAGES:
        page = out[name].split("---\n", 2)[2]
        assert page.count("alert(1)") > 1, name
        assert "](javascript" not in page
        found = Elements(page)
        assert not found.names & {"script", "onfocus"}
        assert not [address for address in found.addresses if address.startswith("javascript")]
        front = out[name].split("---\n")[1]
        assert "\n<" not in front and front.count("\n") < 12


def test_nothing_is_inline() -> None:
    """A strict Content-Security-Policy lets no handler and no style of an attribute through."""
    for name in PAGES:
        assert not [n for n in Elements(real_pages()[name]).names if n.startswith("on") or n == "style"]
        for script in re.findall(r"[\w-]+\.js\b", real_pages()[name].split("---\n")[1]):
            text = (ASSETS / script).read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
            assert not re.search(
                r"innerHTML|insertAdjacentHTML|\beval\b|new Function|\.style\b|fetch\(|https?://", text
            )


def test_they_are_found() -> None:
    assert all(f"'{name}'" in str(navigation(real_catalogue())) for name in PAGES)
    for slug in real_catalogue().patterns:
        assert "../payback.md" in real_pages()[f"patterns/{slug}.md"]
    for name in ("index.md", "choose.md"):
        assert "payback.md" in real_pages()[name]


# ------------------------------------------------------------------------------------ what stands beside a figure


def shown(pattern: str) -> Results:
    """The record that a pattern's first screen shows."""
    return Results(headline(real_catalogue(), pattern))


def test_what_a_student_kept_stands_beside_its_control_and_what_it_never_saw() -> None:
    beside = dict(shown("sequence-level").beside)
    record = shown("sequence-level").record
    arms = {arm.kind.value: arm.metrics for arm in record.arms}
    gold = arms["student_gold"]["heldout"]["fact_f1"].value / arms["teacher_tuned"]["heldout"]["fact_f1"].value
    assert beside["the same student on the gold alone"] == f"{100 * gold:.1f}%"
    assert len(beside) == 2
    card = real_pages()["patterns/sequence-level.md"]
    assert all(f"{what} {figure}" in card for what, figure in beside.items())


def test_a_cascade_is_not_told_by_its_students_figures_alone() -> None:
    cascade = shown("tiered-serving")
    told = dict(cascade.tiers)
    assert told["against the teacher alone"][2].startswith("−") and told["against the student alone"][1].startswith("+")
    assert [figure[:2] for _, figure in cascade.passed_on] == ["32", "87"]
    assert "passing on as such adds" in cascade.remark
    pages = real_pages()
    assert "the cascade against the teacher alone" in pages["patterns/tiered-serving.md"]
    assert pages["index.md"].count("the student alone kept") == 1
    assert not shown("sequence-level").tiers


def test_a_control_that_is_clearly_better_is_named() -> None:
    assert shown("on-policy").remark.startswith("Against the control, response-based distillation")
    assert all(not shown(pattern).remark for pattern in ("sequence-level", "feature-based", "multi-teacher"))


def test_a_difference_within_the_noise_says_so() -> None:
    def written(value: float, low: float, high: float, form: str = "points") -> str:
        return written_figures.write(Estimate(value=value, low=low, high=high, n=9, per_seed=[value]), form)

    assert written(0.064, -0.02, 0.167) == "+6.4 points (−2.0 to +16.7: within the noise)"
    assert written(0.064, 0.02, 0.167) == "+6.4 points (+2.0 to +16.7)"
    assert written(-0.064, -0.167, -0.02) == "−6.4 points (−16.7 to −2.0)"
    assert "noise" not in written(0.1, 0, 0.2, "percent")


def test_records_name_the_simpler_pattern_that_the_registry_names() -> None:
    """By it the chooser puts the simpler of two equals first."""
    found = {(m.record.pattern, m.record.simpler) for m in real_catalogue().records}
    assert found == {(slug, RECIPES[slug].simpler) for slug, _ in found}
    assert [registry.steps(slug) for slug in ("sequence-level", "response-based", "feature-based")] == [0, 1, 2]
    assert registry.steps("planned") > max(map(registry.steps, RECIPES))
