"""Logs of production: what every platform writes is read, what cannot be used is counted, what repeats goes once."""

from __future__ import annotations

import gzip
import json
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from commands import distill

from implementations import record
from implementations.errors import InputError
from implementations.logs import anthropic, bedrock, openai, vertex
from implementations.logs.drift import drift
from implementations.logs.logged import Left, Logged
from implementations.logs.read import FORMATS, Tally, read
from implementations.logs.select import select, usable, without_repeats
from implementations.logs.serve import write_log
from implementations.record import ArmKind
from implementations.tasks.clinical_production import ClinicalProduction
from implementations.tasks.clinical_summary import ClinicalSummary
from implementations.tasks.task import Sizes
from implementations.teachers.teacher import Answer, Kind

KINDS = (Kind.COMPLETE, Kind.TRUNCATED, Kind.EMPTY, Kind.REFUSED, Kind.FAILED)
TEXTS = {Kind.COMPLETE: "Old man, ill.", Kind.TRUNCATED: "Old man, i", Kind.REFUSED: "I cannot."}


def call(kind: Kind = Kind.COMPLETE, **fields) -> Logged:
    made = Logged(
        id="request-1", when=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), model="some-model", instruction="Summarize.",
        prompt="A man of 80 coughs.", answer=TEXTS.get(kind, ""), kind=kind, prompt_tokens=9, completion_tokens=4,
    )  # fmt: skip
    made = replace(made, prompt_tokens=0, completion_tokens=0) if kind is Kind.FAILED else made
    return replace(made, **fields)


def write(path: Path, rows: list) -> Path:
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
    return path


# ------------------------------------------------------------------------------------------------ formats


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", FORMATS)
def test_what_is_written_is_read(form, kind, tmp_path):
    for made in (call(kind), call(kind, instruction="")):
        tally = Tally()
        [found] = read([write(tmp_path / "log", [FORMATS[form].write(made)])], "auto", tally)
        assert replace(found, id="", prompt_tokens=0) == replace(made, id="", prompt_tokens=0)
        assert tally.formats == {form} and tally.records == 1 and not tally.left
        if kind is Kind.COMPLETE:
            assert found == made


def test_bodies_are_those_of_the_sdks():
    """What the writers call a field is what the provider's own package calls it."""
    import botocore.session
    from anthropic.types import Message
    from google.genai.types import Content, GenerateContentResponse
    from openai.types.chat import ChatCompletion

    for kind in KINDS[:-1]:
        made = call(kind)
        message = Message.model_validate(anthropic.write(made)["response"], strict=False)
        assert "".join(block.text for block in message.content) == made.answer and message.usage.output_tokens == 4
        completion = ChatCompletion.model_validate(openai.write(made)["response"])
        assert completion.choices[0].message.content == made.answer and completion.usage.prompt_tokens == 9
        row = vertex.write(made)
        response = GenerateContentResponse.model_validate(row["full_response"])
        assert (response.text or "") == made.answer and response.usage_metadata.candidates_token_count == 4
        assert Content.model_validate(row["full_request"]["contents"][0]).parts[0].text == made.prompt
        assert response.candidates[0].finish_reason.value == vertex.ENDS[kind]
    operation = botocore.session.get_session().get_service_model("bedrock-runtime").operation_model("Converse")
    row = bedrock.write(call())
    assert set(row["input"]["inputBodyJson"]) <= set(operation.input_shape.members)
    assert set(row["output"]["outputBodyJson"]) <= set(operation.output_shape.members)
    ends = operation.output_shape.members["stopReason"].enum
    assert {end for kind, end in bedrock.ENDS.items()} <= set(ends)


def test_a_run_that_langchain_traced_is_read(tmp_path):
    """The tracer's own record of a real call of a chat model, and that of one that failed."""
    from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
    from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
    from langchain_core.tracers.langchain import LangChainTracer

    runs = []

    class Kept(LangChainTracer):
        def _on_llm_start(self, run):
            pass

        def _on_llm_end(self, run):
            runs.append(run)

        _on_llm_error = _on_llm_end

    told = {"finish_reason": "stop", "model_name": "some-model"}
    used = {"input_tokens": 9, "output_tokens": 4, "total_tokens": 13}

    def answers():
        yield AIMessage(TEXTS[Kind.COMPLETE], response_metadata=told, usage_metadata=used)
        raise RuntimeError("overloaded")

    model, asked = GenericFakeChatModel(messages=answers()), [SystemMessage("Summarize."), HumanMessage(call().prompt)]
    model.invoke(asked, config={"callbacks": [Kept(client=object())]})
    with pytest.raises(RuntimeError):
        model.invoke(asked, config={"callbacks": [Kept(client=object())]})
    fields = ("id", "run_type", "start_time", "inputs", "outputs", "error", "extra")
    rows = [{name: getattr(run, name) for name in fields} for run in runs]
    found, failed = read([write(tmp_path / "runs.jsonl", [json.dumps(row, default=str) for row in rows])])
    assert replace(found, id="", when=None) == replace(call(), id="", when=None)
    assert failed.kind is Kind.FAILED and failed.prompt == call().prompt
    export = [
        row | {name: json.dumps(row[name], default=str) for name in ("inputs", "outputs", "extra")} for row in rows
    ]
    arrow = pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
    from pyarrow.parquet import write_table

    write_table(arrow.Table.from_pylist([row | {"id": str(row["id"])} for row in export]), tmp_path / "runs.parquet")
    assert list(read([tmp_path / "runs.parquet"])) == [found, failed]


def test_batches_are_joined_whichever_file_comes_first(tmp_path):
    made = [call(id=f"row-{i}", when=None, prompt=f"Note {i}.") for i in range(3)]
    pairs = [(anthropic.write(each)["request"], anthropic.message(each)) for each in made]
    asked = [{"custom_id": f"row-{i}", "params": request} for i, (request, _) in enumerate(pairs)]
    results = [
        {"custom_id": f"row-{i}", "result": {"type": "succeeded", "message": message}}
        for i, (_, message) in enumerate(pairs)
    ]
    results[2] = {"custom_id": "row-2", "result": {"type": "errored", "error": {"type": "invalid_request"}}}
    a, b = write(tmp_path / "a.jsonl", [*asked, asked[0] | {"custom_id": "lost"}]), write(tmp_path / "b.jsonl", results)
    for order in ([a, b], [b, a]):
        tally = Tally()
        found = list(read(order, "auto", tally))
        assert [c.answer for c in found] == [made[0].answer, made[1].answer, ""] and found[2].kind is Kind.FAILED
        assert [c.prompt for c in found] == [c.prompt for c in made]
        assert tally.left == {Left.NO_ANSWER: 1} and tally.records == 4
    body = openai.write(call())
    asked = {"custom_id": "x", "method": "POST", "url": "/v1/chat/completions", "body": body["request"]}
    result = {"id": "b", "custom_id": "x", "response": {"status_code": 200, "body": body["response"]}, "error": None}
    [found] = read([write(tmp_path / "c.jsonl", [asked]), write(tmp_path / "d.jsonl", [result])])
    assert replace(found, id="") == replace(call(), id="")


def test_batches_with_the_same_ids_are_joined_in_turn_or_not_at_all(tmp_path):
    """An id is unique within one batch alone. Of the first batch, one request has no answer."""
    files = {}
    for batch in "ab":
        calls = [call(id=f"row-{i}", when=None, prompt=f"Note {i}, {batch}.", answer=f"{i}{batch}") for i in range(3)]
        asked = [{"custom_id": c.id, "params": anthropic.write(c)["request"]} for c in calls]
        came = [
            {"custom_id": c.id, "result": {"type": "succeeded", "message": anthropic.message(c)}}
            for c in (calls if batch == "b" else calls[:2])
        ]
        files |= {f"in {batch}": write(tmp_path / f"in-{batch}.jsonl", asked)}
        files |= {f"out {batch}": write(tmp_path / f"out-{batch}.jsonl", came)}
    right = {("Note 0, a.", "0a"), ("Note 1, a.", "1a"), *((f"Note {i}, b.", f"{i}b") for i in range(3))}
    for order in (["in a", "out a", "in b", "out b"], ["out b", "in b", "in a", "out a"]):
        tally = Tally()
        assert {(c.prompt, c.answer) for c in read([files[name] for name in order], "auto", tally)} == right
        assert tally.left == {Left.NO_ANSWER: 1} and tally.records == 6
    for order in ([tmp_path], [files[name] for name in ("out a", "out b", "in a", "in b")]):
        with pytest.raises(
            InputError, match=r"-b\.jsonl:1: its custom_id row-0 is also that of \S+-a\.jsonl:1, .*turn"
        ):
            list(read(order))


def test_what_may_be_of_two_batches_is_joined_with_neither(tmp_path):
    """Answers come first. One request of the first batch has none, and the second has an answer with its id."""

    def lines(batch: str, ids: str) -> tuple[list, list]:
        calls = [call(id=i, when=None, prompt=f"Note {i}, {batch}.", answer=f"{i}{batch}") for i in ids]
        asked = [{"custom_id": c.id, "params": anthropic.write(c)["request"]} for c in calls]
        return asked, [
            {"custom_id": c.id, "result": {"type": "succeeded", "message": anthropic.message(c)}} for c in calls
        ]

    def joined(*files: list) -> tuple[str, dict]:
        tally, paths = Tally(), [write(tmp_path / f"{n}.jsonl", rows) for n, rows in enumerate(files)]
        found = [(c.prompt, c.answer) for c in read(paths, "auto", tally)]
        assert all(answer in prompt.replace("Note ", "").replace(", ", "") for prompt, answer in found)
        assert tally.records == len(found) + tally.left.total()
        return " ".join(sorted(answer for _, answer in found)), dict(tally.left)

    (in_a, out_a), (in_b, out_b) = lines("a", "012"), lines("b", "012")
    assert joined(out_a[:2], in_a, out_b, in_b) == ("0a 0b 1a 1b 2b", {Left.NO_ANSWER: 1})
    assert joined(out_a, in_a[:2], in_b, out_b) == ("0a 0b 1a 1b 2b", {Left.NO_REQUEST: 1})
    assert joined(in_a[:2], out_a, in_b, out_b) == ("0a 0b 1a 1b 2b", {Left.NO_REQUEST: 1})
    assert joined([*in_a, *out_a[:2], *in_b, *out_b]) == ("0a 0b 1a 1b 2b", {Left.NO_ANSWER: 1})  # in one file
    assert joined([*in_a, *out_a], out_a[1:]) == ("0a 1a 2a", {Left.NO_REQUEST: 2})  # given twice
    # An answer alone, which may be the first batch's late one or the second's early one.
    assert joined(out_a[:2], in_a, out_b[2:], in_b, out_b[:2]) == (
        "0a 0b 1a 1b",
        {Left.NO_REQUEST: 1, Left.NO_ANSWER: 2},
    )
    assert joined(out_a[:2], in_a, out_a[2:]) == ("0a 1a 2a", {})  # of one batch, in two files
    with pytest.raises(InputError, match=r"2\.jsonl:1: its custom_id 0 is also that of \S+0\.jsonl:1, .* in turn"):
        joined(out_a, in_a, out_b)


def test_stored_completions_and_streams(tmp_path):
    written = openai.write(call())
    stored = written["response"] | {"messages": [m | {"id": "m"} for m in written["request"]["messages"]]}
    [found] = read([write(tmp_path / "stored.jsonl", [stored])])
    assert found == call()
    start = {"type": "message_start", "message": {"id": "m", "model": "some-model", "usage": {"input_tokens": 9}}}
    texts = [{"type": "content_block_delta", "delta": {"type": "text_delta", "text": t}} for t in ("Old man", ", ill.")]
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 4}}
    row = bedrock.write(call())
    row["input"]["inputBodyJson"] = {"anthropic_version": "bedrock-2023-05-31", **anthropic.write(call())["request"]}
    row["output"]["outputBodyJson"] = [start, *texts, end]
    broken = json.loads(json.dumps(row))
    del broken["output"]["outputBodyJson"][-1]
    tally = Tally()
    [found] = read([write(tmp_path / "stream.jsonl", [row, broken])], "auto", tally)
    assert found == call() and tally.left == {Left.PARTIAL: 1}
    row = vertex.write(call())
    whole = row["full_response"]["candidates"][0]
    parts = [{"candidates": [{"content": {"parts": [{"text": t}]}}]} for t in ("Old man", ", ill.")]
    parts[-1]["candidates"][0]["finishReason"] = whole["finishReason"]
    parts[-1]["usageMetadata"] = row["full_response"]["usageMetadata"]
    row |= {"full_response": json.dumps(parts), "full_request": json.dumps(row["full_request"])}
    row["logging_time"] = "2026-01-02 03:04:05 UTC"
    old = {name: row[name] for name in ("logging_time", "request_id")} | {"endpoint": "publishers/google/some-model"}
    old |= {"request_payload": [row["full_request"]], "response_payload": list(map(json.dumps, parts))}
    found, same = read([write(tmp_path / "rows.jsonl", [row, old])])
    assert found == call() and same == replace(call(), model="publishers/google/some-model")


def odd(form: str) -> dict[Left, dict]:
    """Calls that are no question with an answer in text, as each format has them."""
    row, two, tools, image = (json.loads(json.dumps(FORMATS[form].write(call()))) for _ in range(4))
    match form:
        case "openai" | "anthropic":
            two["request"]["messages"] *= 2
            image["request"]["messages"][-1]["content"] = [{"type": "image", "source": {}}]
            if form == "openai":
                tools["response"]["choices"][0]["message"]["tool_calls"] = [{"id": "t"}]
            else:
                tools["response"]["content"] = [{"type": "tool_use", "id": "t", "name": "n", "input": {}}]
        case "bedrock":
            two["input"]["inputBodyJson"]["messages"] *= 2
            image["input"]["inputBodyJson"]["messages"][0]["content"] = [{"image": {"format": "png"}}]
            tools["output"]["outputBodyJson"]["output"]["message"]["content"] = [{"toolUse": {}}]
        case "vertex":
            two["full_request"]["contents"] *= 2
            image["full_request"]["contents"][0]["parts"] = [{"inlineData": {}}]
            tools["full_response"]["candidates"][0]["content"]["parts"] = [{"functionCall": {}}]
        case "langsmith":
            two["inputs"]["messages"][0] *= 2
            image["inputs"]["messages"][0][-1]["kwargs"]["content"] = [{"type": "image_url"}]
            tools["outputs"]["generations"][0][0]["message"]["kwargs"]["tool_calls"] = [{"id": "t"}]
    return {Left.SEVERAL_TURNS: two, Left.TOOL_USE: tools, Left.NOT_TEXT: image} | (
        {Left.NO_CALL: row | {"run_type": "chain"}} if form == "langsmith" else {}
    )


@pytest.mark.parametrize("form", FORMATS)
def test_what_cannot_be_used_is_counted_with_its_place(form, tmp_path, monkeypatch):
    monkeypatch.setattr("implementations.logs.read.LONGEST", 4096)
    good = FORMATS[form].write(call())
    long = FORMATS[form].write(call(prompt="x" * 20_000))
    strange = odd(form)
    rows = [good, "{broken", "\x80", "[]", "", long, *strange.values(), {"what": "else"}, good]
    (path := tmp_path / "log.jsonl").write_bytes(
        b"\n".join((row if isinstance(row, str) else json.dumps(row)).encode("latin-1") for row in rows)
    )
    tally = Tally()
    found = list(read([path], form, tally))
    assert found == [call()] * 2
    expected = {Left.BROKEN: 2, Left.UNKNOWN: 2, Left.TOO_LONG: 1} | dict.fromkeys(strange, 1)
    assert tally.left == expected and tally.records == 2 + sum(expected.values())
    assert tally.first[Left.BROKEN] == f"{path}:2" and tally.first[Left.TOO_LONG] == f"{path}:6"


def test_compressed_files_and_folders(tmp_path):
    (folder := tmp_path / "AWSLogs" / "2026" / "01").mkdir(parents=True)
    for day in (1, 2):
        with gzip.open(folder / f"0{day}.json.gz", "wt") as file:
            file.write(json.dumps(bedrock.write(call(id=f"day-{day}"))) + "\n")
    (folder / "amazon-bedrock-logs-permission-check").write_text("")
    assert [found.id for found in read([tmp_path / "AWSLogs"])] == ["day-1", "day-2"]
    whole = (folder / "01.json.gz").read_bytes()
    (folder / "01.json.gz").write_bytes(whole[:-12])
    with pytest.raises(InputError, match=r"01\.json\.gz: .*; copy it again, or leave it out"):
        list(read([folder]))


def test_a_file_in_which_nothing_is_recognized_is_an_error(tmp_path):
    path = write(tmp_path / "other.jsonl", ["nonsense", {"prompt": "a", "completion": "b"}])
    message = (
        f"--logs {path}: no record of a known format ({path}:1: not JSON; {path}:2: not of this format); give JSON"
    )
    with pytest.raises(InputError) as error:
        list(read([path]))
    assert str(error.value).startswith(message)
    with pytest.raises(InputError, match="no record of the format bedrock"):
        list(read([write(tmp_path / "openai.jsonl", [openai.write(call())])], "bedrock"))
    with pytest.raises(InputError, match=r"s3:/bucket/logs: no such file; copy it here first"):
        list(read([Path("s3://bucket/logs")]))


# -------------------------------------------------------------------------------------------- selection


def test_one_model_one_instruction_whole_answers_in_order():
    base = [call(prompt=f"Note {i}.", when=call().when - timedelta(hours=i)) for i in range(3)]
    others = [call(model="other"), call(instruction="Else."), *map(call, KINDS[1:])]
    tally = Tally()
    found = usable([*base, *others], "some-mod", tally)
    assert [c.prompt for c in found] == ["Note 2.", "Note 1.", "Note 0."]
    whys = (Left.OTHER_MODEL, Left.OTHER_INSTRUCTION, Left.TRUNCATED, Left.EMPTY, Left.REFUSED, Left.ERROR)
    assert tally.left == dict.fromkeys(whys, 1)
    assert [c.instruction for c in usable([*base, *others], "some-model", Tally(), "Else.")] == ["Else."]
    assert len(usable([*base, call(Kind.TRUNCATED)], "some-model", Tally(), cut_off=True)) == 4
    with pytest.raises(InputError, match="give --teacher PLATFORM:MODEL with one of the log's models: 'some-model'"):
        usable(base, "gone", Tally())
    undated = [call(prompt=f"Note {i}.", when=None) for i in range(3)]
    assert [c.prompt for c in usable(undated, "some-model", Tally())] == ["Note 0.", "Note 1.", "Note 2."]


def test_repeats_go_once_and_held_out_prompts_never():
    notes = ClinicalSummary().splits(Sizes(0, 0, 300, 0, 0), seed=3).transfer
    texts = [note.prompt for note in notes]
    again = [f"{text[:-3]}77." for text in texts[:20]]  # another number at the end
    calls = [call(prompt=text) for text in [*texts, *texts[:10], *again[10:]]]
    tally = Tally()
    kept = without_repeats(calls, [texts[50].upper(), again[19]], tally)
    assert tally.left[Left.DUPLICATE] == 12 and sum(tally.left.values()) == len(calls) - len(kept)
    prompts = [c.prompt for c in kept]
    assert texts[50] not in prompts and texts[19] not in prompts and again[19] not in prompts
    assert prompts[-9:] == again[10:19] and prompts[-19:-9] == texts[:10]  # the newest of those alike, in their order
    assert not set(texts[10:19]) & set(prompts)
    untouched = set(texts[20:]) - {texts[50]}
    assert len(untouched & set(prompts)) >= len(untouched) - 3  # notes of one template may be that alike
    template = "Read the guideline below and follow it to the letter. " * 20
    wrapped = [replace(c, prompt=f"{template}{c.prompt} Now answer.") for c in calls]
    assert len(without_repeats(wrapped, [], Tally())) >= len(kept)


def test_the_cut_is_where_the_held_out_prompts_came_last():
    hour = timedelta(hours=1)
    prompts = ["early held out", "a", "b", "late held out", "c", "early held out", "d"]
    calls = [call(prompt=p, answer=f"{i}", when=call().when + i * hour) for i, p in enumerate(prompts)]
    selected = select(calls, ["late held out", "early held out"], Tally())
    assert [c.prompt for c in selected.pairs] == ["a", "b"] and selected.measured.later == 4
    assert [c.answer for c in selected.answers] == ["3", "5"]
    assert selected.measured.learnt_from == 2 and selected.measured.left_out == {Left.DUPLICATE: 1}
    with pytest.raises(InputError, match="no call is left to learn from"):
        select(calls[:1], ["early held out"], Tally())


def test_drift_is_told_from_chance():
    rng = random.Random(0)
    notes = [note.prompt for note in ClinicalSummary().splits(Sizes(0, 0, 240, 0, 0), seed=0).transfer]
    rng.shuffle(notes)
    still = drift(notes[:160], notes[160:])
    assert not still.found and 0 < still.chance_low < still.distance < still.chance_high < 1
    production = ClinicalProduction().splits(Sizes(0, 0, 240, 80, 0), seed=0)
    moved = drift([i.prompt for i in production.served], [i.prompt for i in production.slices["heldout"]])
    assert moved.found
    assert drift(["a b", "b a"], ["c d", "d"]).distance == 1.0


def test_the_story_drifts_repeats_and_leaks_nothing():
    drawn = ClinicalProduction().splits(Sizes(8, 4, 100, 20, 10), seed=1)
    plain = ClinicalSummary().splits(Sizes(8, 4, 100, 20, 10), seed=1)
    assert drawn.gold == plain.gold and drawn.transfer == plain.transfer  # models on them are shared with others
    assert drawn.slices["heldout"] == ClinicalProduction().splits(Sizes(8, 4, 100, 20, 10), seed=2).slices["heldout"]
    held = {s for items in drawn.slices.values() for item in items for s in item.sentences}
    learnt = (*drawn.gold, *drawn.transfer, *drawn.served)
    assert not any(held & set(item.sentences) for item in learnt)
    assert 140 <= len(drawn.served) <= 150 and len({item.prompt for item in drawn.served}) < 145
    problems = [item.facts["problem"] for item in drawn.served]
    assert max(map(problems.count, problems)) > 2 * len(problems) / len(set(problems))


@pytest.mark.parametrize("form", FORMATS)
def test_the_storys_log_has_mishaps_of_every_kind(form, tmp_path):
    notes = ClinicalProduction().splits(Sizes(0, 0, 200, 4, 0), seed=0)
    served = [(item, Answer(item.reference, Kind.COMPLETE, 50, 30)) for item in notes.served]
    write_log(tmp_path / "log.jsonl", form, "m:1", "Summarize.", served)
    tally = Tally()
    calls = usable(read([tmp_path / "log.jsonl"], form, tally), "m:1", tally)
    assert [c.prompt for c in calls] == [item.prompt for item in notes.served]
    assert {Left.BROKEN, Left.REFUSED, Left.ERROR, Left.OTHER_MODEL, Left.OTHER_INSTRUCTION} == set(tally.left)
    assert tally.records == len(calls) + sum(tally.left.values())


# -------------------------------------------------------------------------------------- the user's own


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A log of Claude's and experts' answers to ten of its prompts, the last two of them late; no key anywhere."""
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    notes = ClinicalSummary().splits(Sizes(0, 0, 40, 0, 0), seed=5).transfer
    ask = [f"{note.prompt} Call 415-555-2671 or mail ann{i}@example.org." for i, note in enumerate(notes)]
    calls = [
        call(
            id=f"request-{i}", when=call().when + timedelta(hours=i), model="claude-haiku-5-5-20260901", prompt=prompt,
            answer=f"{note.reference} Mail ann{i}@example.org.",
        )
        for i, (note, prompt) in enumerate(zip(notes, ask, strict=True))
    ]  # fmt: skip
    log = write(tmp_path / "claude.jsonl", [*(anthropic.write(c) for c in calls), anthropic.write(calls[3]), "{broken"])
    checked = [0, 2, 4, 6, 8, 10, 12, 14, 30, 36]
    gold = [{"id": str(i), "prompt": ask[i], "reference": notes[i].reference} for i in checked]
    return ("--logs", log, "--prompts", write(tmp_path / "gold.jsonl", gold), "--teacher", "claude:claude-haiku-5-5")


def test_own_logs_are_learnt_from_and_nobody_is_asked(own, tiny, tmp_path, monkeypatch, capsys):
    command = ("run", "production-logs", *own, "--student", tiny, "--smoke", "--redact", "--workdir", tmp_path / "work")
    assert distill(monkeypatch, *command) == 0, capsys.readouterr().err
    shown = capsys.readouterr()
    measured = record.load(tmp_path / "work" / "latest" / "record.json")
    assert measured.task.sizes == {"gold": 4, "dev": 0, "transfer": 8, "heldout": 2}
    assert {arm.kind for arm in measured.arms} == {
        ArmKind.TEACHER_SHIPPED, ArmKind.STUDENT_BEFORE, ArmKind.STUDENT_GOLD, ArmKind.STUDENT_DISTILLED,
    }  # fmt: skip
    collection = measured.collection
    assert collection.asked == collection.from_ledger == 8 and collection.usd == 0 and collection.prompt_tokens == 72
    [logs] = measured.logs
    assert (logs.format, logs.records, logs.learnt_from, logs.later) == ("anthropic", 42, 30, 10)
    assert logs.left_out == {Left.BROKEN: 1, Left.DUPLICATE: 1} and logs.redacted and logs.drift
    assert logs.identifiers == {"e-mail address": 82, "phone number": 41}
    assert "82 e-mail address, 41 phone number, replaced" in " ".join(shown.err.split()) and "terms" in shown.err
    files = [path.read_bytes() for path in (tmp_path / "work").rglob("*") if path.is_file()]
    assert not any(b"example.org" in content or b"415-555" in content for content in files)
    assert b"<EMAIL_" in b"".join(files)


def test_a_plan_of_own_logs_says_what_is_in_them_and_saved(own, tmp_path, monkeypatch, capsys):
    command = ("plan", "production-logs", *own, "--price-input", 1000, "--price-output", 1000)
    assert distill(monkeypatch, *command) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "42 records, of which left out: " in shown and "learnt 30 calls" in shown
    assert "--redact replaces it" in shown and "asks nothing" in shown
    assert "saves 32 requests: 288 tokens read, 128 written, $0.4160 at today's price" in shown
    assert "terms" in shown and not list(tmp_path.glob("**/ledger.sqlite"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("--logs-format", "csv"), "--logs-format csv: choose one of: auto, bedrock, openai, anthropic"),
        (("--teacher", "local"), "--logs --teacher local: whose answers? give PLATFORM:MODEL"),
        (("--teacher", "claude:gone"), "--logs: no whole answer of gone (42 records, of which left out: "),
        (("--instruction", "Else."), "--logs: no call has the instruction 'Else.'"),
        (("--prompts", "{tmp}/bare.jsonl"), "{tmp}/bare.jsonl: 8 rows without a \"reference\" (the first is '0')"),
        (("--prompts", "{tmp}/other.jsonl"), "{tmp}/other.jsonl: 0 of 8 prompts are in the log with a whole answer"),
        (("--prompts", "{tmp}/early.jsonl"), '{tmp}/claude.jsonl: 1 rows with a "reference" from before the held-out'),
    ],
)
def test_own_logs_that_teach_nothing_are_one_message(change, message, own, tmp_path, monkeypatch, capsys):
    write(tmp_path / "bare.jsonl", [{"id": str(i), "prompt": f"{i}"} for i in range(8)])
    write(tmp_path / "other.jsonl", [{"id": str(i), "prompt": f"{i}", "reference": "x"} for i in range(8)])
    write(tmp_path / "early.jsonl", (tmp_path / "gold.jsonl").read_text().splitlines()[:3])
    change = [str(part).format(tmp=tmp_path) for part in change]
    given = own[:-2] if "--teacher" in change else own
    assert distill(monkeypatch, "plan", "production-logs", *given, *change) == 2
    shown = " ".join(capsys.readouterr().err.split())
    assert message.format(tmp=tmp_path) in shown


def test_logs_are_for_this_pattern(own, monkeypatch, capsys):
    assert distill(monkeypatch, "plan", "sequence-level", *own) == 2
    assert "--logs: sequence-level learns from no log; take production-logs" in capsys.readouterr().err
    assert distill(monkeypatch, "plan", "production-logs", *own[:2], *own[4:]) == 2
    assert "--logs goes with --prompts: experts' answers" in capsys.readouterr().err
