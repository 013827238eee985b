"""The command line, run in the process of a test."""

from __future__ import annotations

import sys

import pytest

from implementations import cli


def distill(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Run `distill` with ``arguments``; its exit status."""
    monkeypatch.setattr(sys, "argv", ["distill", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return stop.value.code or 0
