"""The clinical task: what is drawn, how an answer is scored; the user's own prompts."""

from __future__ import annotations

import json

import pytest

from implementations.errors import InputError
from implementations.tasks.clinical_summary import ClinicalSummary, score
from implementations.tasks.task import Item, Sizes, rouge_l
from implementations.tasks.user_prompts import UserPrompts, read

TASK = ClinicalSummary()
SIZES = Sizes(gold=48, dev=16, transfer=400, heldout=64, unseen=32)
NOTE = Item(
    "n",
    "A 63-year-old woman (asthma) came in after 3 days of cough. Chest clear; pulse 96, BP 120/70. "
    "At 10:15, CRP 142 confirmed pneumonia. We gave ceftriaxone first dose. Will go to medical ward.",
    "63-year-old woman, asthma: pneumonia, CRP 142, ceftriaxone, medical ward.",
    {
        "problem": "pneumonia",
        "history": "asthma",
        "finding": "CRP 142",
        "treatment": "ceftriaxone",
        "disposition": "medical ward",
    },
)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_no_evaluation_sentence_is_trained_on(seed):
    splits = TASK.splits(SIZES, seed)
    trained = {s for item in (*splits.gold, *splits.dev, *splits.transfer) for s in item.sentences}
    evaluated = [s for items in splits.slices.values() for item in items for s in item.sentences]
    assert evaluated and not trained.intersection(evaluated)


def test_unseen_conditions_are_in_no_other_split():
    splits = TASK.splits(SIZES, 0)
    unseen = {item.facts["problem"] for item in splits.slices["unseen"]}
    others = {item.facts["problem"] for item in (*splits.gold, *splits.transfer, *splits.slices["heldout"])}
    assert len(unseen) > 4 and not unseen & others


def test_every_note_is_drawn_once():
    splits = TASK.splits(SIZES, 0)
    prompts = [i.prompt for i in (*splits.gold, *splits.dev, *splits.transfer, *splits.slices["heldout"])]
    assert len(set(prompts)) == len(prompts)


def test_heldout_is_the_same_for_every_seed_and_training_notes_are_not():
    a, b = TASK.splits(SIZES, 0), TASK.splits(SIZES, 1)
    assert a.slices == b.slices
    assert a.gold != b.gold and a.transfer != b.transfer


def test_more_gold_keeps_the_gold_there_was():
    assert TASK.splits(SIZES._replace(gold=400), 0).gold[:48] == TASK.splits(SIZES, 0).gold


def test_every_reference_and_every_note_states_its_facts_and_invents_nothing():
    splits = TASK.splits(SIZES, 0)
    for item in (*splits.gold, *splits.transfer, *splits.slices["heldout"], *splits.slices["unseen"]):
        assert score(item.reference, item).f1 == 1
        assert score(item.prompt, item).f1 == 1


@pytest.mark.parametrize(
    ("answer", "missed", "invented"),
    [
        (NOTE.reference, (), ()),
        ("", ("problem", "history", "finding", "treatment", "disposition"), ()),
        # order, case and up to three words in between do not matter
        ("Medical Ward after CEFTRIAXONE; a CRP of 142; asthma, pneumonia", (), ()),
        # a number of another note, a value of another note, a name that went wrong in copying
        ("63-year-old, asthma: pneumonia, CRP 412, ceftriaxone, medical ward.", ("finding",), ("412",)),
        ("asthma: gout, CRP 142, ceftriaxone, medical ward.", ("problem",), ("gout",)),
        ("asthma: pneumonia, CRP 142, cefriaxole, medical ward.", ("treatment",), ("cefriaxole",)),
        # said twice, counted once; a run of unknown words is one claim
        ("asthma, pneumonia, CRP 142, ceftriaxone, medical ward. gout gout", (), ("gout",)),
        ("asthma, pneumonia, CRP 142, ceftriaxone, medical ward, feeling splendid", (), ("feeling splendid",)),
        # plain words, inflections and numbers of the note claim nothing
        ("The patient presented with asthma, pneumonia, coughs, pulse 96, CRP 142, ceftriaxone, medical ward", (), ()),
    ],
)
def test_score(answer, missed, invented):
    result = score(answer, NOTE)
    assert (result.missed, result.invented) == (missed, invented)
    for start, end, kind in result.spans:
        assert answer[start:end].strip() and kind in {"found", "invented"}


def test_precision_recall_and_f1():
    result = score("asthma: gout, CRP 142, medical ward", NOTE)
    assert (result.precision, result.recall) == (3 / 4, 3 / 5)
    assert result.f1 == pytest.approx(2 * 0.75 * 0.6 / 1.35)
    assert score("nothing to say", Item("x", "nothing to say", "", {"problem": "gout"})).f1 == 0


def test_rouge_l_of_the_paper():
    # Lin 2004, sec. 3.1: reference S1, candidates S2 and S3.
    assert rouge_l("police killed the gunman", "police kill the gunman") == pytest.approx(3 / 4)
    assert rouge_l("police killed the gunman", "the gunman kill police") == pytest.approx(2 / 4)
    assert rouge_l("", "anything") == 0


def lines(path, *rows):
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), "utf-8")
    return path


def test_every_broken_line_is_named(tmp_path):
    path = lines(
        tmp_path / "notes.jsonl",
        {"id": "a", "prompt": "fine"},
        '{"id": "b", "prompt": ',
        {"id": "c"},
        {"id": "a", "prompt": "again"},
        {"id": "d", "prompt": "x", "refrence": "y"},
        {"id": "e", "prompt": "", "reference": ""},
        {"id": 7, "prompt": "x"},
        "[1]",
    )
    with pytest.raises(InputError) as error:
        UserPrompts(path, "", 64)
    expected = [
        f"{path}:2:23: not JSON (Expecting value); ",
        f'{path}:3: "prompt" is missing; add it',
        f"{path}:4: id 'a' stands on line 1 too; make it unique",
        f'{path}:5: "refrence" is not a field; use "id", "prompt" and "reference" only',
        f'{path}:6: "prompt" is empty; fill it',
        f'{path}:6: "reference" is empty; fill it or leave it out',
        f'{path}:7: "id": Input should be a valid string; ',
        f'{path}:8: "the line": ',
    ]
    got = str(error.value).split("\n")
    assert len(got) == len(expected)
    for line, start in zip(got, expected, strict=True):
        assert line.startswith(start)


def test_a_prompt_with_a_line_separator_inside_is_one_line(tmp_path):
    path = tmp_path / "notes.jsonl"
    path.write_text('{"id": "a", "prompt": "one\u2028two"}\n{"id": "b", "prompt": "three"}', "utf-8")
    assert [item.prompt for item in read(path)] == ["one\u2028two", "three"]


def test_too_few_rows_say_which_kind(tmp_path):
    path = lines(tmp_path / "notes.jsonl", *({"id": str(i), "prompt": f"p {i}"} for i in range(20)))
    with pytest.raises(InputError, match='0 rows with a "reference", at least 8 are needed'):
        UserPrompts(path, "", 64)


def test_own_prompts_are_split_without_overlap(tmp_path):
    rows = [{"id": f"g{i}", "prompt": f"gold {i}", "reference": f"answer {i}"} for i in range(16)]
    rows += [{"id": f"t{i}", "prompt": f"gold {i}" if i < 3 else f"free {i}"} for i in range(20)]
    task = UserPrompts(lines(tmp_path / "notes.jsonl", *rows), "Answer.", 64)
    splits = task.splits(Sizes(100, 0, 100, 100, 0), seed=0)
    heldout = {item.prompt for item in splits.slices["heldout"]}
    assert len(heldout) == 4 and len(splits.gold) == 12
    assert not heldout & {item.prompt for item in (*splits.gold, *splits.transfer)}
    assert task.metrics("answer 1", Item("x", "", "answer 1")) == {"rouge_l": 1.0}
