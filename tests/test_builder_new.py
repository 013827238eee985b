"""`catalogue new`: every field, each blank one message, and nothing wrong once they are filled. Schemas for editors."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from builder_samples import GOOD, ROOT, copy_good, load
from jsonschema import Draft202012Validator
from pydantic import BaseModel
from typer.testing import CliRunner

from builder.cli import app
from builder.data import modeline, schema, schema_files
from builder.load import parse, parse_file
from builder.models import Pattern, Term
from builder.scaffold import scaffold

MODELS = {"pattern": Pattern, "term": Term}
SAMPLES = {"pattern": "patterns/sequence-level.yml", "term": "glossary/teacher.yml"}


def new(*arguments: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["new", *map(str, arguments)])
    return result.exit_code, result.stdout + result.stderr


def blanks(text: str) -> set[int]:
    """Lines that end where a value has to be written, and may not stay empty."""
    lines = text.splitlines()
    found = set()
    for number, line in enumerate(lines, 1):
        following = next((other for other in lines[number:] if not other.lstrip().startswith("#")), "")
        opens = re.match(r" *", following)[0] > re.match(r" *", line)[0]
        optional = lines[number - 2].endswith("may stay empty")
        if re.search(r"(:|-|\|-)$", line) and not line.lstrip().startswith("#") and not opens and not optional:
            found.add(number)
    return found


@pytest.mark.parametrize("kind", MODELS)
def test_new_file_has_one_clear_message_for_each_blank(kind: str, tmp_path: Path) -> None:
    root = copy_good(tmp_path)
    code, said = new(kind, "gradient-checkpointing", "--root", root)
    assert code == 0 and "gradient-checkpointing.yml written" in said
    path = root / Path(SAMPLES[kind]).parent / "gradient-checkpointing.yml"
    text = path.read_text("utf-8")
    assert text.splitlines()[0] == modeline(kind)
    problems = load(root)[1]
    assert {problem.file for problem in problems} == {path.relative_to(root).as_posix()}
    assert [problem.line for problem in problems] == sorted(blanks(text))
    for problem in problems:
        assert problem.what == "empty", problem
        assert re.match(r"(write text: |choose one of )\w", problem.mend), problem


@pytest.mark.parametrize("kind", MODELS)
def test_new_file_holds_every_field_with_its_description(kind: str) -> None:
    text = scaffold(kind, "a", "2026-11-22")
    comments = " ".join(re.sub(r"^ *#", "", line) for line in text.splitlines() if line.lstrip().startswith("#"))
    comments = re.sub(r"\s+", " ", comments)

    def compare(model: type[BaseModel], data: dict[str, Any]) -> None:
        assert list(data) == [info.alias or name for name, info in model.model_fields.items()]
        for name, info in model.model_fields.items():
            assert info.description in comments, name
            value = data[info.alias or name]
            inner = value[0] if isinstance(value, list) and value else value
            fields = [m for m in nested if isinstance(inner, dict) and m.keys() == inner.keys()]
            if fields:
                compare(nested_models[nested.index(fields[0])], inner)

    nested_models = list(all_models(MODELS[kind]))
    nested = [{info.alias or name: 1 for name, info in m.model_fields.items()} for m in nested_models]
    compare(MODELS[kind], parse(text, "a.yml").data)


def all_models(model: Any) -> set[type[BaseModel]]:
    """The model and every model inside its fields."""
    if isinstance(model, type) and issubclass(model, BaseModel):
        return {model}.union(*(all_models(info.annotation) for info in model.model_fields.values()))
    return set().union(*map(all_models, getattr(model, "__args__", ())))


@pytest.mark.parametrize("kind", MODELS)
def test_nothing_is_wrong_once_the_blanks_are_filled(kind: str, tmp_path: Path) -> None:
    """The sample's own values, written into its blanks."""
    root = copy_good(tmp_path)
    path = root / SAMPLES[kind]
    day = "2026-11-22"
    values = parse_file(path, root).data
    text = scaffold(kind, values["slug"], day)

    def fill(blank: Any, value: Any) -> Any:
        if isinstance(blank, dict):
            return {key: fill(inner, (value or {}).get(key)) for key, inner in blank.items()}
        if isinstance(blank, list):
            return [fill(blank[0] if blank else None, item) for item in value or []]
        return value if blank in (None, "") else blank

    filled = fill(parse(text, path.name).data, values)
    path.write_text(json.dumps(filled, ensure_ascii=False), "utf-8")
    assert [str(problem) for problem in load(root)[1]] == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("term", "teacher"), "glossary/teacher.yml: the file exists; edit it, or choose another slug"),
        (("claim", "teacher"), "“claim” is no kind of entry; choose one of: pattern, term"),
        (("patern", "teacher"), "“patern” is no kind of entry; did you mean `pattern`?"),
        (("term", "../teacher"), "“../teacher” cannot be an address"),
        (("term", "Teacher"), "“Teacher” cannot be an address"),
        (("term", "index"), "“index” cannot be an address"),
        (("term", "a" * 61), "cannot be an address"),
    ],
)
def test_new_refuses(arguments: tuple[str, ...], said: str, tmp_path: Path) -> None:
    root = copy_good(tmp_path)
    before = {path: path.read_bytes() for path in root.rglob("*.yml")}
    code, out = new(*arguments, "--root", root)
    assert code == 2 and said in out
    assert {path: path.read_bytes() for path in root.rglob("*.yml")} == before


def test_new_where_there_is_no_catalogue(tmp_path: Path) -> None:
    code, said = new("term", "a", "--root", tmp_path)
    assert code == 2 and "No such file or directory; run this where glossary/ is, or pass --root" in said


# ------------------------------------------------------------------------------------------------- schemas


def test_schemas_in_the_tree_are_those_of_the_models() -> None:
    """When this fails: `catalogue schema --write`."""
    written = {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in (ROOT / "schemas").iterdir()}
    assert written == schema_files()


def kind_of(path: Path) -> str:
    if path.stem.startswith("_"):
        return path.stem.strip("_")
    return "pattern" if path.parent.name == "patterns" else "term"


FILES = sorted([*(ROOT / "patterns").glob("*.yml"), *(ROOT / "glossary").glob("*.yml")])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_first_line_leads_an_editor_to_the_schema_that_the_file_follows(path: Path) -> None:
    first = path.read_text("utf-8").splitlines()[0]
    assert first == modeline(kind_of(path))
    found = json.loads((path.parent / first.partition("$schema=")[2]).read_text("utf-8"))
    Draft202012Validator.check_schema(found)
    data = parse_file(path, ROOT).data
    assert [error.message for error in Draft202012Validator(found).iter_errors(data)] == []


@pytest.mark.parametrize("kind", MODELS)
def test_schema_refuses_what_the_model_refuses(kind: str) -> None:
    validator = Draft202012Validator(schema(MODELS[kind]))
    data = parse_file(GOOD / SAMPLES[kind], GOOD).data
    assert not list(validator.iter_errors(data))
    required = [info.alias or name for name, info in MODELS[kind].model_fields.items() if info.is_required()]
    for wrong in ({"zebra": "x"}, {"slug": "Not a slug"}, {"tags": "one"}, {"created": "yesterday"}):
        assert list(validator.iter_errors(data | wrong)), wrong
    for name in required:
        assert list(validator.iter_errors({key: value for key, value in data.items() if key != name})), name
