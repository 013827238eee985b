"""The record: what it refuses, when it is stale."""

from __future__ import annotations

import dataclasses
import json
import shutil

import pytest

from implementations import record
from implementations.registry import PLATFORMS, RECIPES, CellStatus, Signal, cell


def tree(tmp_path, source: str):
    """A copy of the code that sequence-level runs, with ``source`` as its recipe."""
    for glob in RECIPES["sequence-level"].code:
        for path in record.ROOT.glob(glob):
            copy = tmp_path / path.relative_to(record.ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)
    (tmp_path / "implementations/recipes/sequence_level.py").write_text(source)
    return record.code_sha256("sequence-level", tmp_path)


def test_the_code_hash_sees_code_and_not_words(tmp_path):
    source = 'def f(x):\n    """Say."""\n    return x + 1\n'
    same = 'def f(x):\n  """Other\n\n  words."""\n\n  return x+1  # why\n'
    first = tree(tmp_path, source)
    assert tree(tmp_path, same) == first
    assert tree(tmp_path, source.replace("1", "2")) != first
    assert tree(tmp_path, source.replace("    return", "    if x:\n        return")) != first
    assert tree(tmp_path, source + "NAME = 'text'\n") != tree(tmp_path, source + "NAME = 'other'\n")


def test_the_code_hash_is_the_same_on_every_python():
    """From 3.12 on an f-string comes in pieces, in which a doubled brace is one."""
    source = 'def f(x):\n    return f"{{{x!r:>{x}}}} of {x[\'a b\']} }}" + "{{"\n'
    assert record._significant(source) == 'deff(x):;{returnf"{{{x!r:>{x}}}}of{x[\'ab\']}}}"+"{{";}'


def test_every_recipe_names_code_that_exists():
    for recipe in RECIPES.values():
        for glob in recipe.code:
            assert list(record.ROOT.glob(glob)), glob


def test_a_broken_record_names_its_file_and_field(tmp_path):
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"schema_version": 1, "pattern": 3}))
    with pytest.raises(record.RecordError, match=r"x\.json: pattern: .* `distill run --record`"):
        record.load(path)


def test_a_failed_write_leaves_what_was_there(tmp_path):
    path = tmp_path / "file.json"
    record.write_atomic(path, "first")
    with pytest.raises(UnicodeEncodeError):
        record.write_atomic(path, "\ud800")
    assert path.read_text() == "first" and list(tmp_path.iterdir()) == [path]


def test_committed_records_load_and_are_no_smoke():
    for name, measured in record.load_all().items():
        assert not measured.smoke, name
        assert name.startswith(f"{measured.pattern}-{measured.platform}-")
        assert len(measured.seeds) >= 2


def test_cells_follow_from_what_is_declared():
    recipe = RECIPES["sequence-level"]
    assert cell(recipe, PLATFORMS["local"]) is CellStatus.DIRECT
    assert {cell(recipe, p) for p in PLATFORMS.values()} == {CellStatus.DIRECT}
    wants_logits = dataclasses.replace(recipe, needs=Signal.LOGITS)
    assert cell(wants_logits, PLATFORMS["local"]) is CellStatus.DIRECT
    assert cell(wants_logits, PLATFORMS["claude"]) is CellStatus.BRIDGED
    assert cell(recipe, dataclasses.replace(PLATFORMS["claude"], module=None)) is CellStatus.NOT_YET
