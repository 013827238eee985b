"""Break-even and results as a person uses them, in Chromium. The rules that every page keeps are in test_browser.py."""

from __future__ import annotations

import re

import pytest
from browsing import Open
from builder_samples import real_catalogue
from playwright.sync_api import expect

from builder import payback

RECORDS = [m for m in real_catalogue().records if not m.record.smoke]


def test_break_even_follows_the_form_and_its_address_can_be_shared(address: str, opened: Open) -> None:
    """The example is worked out as in the table; other figures change the answer, the command and the address."""
    page = opened(f"{address}payback.html")
    months = payback.worked(payback.teachers()[payback.EXAMPLE_TEACHER][1])[1 + payback.VOLUMES.index(200_000)]
    answer = page.locator("#dp-answer")
    expect(answer).to_contain_text(f"after {months} months")
    assert "?" not in page.url
    row = page.locator(".dp-teachers tbody tr", has=page.get_by_text(payback.EXAMPLE_TEACHER, exact=True))
    expect(row.locator("td").all()[-2]).to_have_text(months)

    page.locator("[name=monthly_requests]").fill("20000")
    expect(answer).to_have_text("It never pays back; 12 months are accepted. no-go")
    expect(page.locator("#dp-command code")).to_contain_text("--monthly-requests 20000 ")
    again = opened(page.url)
    expect(again.locator("[name=monthly_requests]")).to_have_value("20000")
    expect(again.locator("#dp-answer")).to_contain_text("never")
    again.get_by_role("button", name="Start again").click()
    expect(again.locator("#dp-answer")).to_contain_text(f"after {months} months")
    expect(again).to_have_url(re.compile(r"payback\.html$"))


def test_break_even_at_a_price_of_ones_own_and_without_a_number(http: str, opened: Open) -> None:
    page = opened(f"{http}payback.html?teacher=own&price_input=6&price_output=30")
    expect(page.locator("#dp-steps")).to_contain_text("$0.00690")  # twice the example's
    expect(page.locator("#dp-command code")).to_contain_text("--price-input 6 --price-output 30 ")
    page.locator("[name=completion_tokens]").fill("")
    expect(page.locator("#dp-answer")).to_contain_text("a number is missing")
    page.locator("[name=teacher]").select_option(payback.EXAMPLE_TEACHER)
    expect(page.locator("[name=price_input]")).to_be_hidden()


def test_an_odd_address_of_break_even_does_no_harm(http: str, opened: Open) -> None:
    page = opened(f"{http}payback.html?teacher=nobody&monthly_requests=x&serving_usd=%3Cb%3E1&volume_off=900")
    expect(page.locator("#dp-answer")).to_contain_text("a number is missing or cannot be")
    expect(page.locator("[name=teacher]")).to_have_value(payback.EXAMPLE_TEACHER)


@pytest.mark.parametrize("scripts", [True, False])
def test_every_point_leads_to_its_record(scripts: bool, http: str, opened: Open) -> None:
    page = opened(f"{http}results.html", scripts=scripts)
    assert page.locator("a.dp-result").count() == page.locator("tr[data-result]").count() == len(RECORDS) > 0
    page.locator(".dp-chart__point").last.click()
    page.wait_for_url("**/patterns/*.html#*")
    anchor = page.url.partition("#")[2]
    expect(page.locator(f"h3[id='{anchor}']")).to_be_visible()


def test_a_filter_of_results_leaves_their_rows_and_points(address: str, opened: Open) -> None:
    page = opened(f"{address}results.html")
    pattern = page.locator("[name=pattern]")
    slug = RECORDS[0].record.pattern
    pattern.select_option(slug)
    left = sum(m.record.pattern == slug for m in RECORDS)
    expect(page.locator("#dp-count")).to_have_text(f"{left} of {len(RECORDS)} records")
    expect(page.locator("tr[data-result]:visible")).to_have_count(left)
    expect(page.locator(".dp-chart__point:visible")).to_have_count(left)
    assert page.url.endswith(f"?pattern={slug}")


def test_without_scripts_break_even_is_a_table_and_a_command(http: str, opened: Open) -> None:
    page = opened(f"{http}payback.html", scripts=False)
    expect(page.locator("#dp-payback")).to_be_hidden()
    assert page.locator(".dp-teachers tbody tr:visible").count() == len(payback.teachers())
    expect(page.get_by_text("distill check sequence-level")).to_be_visible()
