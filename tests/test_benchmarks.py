"""The benchmarks are run seldom, so that a name of ours which they use must not go unnoticed."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import sys
from pathlib import Path
from types import ModuleType

import pytest
from builder_samples import ROOT

SCRIPTS = sorted((ROOT / "benchmarks").glob("*.py"))
OURS = ("implementations", "builder")


def imported(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"benchmark_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there for their own
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_every_script_finds_what_it_imports(path: Path) -> None:
    """Also inside its functions; what is not ours may be of an extra that is not installed."""
    imported(path)
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module.partition(".")[0] in OURS:
            module = importlib.import_module(node.module)
            for name in node.names:
                there = hasattr(module, name.name) or importlib.util.find_spec(f"{node.module}.{name.name}")
                assert there, f"{path.name}:{node.lineno}: {node.module} has no {name.name}"


def test_the_engines_benchmark_patches_names_that_are_there() -> None:
    from implementations.transfer import job, trainer

    engine = imported(ROOT / "benchmarks" / "engine.py")
    parts = engine.step_parts(None)
    assert len(parts) == 5
    for owner, name, part in parts:
        assert callable(getattr(owner, name, None)), f"{owner} has no {name}"
        assert part(None)
    assert job.train is trainer.train and "teacher" in inspect.signature(trainer.train).parameters
