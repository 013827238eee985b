"""Prices: what a request costs, whose price counts, when a price is too old, and what is wrong in a file of them."""

from __future__ import annotations

import subprocess
import sys
from datetime import date

import pytest

from implementations.errors import InputError
from implementations.teachers import prices
from implementations.teachers.prices import FREE, Price, find, given, load

PAGE = """\
- provider: claude
  source: https://example.org/prices
  date: 2026-10-01
  currency: USD
  batch: 0.5
  models:
    tortoise: {input: 1, output: 5, cache_read: 0.1, cache_write: 1.25}
"""


def table(tmp_path, text):
    path = tmp_path / "prices.yml"
    path.write_text(text)
    return path


def tortoise(tmp_path, extra="") -> Price:
    return load(table(tmp_path, PAGE.replace("1.25}", "1.25" + extra + "}")))["claude"]["tortoise"]


def test_cost_of_a_request(tmp_path):
    price = tortoise(tmp_path)
    assert price.cost(1_000_000, 0) == 1
    assert price.cost(0, 1_000_000) == 5
    # Of a million prompt tokens 300,000 were read from the cache and 200,000 written to it.
    assert price.cost(1_000_000, 100_000, 300_000, 200_000) == pytest.approx(0.5 + 0.03 + 0.25 + 0.5)
    assert price.cost(1_000_000, 100_000, 300_000, 200_000, batch=True) == pytest.approx(0.64)


def test_where_the_discounts_of_a_job_and_of_a_cache_do_not_add_up(tmp_path):
    alone = PAGE.replace("batch: 0.5", "batch: 0.5\n  batch_cached: 1")
    price = load(table(tmp_path, alone))["claude"]["tortoise"]
    assert price.cost(1_000_000, 100_000, 300_000, 200_000, batch=True) == pytest.approx((0.5 + 0.25 + 0.5) / 2 + 0.03)
    assert price.cost(1_000_000, 0, 1_000_000) == price.cost(1_000_000, 0, 1_000_000, batch=True) == pytest.approx(0.1)


def test_another_location_costs_more(tmp_path, monkeypatch):
    only = "batch: 0.5\n  only_at: {location: global, elsewhere: 1.1, variable: TORTOISE_LOCATION}"
    path = table(tmp_path, PAGE.replace("batch: 0.5", only))
    monkeypatch.setattr(prices, "_table", lambda: load(path))

    def at(location: str) -> Price:
        monkeypatch.setenv("TORTOISE_LOCATION", location)
        return find("claude", "tortoise")

    here, there = at("global"), at("europe-west4")
    assert here == at("") and here.cost(1_000_000, 0) == 1
    assert here.note == "At the global endpoint; other locations cost 10% more."
    for batch in (False, True):
        tokens = (1_000_000, 100_000, 300_000, 200_000, batch)
        assert there.cost(*tokens) == pytest.approx(1.1 * here.cost(*tokens))
    assert there.note == f"{here.note} The price of europe-west4 is counted."
    assert tortoise(tmp_path).here().cost(1_000_000, 0) == 1  # whose page says nothing of places


def test_cached_tokens_without_a_price_of_their_own_cost_as_much_as_others():
    price = given(2, 8)
    assert price.cost(1_000_000, 0, 400_000, 600_000, batch=True) == 2


def test_a_long_prompt_has_its_own_rates_for_the_whole_request(tmp_path):
    price = tortoise(tmp_path, ", long: {above: 1000, input: 10, output: 50}")
    assert price.cost(1000, 1000) == pytest.approx(0.006)
    assert price.cost(1001, 1000) == pytest.approx(0.06001)


def test_an_old_price_and_one_past_its_term_are_used_with_a_warning(tmp_path):
    price = tortoise(tmp_path, ", until: 2026-12-31")
    assert price.age_days(date(2026, 12, 30)) == 90 and price.warning(date(2026, 12, 30)) is None
    old = tortoise(tmp_path)
    assert old.warning(date(2026, 12, 31)) == (
        "the price of tortoise was read on 2026-10-01, 91 days ago; look at https://example.org/prices, "
        "or give --price-input and --price-output"
    )
    assert price.warning(date(2027, 1, 1)).startswith("the price of tortoise was promised until 2026-12-31 only; look")
    assert given(1, 2).warning(date(2040, 1, 1)) is None


@pytest.mark.parametrize(
    ("platform", "model", "name"),
    [
        ("claude", "claude-haiku-4-5", "claude-haiku-4-5"),
        ("claude", "claude-haiku-4-5-20251001", "claude-haiku-4-5"),
        ("claude", "claude-opus-5-5", "claude-opus-5-5"),  # not claude-opus-5, which it begins with
        ("claude", "claude-opus-5-7", None),
        ("claude", "claude-haiku-4-5-turbo", None),
        ("claude", "claude-haiku", None),
        ("langchain", "anthropic:claude-sonnet-4-5-20250929", "claude-sonnet-4-5"),
        ("langchain", "openai:gpt-4o-2024-08-06", "gpt-4o"),
        ("langchain", "openai:gpt-4o-mini", "gpt-4o-mini"),
        ("langchain", "openai:gpt-4o-audio-preview", None),
        ("langchain", "openai:gpt-5.9", None),
        ("langchain", "mistralai:mistral-large", None),
        ("langchain", "local:gpt-4o", None),
        ("langchain", "gpt-4o", None),  # no provider named
        ("vertex", "gemini-3.5-flash-001", "gemini-3.5-flash"),
        ("bedrock", "us.anthropic.claude-haiku-4-5-20251001-v1:0", "us.anthropic.claude-haiku-4-5"),
        ("bedrock", "global.anthropic.claude-haiku-4-5-20251001-v1:0", "global.anthropic.claude-haiku-4-5"),
        ("bedrock", "amazon.nova-lite-v1:0", "amazon.nova-lite"),
        ("bedrock", "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-lite-v1:0", "amazon.nova-lite"),
        ("bedrock", "claude-haiku-4-5", None),  # another platform's name and price
        ("claude", "gpt-4o", None),
    ],
)
def test_whose_price_counts(platform, model, name):
    price = find(platform, model)
    assert (price and price.model) == name


def test_the_longest_name_counts(tmp_path, monkeypatch):
    path = table(tmp_path, PAGE + "    tortoise-20260101: {input: 9, output: 9}\n")
    monkeypatch.setattr(prices, "_table", lambda: load(path))
    assert find("claude", "tortoise-20260101").model == "tortoise-20260101"
    assert find("claude", "tortoise-20260101-v1").model == "tortoise-20260101"
    assert find("claude", "tortoise-20260202").model == "tortoise"


def test_what_runs_on_ones_own_machine_is_free_and_nothing_else_is_assumed_to_be():
    assert find("local", "anything") is FREE and find("ollama", "qwen3:8b") is FREE
    assert find("langchain", "ollama:qwen3:8b") is FREE
    assert FREE.cost(10**9, 10**9) == 0
    assert find("ollama", "gpt-oss:120b-cloud") is None  # on Ollama's servers
    for platform, model in (("langchain", "openai:gpt-4o"), ("claude", "claude-haiku-4-5")):
        assert find(platform, model, endpoint="http://localhost:8000/v1") is None


def test_the_table_that_ships():
    pages = prices._table()
    assert set(pages) == {"claude", "openai", "vertex", "bedrock"}
    for provider in pages.values():
        for price in provider.values():
            assert price.date <= date.today()
            assert price.rates.input < price.rates.output
            assert (price.rates.cache_read or 0) < price.rates.input
            assert price.batch == 0.5
            if price.rates.long:
                assert price.rates.long.input > price.rates.input


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (("input: 1,", "input: -1,"), r"prices\.yml: \[0\]\.models\.tortoise\.input: Input should be greater than 0"),
        (("input: 1,", "input: nan,"), r"\.input: Input should be a finite number|\.input: Input should be greater"),
        (("input: 1,", "input: cheap,"), r"\[0\]\.models\.tortoise\.input: Input should be a valid number"),
        (("input: 1,", "imput: 1,"), r"tortoise\.input: Field required\n.*tortoise\.imput: Extra inputs"),
        (("https://", "http://"), r"\[0\]\.source: String should match"),
        (("USD", "EUR"), r"\[0\]\.currency: Input should be 'USD'"),
        (("2026-10-01", "October"), r"\[0\]\.date: Input should be a valid date"),
        (("  batch: 0.5", "  only_at: {location: global}"), r"\[0\]\.only_at\.elsewhere: Field required"),
        (
            ("  batch: 0.5", "  only_at: {location: global, elsewhere: 0.9, variable: X}"),
            r"elsewhere: Input should be greater than 1",
        ),
        (("batch: 0.5", "batch: 50"), r"\[0\]\.batch: Input should be less than or equal to 1"),
        (("  batch: 0.5", "  date: 2026-10-02"), r"prices\.yml:5:3: date is given twice"),
        (("1.25}", "1.25"), r"prices\.yml:8:1: expected"),
    ],
)
def test_what_is_wrong_in_a_table_is_said_with_file_and_key(tmp_path, wrong, message):
    assert wrong[0] in PAGE
    with pytest.raises(InputError, match=message):
        load(table(tmp_path, PAGE.replace(*wrong)))


def test_a_model_priced_twice(tmp_path):
    with pytest.raises(InputError, match=r"prices\.yml: \[1\]\.models\.tortoise: claude has it already; keep one"):
        load(table(tmp_path, PAGE + PAGE))


def test_needs_neither_torch_nor_a_sdk():
    code = """
import sys
from implementations.teachers import prices
prices.find("claude", "claude-haiku-4-5")
print(*{"torch", "anthropic", "google.genai", "boto3", "langchain", "ollama"} & set(sys.modules))
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "\n"
