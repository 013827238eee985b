"""`distill check`: every criterion and check decides as it should on data made for it, and says what it saw."""

from __future__ import annotations

import hashlib
import io
import json
import pydoc_data.topics
import random
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from commands import distill
from rich.console import Console

from builder import load as catalogue
from implementations import criteria
from implementations import record as records
from implementations.checks import coverage, labels, payback
from implementations.checks.model import Case, Check, Decision, Report, proportion
from implementations.checks.report import of_dimension, report, weigh
from implementations.checks.show import show
from implementations.errors import InputError
from implementations.progress import Stages
from implementations.record import ROOT, ArmKind, Estimate
from implementations.tasks.clinical_summary import ClinicalSummary
from implementations.tasks.task import Item, Sizes
from implementations.tasks.user_prompts import read
from implementations.teachers import embedded, encoder, prices, terms
from implementations.teachers.bedrock import BedrockTeacher
from implementations.teachers.claude import ClaudeTeacher
from implementations.teachers.langchain import LangChainTeacher
from implementations.teachers.open import destination_of, leaves_machine, notes
from implementations.teachers.vertex import VertexTeacher

GO, NO_GO, UNSURE = Decision.GO, Decision.NO_GO, Decision.UNSURE
NOTES = ClinicalSummary().splits(Sizes(0, 0, 600, 0, 0), seed=0).transfer
TOPICS = [p for text in pydoc_data.topics.topics.values() for p in text.split("\n\n") if 150 < len(p) < 900]
STAGES = Stages(Console(file=io.StringIO()))


def write(path: Path, items: list[Item]) -> Path:
    rows = [{"id": i.id, "prompt": i.prompt} | ({"reference": i.reference} if i.reference else {}) for i in items]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def items(prompts: list[str], references: list[str]) -> list[Item]:
    """The first so many prompts with a reference, the rest without."""
    answers = [*references, *[None] * (len(prompts) - len(references))]
    return [Item(f"row-{n}", p, a) for n, (p, a) in enumerate(zip(prompts, answers, strict=True))]


@pytest.fixture(autouse=True)
def providers_own_endpoints(monkeypatch):
    for name in ("OPENAI_API_BASE", "ANTHROPIC_API_URL", "AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "OLLAMA_HOST"):
        monkeypatch.delenv(name, raising=False)
    for name in ENDPOINTS.values():
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def case(tmp_path):
    """Makes a case of notes, 40 of 60 with a summary, in which each argument changes something."""

    def make(rows: list[Item] | None = None, **changed: object) -> Case:
        rows = rows or items([n.prompt for n in NOTES[:60]], [n.reference for n in NOTES[:40]])
        path = write(tmp_path / "notes.jsonl", rows)
        case = Case(
            pattern="sequence-level", teacher="local", prompts=path, items=read(path), workdir=tmp_path / "runs"
        )
        return replace(case, **changed)

    return make


def decided(case: Case, dimension: str) -> Decision | None:
    found = report(case, STAGES)
    return of_dimension(found.criteria, next(m for m in found.measured if m.dimension == dimension))


def check(case: Case, name: str) -> Check:
    return next(check for check in report(case, STAGES).checks if check.name == name)


# ------------------------------------------------------------------------------------------- the criteria as data


def test_the_criteria_are_those_of_the_pages():
    read_by_builder, problems = catalogue.read(ROOT)
    assert not problems
    ours = criteria.patterns()
    assert ours.keys() == read_by_builder.patterns.keys()
    for slug, page in read_by_builder.patterns.items():
        for mine, theirs in (
            (ours[slug].when_to_use, page.when_to_use),
            (ours[slug].when_not_to_use, page.when_not_to_use),
        ):
            assert [g.criterion.model_dump() for g in mine] == [g.criterion.model_dump() for g in theirs]
    assert list(criteria.dimensions()) == list(read_by_builder.vocabulary.dimensions)


def test_a_reason_is_told_without_citations_and_links():
    for pattern in criteria.patterns().values():
        for reason in (*pattern.when_to_use, *pattern.when_not_to_use):
            assert "[@" not in reason.plain and "](" not in reason.plain and "\n" not in reason.plain


def test_without_a_catalogue_it_says_so(tmp_path):
    with pytest.raises(InputError, match="no catalogue; run from a checkout"):
        criteria.patterns(tmp_path)


def test_every_dimension_of_the_catalogue_is_measured_and_every_value_is_one_of_it(case):
    known = criteria.dimensions()
    for found in report(case(), STAGES).measured:
        assert set(found.values) <= set(known[found.dimension].values)
        assert found.what != "not measured"


# ----------------------------------------------------------------------------------------------- each dimension

LABELS = ["billing", "refund", "delivery"]
QUESTIONS = [f"{text} ({n})" for n, text in enumerate(TOPICS[:400])]
PATIENTS = [n.prompt for n in NOTES]
SUMMARIES = [n.reference for n in NOTES]


def essays(n: int) -> list[str]:
    """Answers of one word to two hundred, no two alike."""
    draw = random.Random(0)
    return [f"{k} " + " ".join(draw.choices(TOPICS[k].split(), k=draw.choice([1, 3, 20, 90, 200]))) for k in range(n)]


@pytest.mark.parametrize(
    ("dimension", "pattern", "rows", "changed", "expected"),
    [
        ("teacher_access", "response-based", None, {}, GO),
        ("teacher_access", "response-based", None, {"teacher": "claude:claude-haiku-4-5"}, NO_GO),
        ("teacher_access", "response-based", None, {"teacher": "vertex:gemini-2.5-flash"}, NO_GO),
        ("teacher_access", "sequence-level", None, {"teacher": "claude:claude-haiku-4-5"}, GO),
        ("teacher_access", "sequence-level", None, {"given": {"teacher_access": "none"}}, NO_GO),
        ("gold_labels", "sequence-level", items(PATIENTS[:200], SUMMARIES[:48]), {}, GO),
        ("gold_labels", "sequence-level", items(PATIENTS[:500], SUMMARIES[:400]), {}, NO_GO),
        ("gold_labels", "sequence-level", items(PATIENTS[:500], SUMMARIES[:200]), {}, UNSURE),
        ("gold_labels", "multi-teacher", items(PATIENTS[:50], []), {}, NO_GO),
        ("task_shape", "sequence-level", None, {}, GO),
        ("task_shape", "sequence-level", items(QUESTIONS[:100], essays(60)), {}, NO_GO),
        ("task_shape", "sequence-level", items(QUESTIONS[:100], [q[:40] for q in QUESTIONS[:60]]), {}, NO_GO),
        ("task_shape", "on-policy", items(QUESTIONS[:100], [LABELS[k % 3] for k in range(60)]), {}, NO_GO),
        ("task_shape", "response-based", items(QUESTIONS[:100], [LABELS[k % 3] for k in range(60)]), {}, GO),
        ("task_shape", "sequence-level", items(PATIENTS[:50], SUMMARIES[:5]), {}, UNSURE),
        ("serving_need", "sequence-level", None, {}, UNSURE),
        ("serving_need", "sequence-level", None, {"given": {"serving_need": "latency"}}, GO),
        ("serving_need", "sequence-level", None, {"given": {"serving_need": "teacher_fits"}}, NO_GO),
        ("data_residency", "multi-teacher", None, {}, UNSURE),
        ("data_residency", "tiered-serving", None, {"allow_cloud": True}, GO),
        ("data_residency", "tiered-serving", None, {"given": {"data_residency": "must_stay"}}, NO_GO),
        ("data_residency", "sequence-level", None, {}, None),
        ("licence", "sequence-level", None, {}, GO),
        ("licence", "sequence-level", None, {"teacher": "claude:claude-haiku-4-5"}, UNSURE),
        ("licence", "sequence-level", None, {"teacher": "local:/models/mine"}, UNSURE),
        ("licence", "multi-teacher", None, {"teacher": "langchain:mistralai:large"}, UNSURE),
        ("licence", "sequence-level", None, {"given": {"licence": "forbidden"}}, NO_GO),
    ],
)  # fmt: skip
def test_what_a_dimension_comes_to(case, dimension, pattern, rows, changed, expected):
    assert decided(case(rows, pattern=pattern, **changed), dimension) == expected


def run_of(case: Case, low: float, high: float, name: str = "sequence-level-local-1", **changed: object) -> Path:
    """A finished run of the case whose teacher leads by ``low`` to ``high``: a committed record, made to fit."""
    record = next(iter(records.load_all().values()))
    lead = Estimate(value=(low + high) / 2, low=low, high=high, n=48)
    task = record.task.model_copy(
        update={"name": f"prompts-{hashlib.sha256(case.prompts.read_bytes()).hexdigest()[:8]}"}
    )
    comparisons = [
        c.model_copy(update={"difference": lead}) if (c.a, c.b) == (ArmKind.TEACHER_TUNED, ArmKind.STUDENT_GOLD) else c
        for c in record.comparisons
    ]
    folder = case.workdir / name
    changed = {"task": task, "comparisons": comparisons, **changed}
    records.save(record.model_copy(update=changed), folder / "record.json")
    return folder


@pytest.mark.parametrize(
    ("low", "high", "values", "expected"),
    [
        (0.1, 0.3, ["clear"], GO),
        (0.005, 0.015, ["small"], NO_GO),
        (-0.2, -0.05, ["none"], NO_GO),
        (-0.01, 0.01, ["small", "none"], NO_GO),
        (-0.1, 0.2, ["clear", "small", "none"], UNSURE),
    ],
)
def test_the_teachers_advantage_is_that_of_a_finished_run(case, low, high, values, expected):
    mine = case()
    folder = run_of(mine, low, high)
    found = labels.advantage(mine, labels.lead_of(mine))
    assert found.values == values and str(folder) in found.source
    assert (found.estimate.low, found.estimate.high) == (low, high)
    assert decided(mine, "teacher_advantage") == expected


def test_without_a_run_it_says_which_command_measures_the_advantage(case):
    found = labels.advantage(case(instruction="Sum it up."), None)
    assert "distill run sequence-level --teacher local --prompts" in found.mend
    assert "--instruction 'Sum it up.'" in found.mend


@pytest.mark.parametrize("changed", [{"smoke": True}, {"platform": "claude"}, {"task": None}])
def test_a_run_of_something_else_is_not_taken(case, changed):
    mine = case()
    if "task" in changed:
        changed = {"task": next(iter(records.load_all().values())).task}
    folder = run_of(mine, 0.1, 0.3, **changed)
    assert labels.lead_of(mine) is None
    with pytest.raises(InputError, match=f"--run {folder}: "):
        labels.lead_of(replace(mine, run=folder))


def test_a_broken_record_among_the_runs_is_passed_over(case):
    mine = case()
    run_of(mine, 0.1, 0.3)
    (mine.workdir / "broken").mkdir()
    (mine.workdir / "broken" / "record.json").write_text("{}")
    assert labels.lead_of(mine)[1].difference.low == 0.1


def test_a_committee_counts_for_the_pattern_that_seats_one_and_for_no_other(case):
    """Its record holds no single teacher against the gold alone."""
    mine = case()
    lead = records.load(run_of(mine, 0.1, 0.3) / "record.json").comparisons
    seated = [
        c.model_copy(update={"a": ArmKind.TEACHER_COMMITTEE}) if c.a is ArmKind.TEACHER_TUNED else c for c in lead
    ]
    folder = run_of(mine, 0.1, 0.3, pattern="multi-teacher", comparisons=seated)
    assert labels.lead_of(mine) is None
    with pytest.raises(InputError, match=f"--run {folder}: it holds no single teacher against the gold alone; give"):
        labels.lead_of(replace(mine, run=folder))
    committees = replace(mine, pattern="multi-teacher")
    found = labels.advantage(committees, labels.lead_of(committees))
    assert found.values == ["clear"] and "committee minus gold alone" in found.what


def test_the_embedded_teacher_and_the_encoder_are_what_records_name(case):
    record = next(iter(records.load_all().values()))
    assert record.teacher.name == embedded.NAME
    mine = case(teacher="local:encoder")
    run_of(mine, 0.1, 0.3, teacher=record.teacher.model_copy(update={"name": encoder.NAME}))
    assert labels.lead_of(mine)[1].difference.low == 0.1


# ------------------------------------------------------------------------------------------------- the other checks


def test_production_of_the_same_kind_is_covered_and_of_another_is_not(case, tmp_path):
    """Of one kind: never a no-go, and hardly ever unsure. Half of another kind: always a no-go."""
    decisions, production = [], tmp_path / "production.txt"
    for seed in range(12):
        draw = random.Random(seed)
        notes = draw.sample(PATIENTS, 300)
        mine = replace(case(items(notes[:200], [])), production=production)
        production.write_text("\n".join(" ".join(n.split()) for n in notes[200:]))
        decisions.append(coverage.coverage(mine).decision)
        mixed = [*notes[200:250], *draw.sample(TOPICS, 50)]
        production.write_text("\n".join(" ".join(n.split()) for n in mixed))
        found = coverage.coverage(mine)
        assert found.decision is NO_GO
        assert all(int(example.split()[1]) > 50 for example in found.examples)  # "line 73 (0.04)"
    assert NO_GO not in decisions
    assert decisions.count(GO) >= 11


def test_production_may_be_json_lines_and_is_not_printed(case, tmp_path):
    path = write(tmp_path / "production.jsonl", items(TOPICS[:40], []))
    found = coverage.coverage(case(production=path))
    assert found.decision is NO_GO
    assert found.examples[0].startswith("row-")
    assert not any(topic[:40] in found.model_dump_json() for topic in TOPICS[:40])


def test_few_transfer_prompts_cannot_say_what_is_far(case, tmp_path):
    path = write(tmp_path / "production.jsonl", items(TOPICS[:40], []))
    found = coverage.coverage(case(items(PATIENTS[:12], []), production=path))
    assert found.decision is UNSURE and "too few" in found.what


def test_a_held_out_row_that_is_trained_on_as_well_is_found(case):
    rows = items(PATIENTS[:60], SUMMARIES[:20])
    assert coverage.leaks(case(rows)).decision is GO
    copied = Item("copy", f"  {rows[3].prompt.upper()}\n")
    found = coverage.leaks(case([*rows, copied]))
    assert found.decision is NO_GO and found.examples == ["row-3 = copy"]
    near = coverage.leaks(case([*rows, Item("nearly", rows[5].prompt + " Thanks.")]))
    assert near.decision is UNSURE and near.examples == ["row-5 ≈ nearly"]


def test_a_copy_to_the_letter_is_left_out_of_training_by_the_run_itself(case):
    rows = items(PATIENTS[:60], SUMMARIES[:20])
    assert coverage.leaks(case([*rows, Item("copy", rows[3].prompt)])).decision is GO


CLAUDE = "claude:claude-haiku-4-5"


@pytest.mark.parametrize(
    ("added", "changed", "expected"),
    [
        ("Mail jo@example.org.", {}, GO),
        ("Mail jo@example.org.", {"teacher": CLAUDE}, NO_GO),
        ("Mail jo@example.org.", {"teacher": CLAUDE, "redact": True}, UNSURE),
        ("Mail jo@example.org.", {"teacher": CLAUDE, "allow_cloud": True}, GO),
        ("", {"teacher": CLAUDE}, UNSURE),
        ("", {"teacher": CLAUDE, "allow_cloud": True, "given": {"data_residency": "must_stay"}}, NO_GO),
        ("", {"teacher": "ollama:qwen3:8b"}, GO),
        ("", {"teacher": "ollama:gpt-oss:120b-cloud"}, UNSURE),
    ],
)
def test_sensitivity(case, monkeypatch, added, changed, expected):
    monkeypatch.delenv("OLLAMA_HOST", raising=False)
    found = check(case(items([f"{PATIENTS[0]} {added}", *PATIENTS[1:30]], SUMMARIES[:10]), **changed), "sensitivity")
    assert found.decision is expected
    assert ("1 e-mail address" in found.what) == bool(added)


GATEWAY, HERE = "https://me:secret@gateway.example/v1", "http://127.0.0.1:8080/v1"
ENDPOINTS = {
    "claude:claude-haiku-4-5": "ANTHROPIC_BASE_URL",
    "vertex:gemini-3.5-flash": "GOOGLE_VERTEX_BASE_URL",
    "bedrock:amazon.nova-lite-v1:0": "AWS_ENDPOINT_URL",
    "langchain:openai:gpt-4.1": "OPENAI_BASE_URL",
    "langchain:anthropic:claude-haiku-4-5": "ANTHROPIC_BASE_URL",
}


@pytest.mark.parametrize(("spec", "variable"), ENDPOINTS.items())
def test_a_gateway_is_not_the_provider(case, monkeypatch, spec, variable):
    """Neither the provider's terms nor its price are quoted of it, and prompts that go there are said to."""
    at_the_provider = report(case(teacher=spec), STAGES)
    monkeypatch.setenv(variable, GATEWAY)
    through = report(case(teacher=spec), STAGES)
    before, after = (next(m for m in r.measured if m.dimension == "licence") for r in (at_the_provider, through))
    assert ", read 20" in before.source and after.source == "no note in terms.yml"
    assert "nobody has read what gateway.example" in after.what
    payback, sensitivity = (next(c for c in through.checks if c.name == name) for name in ("payback", "sensitivity"))
    assert payback.what == "no price of this teacher is known" and "secret" not in through.model_dump_json()
    assert sensitivity.decision is UNSURE and "they would go to gateway.example" in sensitivity.what


@pytest.mark.parametrize(("spec", "variable"), ENDPOINTS.items())
def test_where_prompts_go_is_what_a_run_says(case, monkeypatch, spec, variable):
    slug, _, model = spec.partition(":")
    kind = {"claude": ClaudeTeacher, "vertex": VertexTeacher, "bedrock": BedrockTeacher, "langchain": LangChainTeacher}
    for place in ("", GATEWAY, HERE):
        monkeypatch.setenv(variable, place)
        asked, unopened = kind[slug](model), destination_of(spec)
        assert unopened.leaves_machine == leaves_machine(asked)
        assert asked.identity == unopened.identity(spec)
        [said, *_] = notes(asked)
        status = str(terms.find(slug, model, unopened.endpoint).status) if place != GATEWAY else "nobody has read"
        assert said.startswith(f"terms    {status}")


def test_a_server_on_this_machine_is_no_cloud(case, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", HERE)
    found = report(case(teacher="langchain:openai:qwen3"), STAGES)
    sensitivity = next(c for c in found.checks if c.name == "sensitivity")
    assert sensitivity.decision is GO and "the teacher is on this machine" in sensitivity.what
    licence = next(m for m in found.measured if m.dimension == "licence")
    assert licence.what.startswith("model-dependent: The licence of the model decides")


def test_an_ollama_server_elsewhere_is_elsewhere(monkeypatch):
    monkeypatch.setenv("OLLAMA_HOST", "http://10.0.0.7:11434")
    assert destination_of("ollama:qwen3:8b").leaves_machine


PAID = {"teacher": CLAUDE, "price": prices.given(1.0, 5.0), "training_usd": 6.0, "serving_usd": 100.0}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"monthly_requests": 1_000_000}, GO),
        ({"monthly_requests": 1_000}, NO_GO),
        ({}, UNSURE),
        ({"monthly_requests": 1_000_000, "serving_usd": None}, UNSURE),
        ({"monthly_requests": 1_000_000, "training_usd": None}, UNSURE),
        ({"monthly_requests": 1, "training_usd": 6.0, "serving_usd": None}, NO_GO),
        ({"monthly_requests": 1_000_000, "price": None, "teacher": "local"}, UNSURE),
        ({"monthly_requests": 1_000_000, "price": None, "teacher": "langchain:mistralai:large"}, UNSURE),
    ],
)
def test_payback(case, changed, expected):
    assert payback.payback(case(**{**PAID, **changed})).decision is expected


def test_payback_moves_the_need_for_another_way_to_serve(case):
    assert decided(case(**PAID, monthly_requests=1_000_000), "serving_need") is GO
    assert decided(case(**PAID, monthly_requests=1_000), "serving_need") is UNSURE  # it may still be too slow


def test_payback_is_its_formula(case):
    """20 requests (18 and 2 held out) of 400 characters in and 40 out, by hand."""
    rows = items(["x" * 400] * 20, ["y" * 40, "z" * 40])
    mine = case(rows, **PAID, monthly_requests=10_000_000)
    fewest, most = (
        (20 * each + 6) / (10_000_000 * each - 100) for each in ((120 * 1 + 12 * 5) / 1e6, (100 * 1 + 10 * 5) / 1e6)
    )
    found = payback.payback(mine).estimate
    assert (found.low, found.high) == pytest.approx((fewest, most))


@pytest.mark.parametrize(
    ("requests", "told"),
    [(10_000_000, "months;"), (600_000, "months, or never;"), (1_000, ": serving costs more than it saves, so never;")],
)
def test_payback_says_whether_there_is_a_month(case, requests, told):
    """One answer costs 150 to 180 millionths of a dollar, serving 100 dollars a month."""
    rows = items(["x" * 400] * 20, ["y" * 40, "z" * 40])
    what = payback.payback(case(rows, **PAID, monthly_requests=requests)).what
    assert told in what
    assert what.endswith("; 12 months are accepted")


def test_a_location_whose_price_is_higher_is_counted_as_the_plan_counts_it(case, monkeypatch):
    mine = case(items(["x" * 400] * 20, ["y" * 40, "z" * 40]), teacher="vertex:gemini-3.5-flash")
    monkeypatch.delenv("GOOGLE_CLOUD_LOCATION", raising=False)
    assert "one answer $0.000240 to $0.000288," in payback.payback(mine).what
    monkeypatch.setenv("GOOGLE_CLOUD_LOCATION", "europe-west4")
    found = payback.payback(mine)
    assert "one answer $0.000264 to $0.000317," in found.what
    assert found.source.endswith("The price of europe-west4 is counted.")


def test_the_temperature_is_the_one_that_calibrates_the_teacher(case, tiny, tmp_path):
    """A teacher whose logits are so many times too large is calibrated at so many times the temperature."""
    import torch

    from implementations.checks.temperature import temperature
    from implementations.teachers.local import load
    from implementations.transfer.trainer import save

    def louder(factor: float) -> Check:
        model, tokenizer = load(tiny, "cpu", "float32")
        with torch.no_grad():
            model.model.norm.weight *= factor
        folder = tmp_path / f"times-{factor:g}"
        save(model, tokenizer, folder)
        given = {"pattern": "response-based", "instruction": ClinicalSummary.instruction, "device": "cpu"}
        return temperature(case(**given, teacher=f"local:{folder}"), STAGES)

    own = louder(1).estimate.value
    calm, loud = louder(1 / own), louder(4 / own)
    assert calm.decision is GO and calm.estimate.value == 1 and calm.mend == ""
    assert loud.decision is NO_GO and loud.estimate.value in (3, 4, 6)
    assert loud.estimate.n == calm.estimate.n > 100


def test_likelihood_entropy_and_calibration_of_a_sweep_are_those_of_the_models_own_logits(tiny):
    import torch

    from implementations.checks.temperature import TEMPERATURES, sweep
    from implementations.teachers.local import load
    from implementations.transfer.chat import row

    model, tokenizer = load(tiny, "cpu", "float32")
    rows = [row(tokenizer, "", note.prompt, note.reference) for note in NOTES[:3]]
    found = sweep(model, tokenizer.pad_token_id, rows, lambda done: None)
    at = TEMPERATURES.index(2.0)
    with torch.no_grad():
        logits = model(torch.tensor([rows[1].input_ids])).logits[0] / 2.0
    n = rows[1].completion
    said = torch.distributions.Categorical(logits=logits[-n - 1 : -1])
    assert found.nll[1, at] == pytest.approx(
        -said.log_prob(torch.tensor(rows[1].input_ids[-n:])).sum().item(), rel=1e-4
    )
    assert found.entropy[1, at] == pytest.approx(said.entropy().sum().item(), rel=1e-4)
    assert (found.ece >= 0).all() and (found.ece <= 1).all()


@pytest.mark.parametrize(
    ("pattern", "changed", "there"),
    [
        ("response-based", {}, True),
        ("response-based", {"teacher": CLAUDE}, False),
        ("response-based", {"teacher": CLAUDE, "assistant": Path("models/open")}, True),
        ("sequence-level", {}, False),
        ("tiered-serving", {}, False),
    ],
)
def test_the_temperature_is_asked_about_where_probabilities_are_learnt(case, pattern, changed, there):
    found = [c for c in report(case(pattern=pattern, **changed), STAGES).checks if c.name == "temperature"]
    assert [c.decision for c in found] == ([UNSURE] if there else [])


def test_of_a_classifier_no_temperature_of_text_is_measured(case):
    [found] = [
        c
        for c in report(case(pattern="response-based", teacher="local:encoder", measure=True), STAGES).checks
        if c.name == "temperature"
    ]
    assert found.decision is UNSURE and "the teacher is a classifier" in found.what


# --------------------------------------------------------------------------------------------- weighing and ranking


def test_the_pattern_that_fits_better_comes_first(case):
    local, claude = (report(case(pattern="response-based", teacher=t), STAGES).fits for t in ("local", CLAUDE))
    assert {fit.pattern for fit in local} == set(criteria.patterns())
    order = [fit.pattern for fit in claude]
    assert order.index("sequence-level") < order.index("response-based")
    last = next(fit for fit in claude if fit.pattern == "response-based")
    assert last.speaks_against == ["teacher access (text_only)"]
    assert not any(fit.pattern == "response-based" and fit.speaks_against for fit in local)
    for fits in (local, claude):
        assert [fit.place for fit in fits] == sorted(fit.place for fit in fits) and fits[0].place == 1


def test_that_no_pattern_fits_is_said(case):
    given = {"task_shape": "simple", "gold_labels": "plentiful", "teacher_access": "none"}
    found = report(case(given=given), STAGES)
    assert all(fit.speaks_against for fit in found.fits)
    console = Console(file=io.StringIO(), width=100, emoji=False, markup=False, highlight=False, soft_wrap=True)
    show(found, criteria.dimensions(), console)
    assert "No pattern fits" in console.file.getvalue() and "Which pattern" not in console.file.getvalue()


def test_a_reason_to_use_that_does_not_hold_is_no_reason_against(case):
    """Tiered serving suits a teacher whose answers may not train; one whose answers may is not worse for it."""
    assert decided(case(pattern="tiered-serving", given={"licence": "permitted"}), "licence") is UNSURE
    assert decided(case(pattern="tiered-serving", given={"licence": "forbidden"}), "licence") is GO


def test_what_nobody_knows_speaks_neither_for_nor_against(case):
    """Sequence-level's page does not name the licence `unknown`; production-logs' page does."""
    given = {"licence": "unknown"}
    found = report(case(pattern="sequence-level", given=given), STAGES)
    [measured] = [m for m in found.measured if m.dimension == "licence"]
    weighed = {c.use: c for c in found.criteria if c.dimension == "licence"}
    assert weighed[False].values == ["forbidden"] and weighed[False].decision is UNSURE
    assert "find it out" in measured.mend
    assert decided(case(pattern="sequence-level", given=given), "licence") is UNSURE
    assert decided(case(pattern="sequence-level", given={"licence": "restricted"}), "licence") is UNSURE
    assert decided(case(pattern="sequence-level", given={"licence": "permitted"}), "licence") is GO
    assert decided(case(pattern="production-logs", given=given), "licence") is NO_GO
    [fit] = [fit for fit in found.fits if fit.pattern == "sequence-level"]
    assert "licence of the answers (unknown)" in fit.open


def test_one_value_in_doubt_leaves_the_decision_in_doubt(case):
    measured = {m.dimension: m for m in report(case(teacher=CLAUDE), STAGES).measured}
    weighed = weigh(criteria.patterns()["sequence-level"], measured)
    [licence] = [w for w in weighed if w.dimension == "licence" and not w.use]
    assert measured["licence"].values == ["restricted", "forbidden"] and licence.decision is UNSURE


@pytest.mark.parametrize(
    ("hits", "of", "low", "high"), [(0, 10, 0, 0.2775), (5, 10, 0.2366, 0.7634), (10, 10, 0.7225, 1)]
)
def test_wilsons_interval(hits, of, low, high):
    found = proportion(hits, of)
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-4)


# ------------------------------------------------------------------------------------------------- the command


def test_the_command_prints_json_of_its_schema_and_fails_on_a_no_go(case, monkeypatch, capsys):
    path = case().prompts
    assert distill(monkeypatch, "check", "sequence-level", "--prompts", path, "--json") == 0
    found = Report.model_validate_json(capsys.readouterr().out)
    assert found.decision is UNSURE and found.prompts_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    given = ("--given", "licence=forbidden", "--given", "serving_need=latency")
    assert distill(monkeypatch, "check", "sequence-level", "--prompts", path, *given, "--json") == 1
    found = Report.model_validate_json(capsys.readouterr().out)
    assert found.decision is NO_GO
    assert {m.dimension for m in found.measured if m.source == "--given"} == {"licence", "serving_need"}


@pytest.mark.parametrize("width", [40, 80, 100, 160])
def test_the_terminal_shows_every_criterion_within_its_width(case, width):
    found = report(case(pattern="response-based", teacher=CLAUDE), STAGES)
    console = Console(file=io.StringIO(), width=width, emoji=False, markup=False, highlight=False, soft_wrap=True)
    show(found, criteria.dimensions(), console)
    text = console.file.getvalue()
    lines = [line for line in text.splitlines() if "://" not in line]
    assert max(map(len, lines)) <= width
    words = " ".join(text.replace("│", " ").split())
    assert sum(words.count(f"{how} when:") for how in ("use", "not")) >= len(found.criteria) * (width >= 80)
    assert "no-go" in words and "Which pattern fits better" in words


@pytest.mark.parametrize(
    ("lines", "arguments", "message"),
    [
        ("", (), "no rows in it; give one prompt a line"),
        ("\n\n", (), "no rows in it"),
        ("not json\n", (), r"notes\.jsonl:1:1: not JSON"),
        (None, ("--given", "licence=maybe"), "--given licence=maybe: choose one of: permitted, restricted"),
        (None, ("--given", "licence=permited"), "--given licence=permited: did you mean `permitted`"),
        (
            None,
            ("--given", "license=permitted"),
            "--given license=permitted: no such dimension; did you mean `licence`",
        ),
        (None, ("--given", "mood=good", "--given", "licence=maybe"), "--given mood=good: .*\n.*--given licence=maybe"),
        (None, ("--given", "licence"), "--given licence: write it as DIMENSION=VALUE"),
        (None, ("--teacher", "oracle:x"), "--teacher oracle:x: no such platform here; give one of: local:PATH"),
        (None, ("--teacher", "ollma:x"), "--teacher ollma:x: no such platform here; did you mean `ollama`"),
        (None, ("--teacher", "claude"), "--teacher claude: which model"),
        (None, ("--price-input", "1"), "go together"),
        (None, ("--gpu-hours", "1"), "go together"),
        (None, ("--run", "nowhere"), "--run nowhere: no record.json"),
        (None, ("--production", "nowhere"), "--production nowhere: "),
        (None, ("--production", "/dev/null"), "--production /dev/null: no prompts in it"),
    ],
)
def test_wrong_input_is_said_in_one_message(case, monkeypatch, capsys, lines, arguments, message):
    path = case().prompts
    if lines is not None:
        path.write_text(lines)
    assert distill(monkeypatch, "check", "sequence-level", "--prompts", path, *arguments) == 2
    assert re.search(message, capsys.readouterr().err, re.S)


def test_an_unknown_pattern_is_answered_with_the_nearest_or_with_those_there_are(case, monkeypatch, capsys):
    assert distill(monkeypatch, "check", "osmosis", "--prompts", case().prompts) == 2
    assert "choose one of: feature-based, multi-teacher" in capsys.readouterr().err
    assert distill(monkeypatch, "check", "multi-techer", "--prompts", case().prompts) == 2
    assert "no pattern 'multi-techer'; did you mean `multi-teacher`?" in capsys.readouterr().err


@pytest.mark.parametrize(
    "rows",
    [
        [Item("a", "x")],
        [Item("a", "x", "y")],
        [Item("a", "x"), Item("b", "x")],
        [Item(f"row-{n}", "the same", "the same") for n in range(30)],
        [Item(f"row-{n}", "🩺" * 3, "é") for n in range(9)],
    ],
)
@pytest.mark.parametrize("pattern", ["sequence-level", "tiered-serving"])
def test_too_little_is_unsure_and_no_crash(case, tmp_path, rows, pattern):
    path = tmp_path / "production.txt"
    path.write_text("x\n")
    found = report(case(rows, pattern=pattern, production=path, teacher=CLAUDE, monthly_requests=10), STAGES)
    assert next(c for c in found.checks if c.name == "coverage").decision is UNSURE
    Report.model_validate_json(found.model_dump_json())


def test_it_starts_without_torch_and_opens_no_platform(case):
    words = ["distill", "check", "response-based", "--teacher", CLAUDE, "--prompts", str(case().prompts)]
    script = (
        f"import sys\nfrom implementations import cli\nsys.argv = {words}\n"
        "try:\n    cli.main()\nexcept SystemExit:\n    pass\n"
        "assert not (heavy := {'torch', 'transformers', 'anthropic', 'builder', 'scipy'} & set(sys.modules)), heavy"
    )
    subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
