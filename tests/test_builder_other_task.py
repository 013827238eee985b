"""A record of another task than its pattern's own, with a classifier for a student: accepted, named, never quoted."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace

import pytest
from builder_samples import ROOT, load, real_catalogue

from builder import data
from builder.check import check, headline
from builder.load import Catalogue, Measured
from builder.pages.results import ResultsPage
from builder.render import render
from implementations import figures, record
from implementations.evaluation.report import render as report
from implementations.figures import seconds
from implementations.record import Record, code_sha256

SLUG = "sequence-level"
MAIL = "E-mail moderation"


def moderation() -> Record:
    """`--task email-moderation --student encoder:2`, made of a record of the clinical task: no figure was measured."""
    own = headline(real_catalogue(), SLUG).record
    text = own.model_dump_json().replace('"fact_f1"', '"accuracy"').replace('"fact_recall"', '"label_given"')
    made = Record.model_validate_json(text.replace('"fact_precision"', '"label_given"'))
    small = made.serving["student"].model_copy(update={"latency_p50_s": 0.01, "tokens_per_s": 871.25})
    return made.model_copy(
        update={
            "command": f"distill run {SLUG} --task email-moderation --student encoder:2 --record",
            "settings": {"task": "email-moderation", "student": "encoder:2"},
            "date": own.date.replace(year=own.date.year + 1),  # newer than all others
            "code_sha256": code_sha256(SLUG, task="email-moderation"),
            "task": own.task.model_copy(update={"name": "email-moderation", "title": MAIL}),
            "student": own.student.model_copy(update={"name": "all-MiniLM-L6-v2, 2 layers kept"}),
            "serving": made.serving | {"student": small},
        }
    )


@pytest.fixture(scope="module", params=["committed", "own"])
def catalogue(request, tmp_path_factory) -> Catalogue:
    """This repository's, with that record: committed, or given with ``catalogue build --records``."""
    folder = tmp_path_factory.mktemp("runs")
    record.save(moderation(), folder / "mail" / "record.json")
    found, problems = load(ROOT, folder)
    assert [str(problem) for problem in problems] == []
    if request.param == "committed":
        found = replace(found, records=[replace(m, own=False) for m in found.records])
        assert not list(check(found))
    return found


def mail(catalogue: Catalogue) -> Measured:
    return next(m for m in catalogue.records if m.name == "mail")


def test_it_is_shown_under_its_pattern_and_never_quoted(catalogue):
    mine, own = mail(catalogue), headline(real_catalogue(), SLUG)
    assert not mine.stale and headline(catalogue, SLUG).record == own.record
    assert data.records_of(catalogue, SLUG)[0].record == own.record
    page = render(catalogue)[f"patterns/{SLUG}.md"]
    assert re.search(r"^### .* with task email-moderation, student encoder:2 \{", page, re.M)
    assert "**What it cost, with task email-moderation, student encoder:2:**" in page
    card = page[: page.index("Is it for me?")]
    assert "fact F1 kept" in card and "speed, one answer at a time" not in card.partition("your own run")[0]
    assert ("of the teacher’s accuracy at" in card and f", on {MAIL};" in card) == mine.own
    entries = data._records(catalogue, catalogue.patterns[SLUG])
    entry = next(entry for entry in entries if entry["url"].endswith("/mail.json"))
    assert (
        entry["task"] == "email-moderation"
        and entry["speedup"] is None
        and entry["latency_ratio"] > 50
        and entry["settings"]["student"] == "encoder:2"
    )


def test_what_counts_of_a_label_is_its_latency(catalogue):
    page = ResultsPage(catalogue, "results.md")
    entry = next(entry for entry in page.entries if entry.results.measured.name == "mail")
    ratio = entry.results.record.latency_ratio
    assert entry.speedup == ratio > 50
    assert f"at {figures.times(ratio)} the speed, one answer at a time" in entry.words
    out = render(catalogue)["results.md"]
    row = next(line for line in out.split("<tr data-result=")[1:] if "/mail.json" in line)
    teacher = seconds(entry.results.record.serving["teacher"].latency_p50_s)
    assert "<td>not compared: answers are labels</td>" in row and f"<td>10 ms <small>teacher {teacher}, " in row
    [point] = re.findall(rf'data-result="{entry.number}" href.*?</a>', out, re.S)
    assert "dp-chart__point" in point and "<circle" not in point
    assert "with task email-moderation, student encoder:2" in row
    words = " ".join(out.split())
    assert figures.SPEED in words and figures.LABELS in words
    pages = "".join(text for path, text in render(catalogue).items() if path.endswith((".md", ".txt")))
    assert not re.search(r"(?<![\d,])871\b", pages)  # its tokens per second


def test_the_claims_and_the_home_page_tell_of_the_patterns_own_task_or_of_the_one_they_name(catalogue):
    out, before = render(catalogue), render(real_catalogue())
    parts = [pages["claims.md"].split("What we measured") for pages in (out, before)]
    changed = [new for new, old in zip(*parts, strict=True) if new != old]
    named = [i for claim in catalogue.claims.values() for i in claim.measured if i.task == "email-moderation"]
    assert len(named) > 0 and len(changed) == (0 if mail(catalogue).own else len(named))
    assert all("records/mail.json" in part for part in changed)
    claims = json.loads(out["claims.json"])["claims"]
    quoted = [item["record"] for claim in claims for item in claim["measured"] if item["task"] == "email-moderation"]
    path = data.record_path(headline(catalogue, SLUG, "email-moderation"))
    assert quoted == [data.page_url(catalogue, path)] * len(named)
    assert MAIL not in out["index.md"] and "one answer at a time" not in out["index.md"]


def test_it_is_stale_by_its_own_tasks_code(tmp_path):
    shutil.copytree(ROOT / "implementations", tmp_path / "implementations")
    changed = tmp_path / "implementations/tasks/email_moderation.py"
    changed.write_text(changed.read_text() + "\nMORE = 1\n")
    assert moderation().code_sha256 == code_sha256(SLUG, ROOT, "email-moderation")
    assert moderation().code_sha256 != code_sha256(SLUG, tmp_path, "email-moderation")
    assert code_sha256(SLUG, ROOT) == code_sha256(SLUG, tmp_path)


def test_a_pattern_measured_on_another_task_alone_is_not_measured_yet(catalogue):
    alone = replace(catalogue, records=[m for m in catalogue.records if m.record.pattern != SLUG or m.name == "mail"])
    page = render(alone)[f"patterns/{SLUG}.md"]
    card = page[: page.index("Is it for me?")]
    assert "not measured yet" in card and "on this pattern’s own task is committed" in card
    assert ("your own run" in card) == mail(catalogue).own
    assert re.search(r"^### .* with task email-moderation", page, re.M)


def test_the_report_and_the_model_card_compare_no_tokens():
    made = moderation()
    page = " ".join(report(made, []).split())
    assert "Tokens per second" not in page and figures.LABELS in page
    assert "<dt>the teacher’s speed, one answer at a time</dt>" in page
    own = headline(real_catalogue(), SLUG).record
    assert figures.SPEED in " ".join(report(own, []).split())
    assert figures.faster(own) == (figures.times(own.speedup), "tokens per second")
