"""Every bad fixture gives exactly the messages in its first lines; the good and the real catalogue give none."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest
import yaml
from builder_samples import BAD, GOOD, ROOT, copy_good, load, make_record, measured

from builder.check import check, uncited
from builder.load import MAX_BYTES, Refused, Source, _Builder, _data, parse
from implementations.record import save

TARGETS = {
    "pattern": "patterns/sequence-level.yml",
    "term": "glossary/teacher.yml",
    "references": "patterns/_references.yml",
    "vocabulary": "patterns/_vocabulary.yml",
    "claims": "patterns/_claims.yml",
}


def expected(path: Path) -> list[str]:
    lines = path.read_text("utf-8-sig").splitlines()
    count = next(i for i, line in enumerate([*lines, ""]) if not line.startswith("# "))
    return [line.removeprefix("# ") for line in lines[:count]]


@pytest.mark.parametrize("path", sorted(BAD.glob("*.yml")), ids=lambda path: path.stem)
def test_bad_file_gives_its_messages(path: Path, tmp_path: Path) -> None:
    root = copy_good(tmp_path)
    (root / TARGETS[path.stem.split("-")[0]]).write_bytes(path.read_bytes())
    problems = load(root)[1]
    assert [str(problem) for problem in problems] == expected(path)
    assert all(problem.what and problem.why and problem.mend for problem in problems)


def test_there_are_many_bad_files_and_each_expects_something() -> None:
    paths = list(BAD.glob("*.yml"))
    assert len(paths) >= 110
    assert all(expected(path) for path in paths)


@pytest.mark.parametrize("root", [GOOD, ROOT], ids=["sample", "real"])
def test_good_catalogue_has_no_problem(root: Path) -> None:
    catalogue, problems = load(root)
    assert [str(p) for p in problems] == []
    assert catalogue.patterns and catalogue.terms


def test_all_problems_of_all_files_come_at_once(tmp_path: Path) -> None:
    root = copy_good(tmp_path)
    for name in ("patterns/sequence-level.yml", "glossary/teacher.yml", "glossary/student.yml"):
        path = root / name
        path.write_text(path.read_text("utf-8").replace("slug: ", "slog: ", 1), "utf-8")
    files = [problem.file for problem in load(root)[1]]
    assert files == [
        "glossary/student.yml",
        "glossary/student.yml",
        "glossary/teacher.yml",
        "glossary/teacher.yml",
        "patterns/sequence-level.yml",
        "patterns/sequence-level.yml",
    ]


def test_links_to_a_broken_file_are_not_reported_too(tmp_path: Path) -> None:
    root = copy_good(tmp_path)
    (root / "glossary/teacher.yml").write_text("slug: [", "utf-8")
    problems = load(root)[1]
    assert {problem.file for problem in problems} == {"glossary/teacher.yml"}


def test_huge_file_is_not_read(tmp_path: Path) -> None:
    root = copy_good(tmp_path)
    (root / "glossary/teacher.yml").write_text("a" * (10 * MAX_BYTES), "utf-8")
    assert str(load(root)[1][0]) == (
        "glossary/teacher.yml:1:1: the file is larger than 1,000,000 bytes; no page is as long; "
        "write less, or several entries"
    )


def test_file_that_is_not_utf8(tmp_path: Path) -> None:
    root = copy_good(tmp_path)
    (root / "glossary/teacher.yml").write_bytes(b"slug: teacher\nterm: caf\xe9\n")
    assert str(load(root)[1][0]) == (
        "glossary/teacher.yml:2:10: byte 0xe9 is not UTF-8; nobody can tell which letter it is; save it as UTF-8"
    )


def test_file_without_a_byte(tmp_path: Path) -> None:
    root = copy_good(tmp_path)
    (root / "glossary/teacher.yml").write_bytes(b"")
    assert [str(problem) for problem in load(root)[1]] == [
        "glossary/teacher.yml:1:1: the file is empty; it has no page; write the entry, or delete the file"
    ]


def test_file_that_takes_the_place_of_the_list(tmp_path: Path) -> None:
    root = copy_good(tmp_path)
    text = (root / "glossary/student.yml").read_text("utf-8")
    (root / "glossary/index.yml").write_text(text.replace("slug: student", "slug: index", 1), "utf-8")
    assert (
        "glossary/index.yml:1:7: slug: “index” is no name for an entry; its page would take the place of the list of "
        "all; choose another slug"
    ) in [str(problem) for problem in load(root)[1]]


def test_file_whose_name_is_no_slug(tmp_path: Path) -> None:
    root = copy_good(tmp_path)
    (root / "glossary/student.yml").rename(root / "glossary/The Student.yml")
    assert [str(problem) for problem in load(root)[1] if problem.path == "slug"] == [
        "glossary/The Student.yml:1:7: slug: “student” is not the file's name; a page has one address; "
        "rename the file to student.yml"
    ]


def test_file_in_a_folder_of_its_own(tmp_path: Path) -> None:
    root = copy_good(tmp_path)
    (root / "glossary/mine").mkdir()
    (root / "glossary/mine/deep.yml").write_text("slug: deep\n", "utf-8")
    assert [str(problem) for problem in load(root)[1]] == [
        "glossary/mine/deep.yml:1:1: is in a folder of its own; only what lies in patterns/ and glossary/ themselves "
        "is read; move it to glossary/"
    ]


def test_messages_repeat_only_the_beginning_of_a_long_text(tmp_path: Path) -> None:
    root = copy_good(tmp_path)
    path = root / "glossary/teacher.yml"
    path.write_text(path.read_text("utf-8").replace("[basics]", f"[{'B' * 50}]"), "utf-8")
    assert "B" * 50 in str(load(root)[1][0])
    path.write_text(path.read_text("utf-8").replace("severity: high", f"severity: {'h' * 500_000}"), "utf-8")
    assert all(len(str(problem)) < 300 for problem in load(root)[1])


def test_hostile_yaml_is_refused_at_once(tmp_path: Path) -> None:
    """What asks parsers for hours or gigabytes costs this one no second."""
    root, path = copy_good(tmp_path), tmp_path / "glossary/teacher.yml"
    nested = "\n".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9) if i else 'x'}]" for i in range(30))
    for text in (nested, "[" * 400_000, "{a: " * 200_000, "- " * 400_000, "a:\n " * 2 + "? " * 400_000):
        path.write_text(text, "utf-8")
        began = time.perf_counter()
        assert [problem.file for problem in load(root)[1]] == ["glossary/teacher.yml"]
        assert time.perf_counter() - began < 5


def test_other_yaml_suffix(tmp_path: Path) -> None:
    root = copy_good(tmp_path)
    (root / "glossary/student.yml").rename(root / "glossary/student.yaml")
    assert str(load(root)[1][0]) == (
        "glossary/student.yaml:1:1: the name ends in .yaml; an entry is named after its slug, with .yml; "
        "rename it to student.yml"
    )


def test_missing_vocabulary(tmp_path: Path) -> None:
    root = copy_good(tmp_path)
    (root / "patterns/_vocabulary.yml").unlink()
    assert (
        "patterns/_vocabulary.yml:1:1: the file is missing; patterns and terms look up their words and works there; "
        "restore it"
    ) in [str(problem) for problem in load(root)[1]]


def test_mistake_in_the_vocabulary_is_no_mistake_of_other_files(tmp_path: Path) -> None:
    """What is planned stands there, so nobody knows it until the file is mended."""
    root = copy_good(tmp_path)
    term, claims, words = (root / name for name in ("glossary/teacher.yml", TARGETS["claims"], TARGETS["vocabulary"]))
    term.write_text(term.read_text("utf-8").replace("pattern:sequence-level", "pattern:tiered-serving"), "utf-8")
    claims.write_text(claims.read_text("utf-8").replace("[sequence-level]", "[tiered-serving]"), "utf-8")
    assert load(root)[1] == []
    words.write_text(words.read_text("utf-8").replace("better: down", "better: smaller"), "utf-8")
    assert [problem.path for problem in load(root)[1]] == ["axes.latency.better"]
    words.write_text("[", "utf-8")
    assert [problem.file for problem in load(root)[1]] == [TARGETS["vocabulary"]]


def test_shared_file_is_no_entry_to_link_to(tmp_path: Path) -> None:
    root = copy_good(tmp_path)
    term = root / "glossary/teacher.yml"
    term.write_text(term.read_text("utf-8").replace("pattern:sequence-level", "term:claims"), "utf-8")
    (root / TARGETS["claims"]).write_text("[", "utf-8")
    assert all("_claims" not in problem.mend for problem in load(root)[1])
    assert [problem.file for problem in load(root)[1]] == ["glossary/teacher.yml", TARGETS["claims"]]


def test_two_entries_with_one_name(tmp_path: Path) -> None:
    """Each place is named, of a title and of an alias."""
    root = copy_good(tmp_path)
    text = (root / "glossary/teacher.yml").read_text("utf-8")
    (root / "glossary/tutor.yml").write_text(text.replace("slug: teacher", "slug: tutor"), "utf-8")
    assert [str(problem) for problem in load(root)[1]] == [
        "glossary/tutor.yml:2:7: term: “Teacher” is the term of glossary/teacher.yml:2 too; a name leads to one page; "
        "name what it has of its own, or make one entry of both",
        "glossary/tutor.yml:7:11: aliases[0]: “teacher model” is a name of teacher, glossary/teacher.yml:7; "
        "a name leads to one page; keep it with one of them",
    ]


# ------------------------------------------------------------------------------------------------- records


def test_texts_of_the_vocabulary_are_checked_too(tmp_path: Path) -> None:
    root = copy_good(tmp_path)
    path = root / "patterns/_vocabulary.yml"
    bad = "60% faster, [[record: speedup]], [@nobody], [x](term:nowhere)"
    data = parse(path.read_text("utf-8"), path.name).data
    next(iter(data["axes"].values()))["description"] = bad
    path.write_text(json.dumps(data), "utf-8")
    assert {problem.what for problem in load(root)[1]} == {
        "there is no reference “nobody”",
        "there is no term “nowhere”",
        "a word of the vocabulary has no record",
    }
    next(iter(data["axes"].values()))["description"] = "60% faster"
    path.write_text(json.dumps(data), "utf-8")
    assert [problem.what for problem in load(root)[1]] == ["“60%” has no source"]


def test_record_that_does_not_load_names_its_file_and_field(tmp_path: Path) -> None:
    root = copy_good(tmp_path)
    folder = root / "implementations/records"
    folder.mkdir(parents=True)
    (folder / "a.json").write_text('{"pattern": 3}', "utf-8")
    (folder / "b.json").write_text("{", "utf-8")
    first, second = load(root)[1]
    assert str(first).startswith("implementations/records/a.json:1:1: pattern: ")
    assert second.file == "implementations/records/b.json"
    assert first.mend == "write it again with `distill run --record`"


def test_foreign_and_smoke_records(tmp_path: Path) -> None:
    root = copy_good(tmp_path)
    folder = root / "implementations/records"
    save(make_record(pattern="unheard-of"), folder / "foreign.json")
    save(make_record(smoke=True), folder / "smoke.json")
    assert [str(p) for p in load(root)[1]] == [
        "implementations/records/foreign.json:1:1: pattern: there is no pattern “unheard-of”; "
        "no page would show it; add patterns/unheard-of.yml, or delete the record",
        "implementations/records/smoke.json:1:1: smoke: a smoke run; its figures mean nothing; "
        "write it again with `distill run --record`",
    ]


def test_figure_that_the_record_lacks(tmp_path: Path) -> None:
    root = copy_good(tmp_path)
    path = root / "patterns/sequence-level.yml"
    path.write_text(path.read_text("utf-8").replace("record: speedup", "record: stages.warm_up"), "utf-8")
    assert load(root)[1] == []  # without a record nobody can tell
    save(make_record(), root / "implementations/records/a.json")
    (problem,) = load(root)[1]
    assert "stages has no warm_up; it has collect, distil" in problem.what


def test_own_smoke_records_are_welcome(tmp_path: Path) -> None:
    catalogue, _ = load(copy_good(tmp_path))
    catalogue.records.append(measured(own=True, smoke=True))
    assert check(catalogue) == []


def test_own_records_by_folder(tmp_path: Path) -> None:
    root, runs = copy_good(tmp_path / "catalogue"), tmp_path / "runs"
    save(make_record(seeds=[1]), runs / "first/record.json")
    save(make_record(seeds=[2]), runs / "second/record.json")
    (runs / "first/serving.json").write_text("{}", "utf-8")

    def names(own: Path) -> list[tuple[str, bool]]:
        catalogue, problems = load(root, own)
        assert problems == []
        return [(measured.name, measured.own) for measured in catalogue.records]

    assert names(runs) == [("first", True), ("second", True)]
    assert names(runs / "first") == [("first", True)]
    save(make_record(seeds=[1]), root / "implementations/records/committed.json")
    assert names(runs) == [("committed", False), ("second", True)]


def test_a_figure_in_a_diagram_has_no_source(tmp_path: Path) -> None:
    root = copy_good(tmp_path)
    path = root / "patterns/sequence-level.yml"
    path.write_text(path.read_text("utf-8").replace("A[Teacher] -->", "A[Teacher T5] -->|60% faster|"), "utf-8")
    assert [problem.what for problem in load(root)[1]] == ["“60%” has no source"]


def test_a_figure_in_a_sequence_has_no_source(tmp_path: Path) -> None:
    """In a message, in a name, in the words of a block; what a line's ids and arrows hold is no figure."""
    root = copy_good(tmp_path)
    path = root / "patterns/sequence-level.yml"
    lines = [
        "sequenceDiagram",
        "participant A as Teacher of 94%",
        "participant B2",
        "loop 3 times",
        "A->>B2: in 70 ms",
        "end",
    ]
    text = path.read_text("utf-8")
    old = re.search(r"^  diagram: \|-?\n((?:    .*\n)+)", text, re.M)[1]
    path.write_text(text.replace(old, "".join(f"    {line}\n" for line in lines)), "utf-8")
    found = [(problem.line, problem.what) for problem in load(root)[1]]
    first = text[: text.index(old)].count("\n") + 1
    assert [(line - first, what) for line, what in found] == [
        (1, "“94%” has no source"),
        (3, "“3” has no source"),
        (4, "“70” has no source"),
    ]


def test_own_record_with_a_bad_name_is_named_where_it_is(tmp_path: Path) -> None:
    root, run = copy_good(tmp_path / "catalogue"), tmp_path / "a run"
    save(make_record(), run / "record.json")
    assert [problem.file for problem in load(root, run)[1]] == [str(run / "record.json")]


def test_parentheses_in_an_address_are_explained(tmp_path: Path) -> None:
    root = copy_good(tmp_path)
    path = root / "glossary/teacher.yml"
    link = "See [x](https://e.org/a_(b))."
    path.write_text(re.sub("misconception: .*", f"misconception: {link}", path.read_text("utf-8")), "utf-8")
    (problem,) = load(root)[1]
    assert "%28" in problem.mend and "%29" in problem.mend


# ------------------------------------------------------------------------------------------------- numbers


@pytest.mark.parametrize(
    ("text", "figures"),
    [
        ("It keeps 97% of it.", ["97%"]),
        ("It keeps 97% of it [@a, p. 1].", []),
        ("It keeps 97% of it. [@a, p. 1] says so.", ["97%"]),
        ("It is 10x faster, or 2.5 times, or 10–50× cheaper.", ["10x", "2.5", "10–50×"]),
        ("It takes 40 ms and $3 for 1,000 tokens.", ["40", "$3", "1,000"]),
        ("Its 135M parameters and 7B friends.", ["135M", "7B"]),
        ("**90%** and *8* and [5 of them](https://example.org/12).", ["90%", "8", "5"]),
        ("- first 3\n- then 4 [@a]\n- last 5", ["3", "5"]),
        ("T5, GPT-4, p95, F1, bf16, SmolLM2-135M and 8-bit.", []),
        ("In 2015, since 2020 (Mirzadeh et al. 2020), on 2026-11-22.", []),
        ("Step 2 of phase 1, see section 4.", []),
        ("Set `T = 4`, then run `distill run --gold 48`.", []),
        ("Never write `97%` as code.", ["97%"]),
        ("It kept [[record: retention | percent]] of 48.", ["48"]),
        ("It kept [[record: retention | percent]].", []),
        ("E.g. six, cf. sec. three, i.e. none.", []),
    ],
)
def test_a_figure_needs_a_source(text: str, figures: list[str]) -> None:
    assert [figure for figure, _ in uncited(text)] == figures


TRICKY = ("", "a", "~", "[]", "- 1\n- '1'\n", "'<<': 1", "<<: 1", "a: 1\na: 2", "a: *b", "&a b: 1", "? [a]\n: 1")
TRICKY += (
    "a:\n\t- b",
    '"\\x01": 1',
    "--- a\n--- b",
    "a: !!str 1",
    "a: ! 1",
    'a: "\\x01"',
    "a: {b: 1}",
    "[" * 13 + "]" * 13,
    "a: [",
)


@pytest.mark.parametrize("text", TRICKY)
def test_reading_in_haste_refuses_or_gives_what_careful_reading_gives(text: str) -> None:
    careful = Source("x.yml", text)
    try:
        quick = _data(text)
    except (Refused, yaml.YAMLError):
        return  # it is read again with care
    assert str(quick) == str(_Builder(careful).document()) and careful.problems == []


@pytest.mark.parametrize("number", [".nan", "-.INF", "0x" + "f" * 400, "1e999"])
def test_a_number_that_python_cannot_hold_is_a_number(number: str, tmp_path: Path) -> None:
    root = copy_good(tmp_path)
    path = root / "glossary/teacher.yml"
    path.write_text(path.read_text("utf-8").replace("severity: high", f"severity: {number}"), "utf-8")
    (problem,) = load(root)[1]
    assert problem.what.startswith(number[:80]) and problem.path == "severity"


def test_good_files_are_read_in_haste() -> None:
    for path in (*GOOD.rglob("*.yml"), *(ROOT / "patterns").glob("*.yml"), *(ROOT / "glossary").glob("*.yml")):
        text = path.read_text("utf-8")
        assert _data(text) == _Builder(Source(path.name, text)).document()
