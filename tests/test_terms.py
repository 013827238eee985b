"""Terms: a note with a source for every platform, and what is wrong in a file of them."""

from __future__ import annotations

from datetime import date

import pytest

from implementations.errors import InputError
from implementations.registry import PLATFORMS
from implementations.teachers import terms
from implementations.teachers.terms import Status, find, load


def test_every_platform_that_ships_has_a_note():
    for platform in set(PLATFORMS) - {"langchain"}:
        assert find(platform).date <= date.today()


@pytest.mark.parametrize(
    ("model", "same_as"),
    [("anthropic:claude-haiku-4-5", "claude"), ("openai:gpt-4o", "openai"), ("ollama:qwen3:8b", "local")],
)
def test_behind_langchain_the_providers_own_terms_count(model, same_as):
    assert find("langchain", model) == terms._notes()[same_as]


def test_at_another_endpoint_nobodys_terms_are_quoted_and_here_the_models_licence_counts():
    for platform, model in (("claude", "claude-haiku-4-5"), ("langchain", "openai:gpt-4o"), ("vertex", "gemini")):
        assert find(platform, model, "gateway.example/v1") is None
        assert find(platform, model, "localhost:8080/v1") == terms._notes()["local"]
    assert find("ollama", "qwen3:8b", "gpu:11434") == terms._notes()["local"]
    assert find("langchain", "ollama:gpt-oss:120b-cloud", "localhost:11434") is None


def test_whoever_is_not_known_has_no_note():
    assert find("langchain", "mistralai:mistral-large") is None
    assert find("langchain") is None
    assert find("ollama", "gpt-oss:120b-cloud") is None


def test_distilling_with_claude_needs_permission():
    assert find("claude").status is Status.RESTRICTED
    assert any("anthropic.com/legal" in source for source in find("claude").sources)


NOTE = """\
claude:
  status: restricted
  note: Twenty characters of a note at the least.
  sources: [https://example.org/terms]
  date: 2026-10-01
"""


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (("restricted", "maybe"), r"terms\.yml: claude\.status: Input should be 'restricted', 'allowed', 'model-dep"),
        (("[https://example.org/terms]", "[]"), r"terms\.yml: claude\.sources: Tuple should have at least 1 item"),
        (("https://example", "http://example"), r"claude\.sources\[0\]: String should match pattern"),
        (("Twenty characters of a note at the least.", "Fine."), r"claude\.note: String should have at least 20"),
        (("2026-10-01", "lately"), r"claude\.date: Input should be a valid date"),
        (("status:", "state:"), r"claude\.status: Field required\n.*claude\.state: Extra inputs are not permitted"),
        (("  date", "claude:\n  date"), r"terms\.yml:5:1: claude is given twice"),
    ],
)
def test_what_is_wrong_in_a_note_is_said_with_file_and_key(tmp_path, wrong, message):
    path = tmp_path / "terms.yml"
    assert wrong[0] in NOTE
    path.write_text(NOTE.replace(*wrong))
    with pytest.raises(InputError, match=message):
        load(path)
