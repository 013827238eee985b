"""The report: complete, self-contained, safe with hostile text, and honest about which examples it shows."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from builder_samples import make_record

from implementations import figures
from implementations import record as records
from implementations.errors import InputError
from implementations.evaluation import report
from implementations.evaluation.report import Answer, Item, Segment, choose, cut, plain, segments, write
from implementations.record import Arm, ArmKind, Curve, Estimate, Member, Record, Tuning

VOID = {"meta", "link", "br", "line", "circle", "polyline"}  # those of SVG close themselves here
HOSTILE = "<script>alert(1)</script><img src=https://example.com/x onerror=alert(1)> \"'{{ 7 * 7 }}"


def estimate(value: float, *seeds: float) -> Estimate:
    return Estimate(value=value, low=value - 0.0213, high=value + 0.0134, n=48, per_seed=list(seeds))


def full_record(**changes: Any) -> Record:
    """A record with everything a report can show; its figures are made up."""
    arms = []
    for i, kind in enumerate(ArmKind):
        curve = {"learning_rate": 0.001, "epochs": 2.5, "batch": 4, "seconds": 61}
        trained = kind not in (ArmKind.TEACHER_SHIPPED, ArmKind.STUDENT_BEFORE)
        metrics = {
            name: {
                metric: estimate(0.1 + i / 10 + j / 100 + k / 1000, 0.1 + i / 10, 0.12 + i / 10)
                for j, metric in enumerate(("fact_precision", "fact_f1", "fact_recall", "rouge_l_to_teacher"))
            }
            for k, name in enumerate(("heldout", "unseen"))
        }
        arms.append(
            Arm(
                kind=kind,
                title=kind.value.replace("_", " ").capitalize(),
                model="teacher" if "teacher" in kind else "student",
                metrics=metrics,
                training=[Curve(steps=[1, 2, 3], loss=[9, 1, 0.1 + s], seed=s, **curve) for s in (0, 1) if trained],
            )
        )
    return make_record(**{"arms": arms, **changes})


def answer(text: str, score: float = 0.5, spans: Any = (), missed: Any = ()) -> dict[str, Any]:
    return {"text": text, "metrics": {"fact_f1": score}, "spans": list(spans), "missed": list(missed)}


def item(slice_: str, number: int, score: float = 0.5, text: str = "a fine day") -> dict[str, Any]:
    answers = {kind.value: [answer(text, score), answer("of another seed")] for kind in ArmKind}
    return {
        "slice": slice_, "id": f"{slice_}-{number}", "prompt": f"prompt {number}", "reference": f"reference {number}",
        "facts": {}, "answers": answers,
    }  # fmt: skip


def run_folder(folder: Path, record: Record, items: list[dict[str, Any]]) -> Path:
    folder.mkdir(exist_ok=True)
    records.save(record, folder / "record.json")
    lines = [json.dumps(each, ensure_ascii=False) for each in items]
    (folder / "items.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    return folder


def page_of(tmp_path: Path, items: list[dict[str, Any]] | None = None, **changes: Any) -> str:
    items = [item("heldout", i, i / 10) for i in range(9)] if items is None else items
    path = write(run_folder(tmp_path / "run", full_record(**changes), items))
    assert path == tmp_path / "run" / "report.html"
    return path.read_text("utf-8")


class Reader(HTMLParser):
    """What a browser would make of a page: elements, addresses, identifiers and the text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[str] = []
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.handlers: list[str] = []
        self.words: list[str] = []
        self.feed(page)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())


# ------------------------------------------------------------------------------------------------- the page


def test_one_file_that_loads_nothing(tmp_path: Path) -> None:
    page = page_of(tmp_path)
    reader = Reader(page)
    assert {"script", "img", "iframe", "object"}.isdisjoint(reader.elements)
    assert [a for a in reader.addresses if not a.startswith("#")] == ["data:,"]
    assert {a[1:] for a in reader.addresses if a.startswith("#")} <= set(reader.ids)
    assert len(reader.ids) == len(set(reader.ids))
    assert not re.search(r"url\(|@import|https?:", page)
    assert "default-src 'none'" in page


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    hostile = item("heldout", 0, text=HOSTILE)
    hostile |= {"id": HOSTILE, "prompt": HOSTILE, "reference": HOSTILE}
    spans = [(0, 8, "invented"), (8, 13, "found")]
    hostile["answers"]["student_distilled"] = [answer(HOSTILE, 0.5, spans, [HOSTILE])]
    record = full_record(command=HOSTILE, packages={HOSTILE: HOSTILE}, commit=HOSTILE)
    reader = Reader(write(run_folder(tmp_path / "run", record, [hostile])).read_text("utf-8"))
    assert {"script", "img"}.isdisjoint(reader.elements)
    assert not reader.handlers
    assert reader.text.count("{{ 7 * 7 }}") >= 8  # nor does the template read it


def test_every_figure_is_there_in_words(tmp_path: Path) -> None:
    text = Reader(page_of(tmp_path)).text
    record = full_record()
    for arm in record.arms:
        for metrics in arm.metrics.values():
            for e in metrics.values():
                assert f"{figures.share(e.value)} {figures.share(e.low)} to {figures.share(e.high)}" in text
    for figure in (
        "Verdict: distil", "87.7%", "84.3% to 90.2%", "7.3×", "25%", "2 January 2031", "+44.4 points", "+40.0 to +50.0",
        "5.67 s", "543 ms", "over 9 prompts", "at batch 8", "900 MiB", "2.00 GB", "2.50", "1 min 1 s", "50.0% ✓ chosen",
        "$1.25", "3 min 3 s", "0" * 64, record.code_sha256, "distill run sequence-level --record", "torch 2.13.0",
    ):  # fmt: skip
        assert figure in text, figure


def test_the_members_of_a_committee_are_listed(tmp_path: Path) -> None:
    said = {"won": 0.125, "heldout": estimate(0.654)}
    members = [
        Member(name=HOSTILE, competence=estimate(0.321), weight=0.75, **said),
        Member(name="silent", competence=None, weight=0.25, **said),
    ]
    reader = Reader(page_of(tmp_path, members=members))
    assert {"script", "img"}.isdisjoint(reader.elements)
    for row in (f"{HOSTILE}32.1% 30.0% to 33.4%4875%12%65.4% 63.3% to 66.7%", "silent–025%12%65.4% 63.3% to 66.7%"):
        assert row in reader.text
    assert "The committee" not in page_of(tmp_path)


def test_the_primary_metric_comes_first_in_every_slice(tmp_path: Path) -> None:
    page = page_of(tmp_path)
    captions = re.findall(r"<caption><b>([^<]+)</b>", page)
    assert captions == ["Fact F1", "Fact precision", "Fact recall", "ROUGE-L to the teacher"] * 2
    assert page.count("the metric that decides") == 1  # in the slice that the verdict is about


def test_seeds_are_seen_when_there_are_several(tmp_path: Path) -> None:
    several = page_of(tmp_path)
    assert several.count('class="seed"') == 2 * len(ArmKind) * 4 * 2  # slices, arms, metrics, seeds
    assert "says nothing about another training" not in several
    alone = {kind: {"heldout": {"fact_f1": estimate(0.5, 0.5)}} for kind in ArmKind}
    arms = [arm.model_copy(update={"metrics": alone[arm.kind]}) for arm in full_record().arms]
    one = page_of(tmp_path, arms=arms, seeds=[0])
    assert 'class="seed"' not in one
    assert "says nothing about another training" in one


def test_an_interval_stands_where_its_figures_say() -> None:
    assert [report.place(v) for v in (0, 0.25, 1, 1.5, -1)] == ["0.00%", "25.00%", "100.00%", "100.00%", "0.00%"]
    assert report.place(0, -0.5, 0.5) == "50.00%"


@pytest.mark.parametrize("smoke", [True, False])
def test_a_smoke_run_says_so_loudly(tmp_path: Path, smoke: bool) -> None:
    page = page_of(tmp_path, smoke=smoke)
    assert ("no figure on this page means anything" in page) is smoke
    assert ("<h1>Verdict of a smoke run" in page) is smoke
    assert ("Peak memory is that of a fresh process" in page) is not smoke


def test_a_run_of_other_code_is_called_out(tmp_path: Path) -> None:
    notice = "The code has changed since this run"
    assert notice not in page_of(tmp_path)
    assert notice in page_of(tmp_path, code_sha256="0" * 64)


@pytest.mark.parametrize(
    ("low", "high", "says"),
    [(0.01, 0.2, "Student distilled is better"), (-0.2, -0.01, "Student gold is better"), (-0.1, 0.1, "within the")],
)
def test_a_comparison_says_what_its_interval_says(tmp_path: Path, low: float, high: float, says: str) -> None:
    comparison = (
        full_record()
        .comparisons[0]
        .model_copy(update={"difference": Estimate(value=(low + high) / 2, low=low, high=high, n=48)})
    )
    text = Reader(page_of(tmp_path, comparisons=[comparison])).text
    assert (
        f"Was the teacher worth it? Student distilled minus student gold, Fact F1 {(low + high) * 50:+.1f}".replace(
            "-", "−"
        )
        in text
    )
    assert says in text


def test_the_least_a_record_can_hold(tmp_path: Path) -> None:
    arms = [Arm(kind="student_distilled", title="S", model="student", metrics={"heldout": {"exact": estimate(0.5)}})]
    page = page_of(tmp_path, [], arms=arms, comparisons=[], tuning=[], stages=[], primary_metric="exact")
    assert "This run kept no answers" in page
    assert {"comparisons", "training"}.isdisjoint(Reader(page).ids)


def test_the_same_run_gives_the_same_page(tmp_path: Path) -> None:
    assert page_of(tmp_path) == page_of(tmp_path)


def test_rendering_needs_neither_torch_nor_numpy() -> None:
    code = "import sys, implementations.evaluation.report; print({'torch', 'numpy', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# ----------------------------------------------------------------------------------------------- the curves


def curves(*losses: list[float]) -> list[dict[str, Any]]:
    curve = {"learning_rate": 0.001, "epochs": 1, "batch": 4, "seconds": 1}
    training = [Curve(steps=list(range(1, len(x) + 1)), loss=x, seed=i, **curve) for i, x in enumerate(losses)]
    return report._curves([Arm(kind="student_gold", title="S", model="student", metrics={}, training=training)])


def test_losses_far_apart_are_drawn_on_a_logarithmic_scale() -> None:
    [far] = curves([13.0, 0.5, 0.08])
    assert far["log"]
    assert [label for _, label in far["y"]] == ["0.1", "1", "10"]
    [near] = curves([1.4, 1.1])
    assert not near["log"]
    assert near["y"][0][1] == "0"


@pytest.mark.parametrize("losses", [[[2.0]], [[0.0, 0.0]], [[5.0, 0.0]], [[1e-4, 1e4]], [[3.0] * 9999, [1.0, 2.0]]])
def test_every_line_stays_inside_its_plot(losses: list[list[float]]) -> None:
    [plot] = curves(*losses)
    frame = report.FRAME
    for _, line in plot["lines"]:
        points = [tuple(map(float, point.split(","))) for point in line.split()]
        assert 0 < len(points) <= report.POINTS
        assert all(frame.left <= x <= frame.width - frame.right for x, _ in points)
        assert all(frame.top <= y <= frame.height - frame.bottom for _, y in points)
    assert 2 <= len(plot["y"]) <= 12
    assert all(label.isdigit() for _, label in plot["x"])


def test_untrained_arms_have_no_curve() -> None:
    assert curves() == [] == curves([])


# ---------------------------------------------------------------------------------------------- the examples


def items(*slices: tuple[str, list[float]]) -> list[Item]:
    return [Item.model_validate(item(name, i, score)) for name, scores in slices for i, score in enumerate(scores)]


def test_examples_run_evenly_from_worst_to_best_in_both_slices() -> None:
    scores = [((i * 37) % 48) / 48 for i in range(48)]
    chosen = choose(items(("heldout", scores), ("unseen", scores[:24])), "fact_f1")
    assert [e.slice for e in chosen] == ["heldout"] * 7 + ["unseen"] * 3
    of_heldout = [e.answers[ArmKind.STUDENT_DISTILLED][0].metrics["fact_f1"] for e in chosen[:7]]
    assert of_heldout == [round(47 * i / 6) / 48 for i in range(7)]
    of_unseen = [e.answers[ArmKind.STUDENT_DISTILLED][0].metrics["fact_f1"] for e in chosen[7:]]
    assert (of_unseen[0], of_unseen[-1]) == (min(scores[:24]), max(scores[:24]))


@pytest.mark.parametrize("sizes", [(48, 24), (4, 2), (9, 0), (1, 1), (0, 0), (100, 1), (11, 10)])
def test_no_example_is_shown_twice(sizes: tuple[int, int]) -> None:
    given = items(("heldout", [0.5] * sizes[0]), ("unseen", [0.5] * sizes[1]))
    chosen = [e.id for e in choose(given, "fact_f1")]
    assert len(chosen) == len(set(chosen)) == min(10, sum(sizes))


def test_marks_say_in_words_what_they_mean(tmp_path: Path) -> None:
    marked = item("heldout", 0)
    spans = [(0, 6, "found"), (8, 13, "invented")]
    marked["answers"]["student_distilled"] = [answer("sepsis, gloop.", 0.5, spans, ["history: asthma"])]
    text = Reader(page_of(tmp_path, [marked])).text
    assert "[found: ✓\u2060sepsis], [invented: ✗\u2060gloop]." in text
    assert "Missed: history: asthma" in text
    assert "is a claim that is not true of it" in text


def test_a_task_without_known_facts_has_no_legend(tmp_path: Path) -> None:
    bare = item("heldout", 0) | {"reference": None}
    text = Reader(page_of(tmp_path, [bare])).text
    assert "is a claim that is not true of it" not in text
    assert "Reference" not in text
    assert "a fine day" in text
    assert "of another seed" not in text


def test_segments_keep_the_whole_answer() -> None:
    spans = [(0, 2, "found"), (1, 4, "invented"), (4, 5, "invented"), (7, 99, "found"), (3, 3, "found")]
    parts = segments(Answer(text="abcdefgh", metrics={}, spans=spans, missed=[]))
    assert parts == [Segment("ab", "found"), Segment("cd", ""), Segment("e", "invented"), Segment("fgh", "")]


def test_long_texts_fold_and_lose_nothing() -> None:
    parts = [Segment("a" * 30, ""), Segment("b" * 30, "found"), Segment("c" * 30, "")]
    head, tail = cut(parts, 40)
    assert head == [Segment("a" * 30, ""), Segment("b" * 10, "found")]
    assert tail == [Segment("b" * 20, "found"), Segment("c" * 30, "")]
    assert cut(parts, 60) == (parts, [])  # a short rest is not worth a click
    assert cut(plain(""), 60) == (plain(""), [])
    head, tail = cut(plain("a\n" * 50), 400)
    assert head[0].text.count("\n") == 6  # a column of short lines is as long as a text
    assert head[0].text + tail[0].text == "a\n" * 50


def test_a_loop_is_hidden_and_an_empty_answer_named(tmp_path: Path) -> None:
    odd = item("heldout", 0)
    odd["answers"]["student_before"] = [answer("walk " * 500)]
    odd["answers"]["student_gold"] = [answer(" \n")]
    page = page_of(tmp_path, [odd])
    assert "<summary>The rest of this text (2,100 more characters)</summary>" in page
    assert Reader(page).text.count("walk") == 500
    assert "an empty answer" in page


# ------------------------------------------------------------------------------------------------ bad folders


def test_a_line_separator_in_an_answer_ends_no_line(tmp_path: Path) -> None:
    assert "one\u2028two\x85three" in page_of(tmp_path, [item("heldout", 0, text="one\u2028two\x85three")])


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "items.jsonl:2: the line: Invalid JSON"),
        ('{"slice": "heldout"}', "items.jsonl:2: id: Field required"),
        (json.dumps(item("heldout", 1) | {"answers": {"oracle": []}}), "items.jsonl:2: answers.oracle"),
        (
            json.dumps(item("heldout", 1) | {"answers": {"student_gold": [answer("x", spans=[(0, 1, "odd")])]}}),
            "items.jsonl:2: answers.student_gold.0.spans.0.2",
        ),
    ],
)
def test_a_broken_items_file_is_named_with_its_line(tmp_path: Path, line: str, problem: str) -> None:
    folder = run_folder(tmp_path / "run", full_record(), [item("heldout", 0)])
    with (folder / "items.jsonl").open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    with pytest.raises(InputError) as error:
        write(folder)
    assert problem in str(error.value)
    assert f"delete {folder} and give the run's command again" in str(error.value)
    assert not (folder / "report.html").exists()


@pytest.mark.parametrize("name", ["items.jsonl", "record.json"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    folder = run_folder(tmp_path / "run", full_record(), [item("heldout", 0)])
    for spoil in (lambda path: path.write_bytes(b"\xff\xfe"), Path.unlink):
        spoil(folder / name)
        with pytest.raises(InputError, match=rf"{name}.*delete {re.escape(str(folder))}"):
            write(folder)


def test_a_broken_record_is_named_with_its_field(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", full_record(), [item("heldout", 0)])
    record = json.loads((folder / "record.json").read_text())
    record["serving"]["student"]["batch"] = -1
    (folder / "record.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match=r"record\.json: serving\.student\.batch: .*; delete "):
        write(folder)


def test_learning_rates_are_marked_where_one_was_chosen(tmp_path: Path) -> None:
    tuning = [Tuning(arm="student_gold", dev_score={"0.0005": 0.4, "1e-05": 0.6}, chosen=0.00001)]
    text = Reader(page_of(tmp_path, tuning=tuning)).text
    assert text.count("✓ chosen") == text.count("60.0% ✓ chosen") == 1
