"""The site as a person uses it, in Chromium: phone and desktop, light and dark, with and without scripts, over http and
from disk. Whatever a test opens, it fails if the page asked another host for anything, went against its own policy or
put an error on the console."""

from __future__ import annotations

import json
import re
import threading
from functools import partial
from pathlib import Path

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from browsing import DESKTOP, PHONE, SHEET, ZOOMED, Halting, Open, served, titles
from builder_samples import real_catalogue
from playwright.sync_api import Page, expect

from builder.prose import plain
from builder.render import render
from implementations.registry import PLATFORMS

CATALOGUE = real_catalogue()
MANY = re.compile(r"(patterns|glossary)/(?!index\.md)")
PAGES = [  # one of each kind
    *(name.replace(".md", ".html") for name in render(CATALOGUE) if name.endswith(".md") and not MANY.match(name)),
    *("patterns/sequence-level.html", "glossary/temperature.html", "404.html"),
]


def wide(page: Page) -> int:
    """How far the page reaches beyond the window, in pixels."""
    return page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


LATER = """[...document.querySelectorAll("article > *")]
  .filter(e => getComputedStyle(e).contentVisibility !== "visible").length"""
"""How many blocks are not laid out before they come near the window."""
LAY_OUT = "document.documentElement.classList.remove('dp-later')"
SHIFTS = """window.shifts = []
const told = entry => `${entry.value}: ${entry.sources.map(source => source.node?.outerHTML)}`
new PerformanceObserver(list => shifts.push(...list.getEntries().map(told))).observe({ type: "layout-shift" })"""

TORN = """[...document.querySelectorAll("article *")]
  .filter(e => /flex|grid/.test(getComputedStyle(e).display))
  .filter(e => [...e.childNodes].some(node => node.nodeType === Node.TEXT_NODE && node.data.trim()))
  .map(e => e.outerHTML)"""
"""Texts whose words part where one is marked, for each piece of such a box stands by itself."""

SETTLE = """() => {
  for (let round = 0; document.getAnimations().length; round++) {
    if (round === 50) throw new Error("the page never comes to rest")
    document.getAnimations().forEach(animation => animation.finish())
  }
}"""
"""Ends the theme's fading of colours, and what fades after it: what inherits a colour begins when that is there."""

DRAWN = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"


def violations(page: Page, rules: list[str] | None = None) -> list[str]:
    # No rule that axe runs here reads the style sheets themselves, which it would else load and take apart each time.
    options = {"resultTypes": ["violations"], "preload": False, **({"runOnly": rules} if rules else {})}
    found = page.evaluate(f"axe.run({json.dumps(options)}).then(result => result.violations)")
    return [f"{v['id']}: {node['target']}: {node['failureSummary']}" for v in found for node in v["nodes"]]


# ------------------------------------------------------------------------------------------------ every page


SCHEMES = {"light": "default", "dark": "slate"}
COLOURS = ["color-contrast", "link-in-text-block"]


@pytest.mark.parametrize("name", PAGES)
def test_every_kind_of_page_is_sound(name: str, http: str, opened: Open) -> None:
    """Never wider than the window, nor on paper than a sheet; and axe finds nothing, by all rules on a light desktop
    and a dark phone, by those about colours on the other two as well."""
    page = opened(http + name)
    page.evaluate(LAY_OUT)
    page.evaluate(AXE_SCRIPT)
    assert page.locator("h1").count() == 1
    assert page.evaluate(TORN) == []
    for size, scheme, rules in (
        (DESKTOP, "light", None),
        (DESKTOP, "dark", COLOURS),
        (PHONE, "dark", None),
        (PHONE, "light", COLOURS),
    ):
        page.set_viewport_size({"width": size[0], "height": size[1]})
        page.emulate_media(color_scheme=scheme)
        expect(page.locator("body")).to_have_attribute("data-md-color-scheme", SCHEMES[scheme])
        page.evaluate(SETTLE)
        assert wide(page) == 0
        assert violations(page, rules) == [], (size, scheme)
    page.set_viewport_size({"width": ZOOMED[0], "height": ZOOMED[1]})
    assert wide(page) == 0
    page.set_viewport_size({"width": SHEET[0], "height": SHEET[1]})
    page.emulate_media(media="print")
    assert wide(page) == 0, "cut off on paper"


def test_axe_finds_what_is_wrong(http: str, opened: Open) -> None:
    page = opened(http)
    page.evaluate(AXE_SCRIPT)
    page.evaluate("document.querySelector('article').insertAdjacentHTML('beforeend', '<img src=assets/mark.svg>')")
    assert [v.split(":")[0] for v in violations(page)] == ["image-alt"]


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "plain"])
def test_every_kind_of_page_opens_from_disk(scripts: bool, real: Path, opened: Open) -> None:
    page = opened(f"{real.as_uri()}/index.html", PHONE, "dark", scripts)
    for name in PAGES:
        if name != "404.html":  # that one is for servers: its addresses begin at their root
            page.goto(f"{real.as_uri()}/{name}")
            assert page.locator("h1").is_visible()
            assert page.locator("body").evaluate("e => getComputedStyle(e).fontFamily") != "serif", "no style"
            page.evaluate(LAY_OUT)
            assert wide(page) == 0, name


def test_policy_stops_what_a_page_does_not_need(http: str, opened: Open) -> None:
    page = opened(http)
    page.evaluate("""async () => {
        window.stopped = []
        document.addEventListener("securitypolicyviolation", event => stopped.push(event.effectiveDirective))
        const hostile = "<p id=marked style='color: red' onclick='window.ran = true'>x</p>"
        document.body.insertAdjacentHTML("beforeend", hostile)
        document.body.append(Object.assign(document.createElement("script"), { textContent: "window.ran = true" }))
        document.body.append(Object.assign(new Image(), { src: "https://example.org/pixel.png" }))
        await fetch("https://example.org/").catch(() => {})
        document.getElementById("marked").click()
    }""")
    page.wait_for_function("stopped.length >= 5")
    kinds = {"script-src-elem", "script-src-attr", "style-src-attr", "img-src", "connect-src"}
    assert set(page.evaluate("stopped")) == kinds
    assert page.evaluate("window.ran") is None
    assert len(opened.troubles) >= len(kinds)  # every test fails of such
    opened.troubles.clear()


def test_every_page_carries_the_policy(real: Path) -> None:
    for path in real.rglob("*.html"):
        head = path.read_text("utf-8").split("</head>")[0]
        policy = re.search(r'<meta http-equiv="Content-Security-Policy" content="([^"]+)">', head)
        assert policy and "default-src 'none'" in policy[1] and "unsafe" not in policy[1], path
        loads = [m.start() for m in re.finditer(r"<(?:script|link|style)\b", head)]
        assert policy.start() < min(loads, default=policy.start() + 1), path


def test_another_name_leads_to_the_page(real: Path, http: str, opened: Open) -> None:
    redirect = next(p for p in sorted(real.glob("glossary/*.html")) if 'http-equiv="refresh"' in p.read_text("utf-8"))
    page = opened(f"{http}glossary/{redirect.name}")
    page.wait_for_url(lambda url: not url.endswith(redirect.name))
    assert page.locator("h1").inner_text()


# ------------------------------------------------------------------------------------ while a page is opened


@pytest.mark.parametrize(
    ("size", "mark"), [(PHONE, 'for="__search"'), (DESKTOP, 'for="__search"'), (DESKTOP, 'class="md-search"')]
)
def test_header_keeps_the_room_of_what_has_not_come(size: tuple[int, int], mark: str, real: Path, opened: Open) -> None:
    """What is drawn of it before its search has come stays where it is when that comes."""
    rest = threading.Event()
    with served(real, partial(Halting, mark=mark.encode(), rest=rest)) as address:
        page = opened(address, size, first=SHIFTS, until="commit")
        page.wait_for_function("() => performance.getEntriesByName('first-contentful-paint').length")
        assert page.locator(".md-search").count() == 0
        rest.set()
        page.wait_for_load_state()
        page.evaluate(DRAWN)
        assert page.evaluate("shifts") == []


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_what_is_laid_out_later_moves_nothing_and_is_found_and_printed(
    size: tuple[int, int], http: str, opened: Open
) -> None:
    page = opened(f"{http}patterns/sequence-level.html", size, first=SHIFTS)
    assert page.evaluate(LATER) > 20
    last = page.locator("article > .dp-pair p").last
    laid_out = "e => e.checkVisibility({ contentVisibilityAuto: true })"
    page.mouse.move(size[0] / 2, size[1] / 2)
    for _ in range(10):
        page.mouse.wheel(0, size[1])
        page.evaluate(DRAWN)
    assert page.evaluate("scrollY") > 0 and page.evaluate("shifts") == []

    assert not last.evaluate(laid_out)
    assert page.evaluate("text => find(text)", last.text_content().strip()[-25:])
    assert last.evaluate(laid_out)
    expect(last).to_be_in_viewport()
    page.emulate_media(media="print")
    assert page.evaluate(LATER) == 0


def test_all_is_laid_out_where_a_place_on_the_page_is_named(http: str, opened: Open) -> None:
    for place in ("references", "version-1.0.0", "latency"):
        page = opened(f"{http}patterns/sequence-level.html#{place}", PHONE)
        assert page.evaluate(LATER) == 0
        expect(page.locator(f"[id='{place}']")).to_be_in_viewport()
    page = opened(f"{http}patterns/sequence-level.html", DESKTOP)
    assert page.evaluate(LATER) > 20
    page.locator(".md-sidebar--secondary").get_by_role("link", name="Version history").click()
    assert page.evaluate(LATER) == 0
    expect(page.locator("#version-history")).to_be_in_viewport()


# --------------------------------------------------------------------------------------------------- chooser


def test_chooser_ranks_explains_and_can_be_shared(address: str, opened: Open) -> None:
    page = opened(f"{address}choose.html")
    fits = page.locator("#dp-ranking .dp-fit__title")
    assert fits.count() == len(CATALOGUE.patterns)
    assert page.locator("#dp-choose fieldset").count() <= 7

    page.get_by_label("Its answers and nothing else").check()
    assert "teacher_access=" in page.url
    expect(page.locator("#dp-state")).to_contain_text("1 of ")
    first = page.locator("#dp-ranking .dp-fit").first
    reason = first.locator(".dp-fit__reason").first
    assert first.locator("details").get_attribute("open") is not None
    expect(reason).to_contain_text("Its answers and nothing else")

    told = titles(fits)
    again = opened(page.url, PHONE, "dark")
    assert titles(again.locator("#dp-ranking .dp-fit__title")) == told
    assert again.get_by_label("Its answers and nothing else").is_checked()

    reason.get_by_role("link").last.click()
    page.wait_for_url(re.compile(r"/patterns/[\w-]+\.html#when-(not-)?to-use-\d+$"))
    page.go_back()
    page.get_by_role("button", name="Start again").click()
    expect(page.locator("#dp-state")).to_have_text("Nothing answered yet.")
    assert "?" not in page.url


def test_chooser_says_when_nothing_fits_and_what_to_do_then(address: str, opened: Open) -> None:
    """Nobody is sent to a pattern that has reasons against it, nor told that one of two equals is the better."""
    page = opened(f"{address}choose.html?gold_labels=plentiful&teacher_access=none&serving_need=low_volume")
    expect(page.locator(".dp-ranking__title")).to_have_text("No pattern fits")
    expect(page.locator("#dp-state")).to_contain_text("No pattern fits")
    assert page.locator("#dp-ranking .dp-advice").count() == 3
    page = opened(f"{address}choose.html?teacher_access=weights&gold_labels=scarce&teacher_advantage=clear")
    expect(page.locator("#dp-state")).to_contain_text("First: ")
    assert page.locator("#dp-ranking .dp-advice").count() == 0
    places = [int(title.split(".")[0]) for title in titles(page.locator("#dp-ranking .dp-fit__title"))]
    assert places == sorted(places) and len(set(places)) < len(places)
    only = page.locator("#dp-ranking .dp-fit__only")
    assert only.count() == sum(bool(pattern.presupposes) for pattern in CATALOGUE.patterns.values()) > 0


def test_chooser_without_scripts_is_its_tables(address: str, opened: Open) -> None:
    page = opened(f"{address}choose.html", scripts=False)
    assert not page.locator("#dp-choose").is_visible()
    assert page.locator("noscript p").is_visible()
    tables = page.locator("table.dp-criteria")
    assert tables.count() == len(CATALOGUE.vocabulary.dimensions)
    assert tables.first.locator("tbody tr").count() == len(CATALOGUE.patterns)
    page.locator("details:has(table.dp-criteria) summary").first.click()
    assert tables.first.is_visible() and not tables.last.is_visible()


# ---------------------------------------------------------------------------------------- tables of patterns


def test_table_is_filtered_sorted_and_shared(address: str, opened: Open) -> None:
    page = opened(f"{address}patterns/index.html")
    rows = page.locator("#dp-patterns tbody tr")
    names = rows.locator("visible=true").locator("th a").first.locator("xpath=ancestor::tbody//tr[not(@hidden)]/th/a")
    every = titles(names)
    assert len(every) == len(CATALOGUE.patterns)

    page.get_by_label("Needs at most").select_option("text")
    text_only = titles(names)
    assert 0 < len(text_only) < len(every)
    expect(page.locator("#dp-count")).to_have_text(f"{len(text_only)} of {len(every)} patterns")
    page.get_by_label("Order").select_option("kept")
    assert page.url.endswith("?needs=text&sort=kept")
    kept = [float(row.get_attribute("data-kept") or -1) for row in rows.all() if row.is_visible()]
    assert kept == sorted(kept, reverse=True)

    again = opened(page.url, PHONE, "dark")
    assert titles(again.locator("#dp-patterns tbody tr:not([hidden]) th a")) == titles(names)
    page.get_by_role("button", name="Show all").click()
    expect(page.locator("#dp-count")).to_have_text(f"{len(every)} of {len(every)} patterns")
    assert titles(names) == every and "?" not in page.url


def test_table_without_scripts_has_every_row_and_no_form(address: str, opened: Open) -> None:
    page = opened(f"{address}patterns/index.html", scripts=False)
    assert not page.locator("#dp-filter").is_visible()
    rows = page.locator("#dp-patterns tbody tr").all()
    assert len(rows) == len(CATALOGUE.patterns) and all(row.is_visible() for row in rows)


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "plain"])
def test_matrix_leads_to_the_command(scripts: bool, address: str, opened: Open) -> None:
    """From disk and without scripts the tab is the first one: only a script can read the address."""
    page = opened(f"{address}matrix.html", scripts=scripts)
    cells = page.locator(".dp-matrix tbody td")
    assert cells.count() == len(CATALOGUE.patterns) * len(PLATFORMS)
    assert set(titles(cells)) <= {"direct", "bridged", "not yet"} and "bridged" in titles(cells)
    page.get_by_role("link", name="Response-based distillation on Claude: bridged").click()
    page.wait_for_url(re.compile(r"/patterns/response-based\.html#__tabbed_1_\d$"))
    command = page.locator(".tabbed-block:visible .highlight code").first.inner_text()
    assert "distill" in command and ("claude:" in command or not scripts)


def test_compare_shows_up_to_four_and_can_be_shared(address: str, opened: Open) -> None:
    page = opened(f"{address}compare.html")
    heads = page.locator("#dp-side thead th:not([hidden])")
    assert heads.count() == len(CATALOGUE.patterns)
    boxes = page.locator("#dp-compare [name=pattern]")
    chosen = [boxes.nth(i).get_attribute("value") for i in range(4)]
    for i in range(4):
        boxes.nth(i).check()
    assert [h.get_attribute("data-pattern") for h in heads.all()] == chosen
    assert boxes.nth(4).is_disabled() and page.url.count("pattern=") == 4
    assert page.locator("#dp-side tbody tr").first.locator("td:not([hidden])").count() == 4

    again = opened(page.url, PHONE, "dark")
    assert titles(again.locator("#dp-side thead th:not([hidden])")) == titles(heads)
    page.get_by_role("button", name="Show all").click()
    expect(page.locator("#dp-count")).to_have_text(f"all {len(CATALOGUE.patterns)} shown")
    assert heads.count() == len(CATALOGUE.patterns)


def test_relations_are_drawn_and_listed(address: str, opened: Open) -> None:
    page = opened(f"{address}relations.html", scripts=False)
    maps = page.locator(".dp-diagram--map svg[role=img]")
    assert maps.count() >= 3
    for drawn in maps.all():
        assert drawn.is_visible() and " " in drawn.get_attribute("aria-label")
    frames = page.locator(".dp-diagram--map .dp-diagram__frame")
    assert len({frame.get_attribute("aria-label") for frame in frames.all()}) == maps.count()
    page.locator(".dp-related").get_by_role("link").first.click()
    page.wait_for_url(re.compile(r"/patterns/[\w-]+\.html$"))


# ---------------------------------------------------------------------------------------- search and glossary


@pytest.mark.parametrize(
    ("words", "page_found"),
    [
        ("production logs", "patterns/production-logs.html"),  # a title
        ("teacher-written fine-tuning data", "patterns/sequence-level.html"),  # another name of a pattern
        ("temperature", "glossary/temperature.html"),  # a term
        ("dark knowledge", None),  # another name of a term, or its own page
    ],
)
def test_search_has_titles_aliases_and_terms_first(
    words: str, page_found: str | None, address: str, opened: Open
) -> None:
    page = opened(f"{address}index.html")
    page.keyboard.press("/")
    expect(page.locator(".md-search-result__meta")).to_have_text("Type to start searching")
    page.keyboard.insert_text(words)  # at once: typed, each letter asks anew, and what Enter takes depends on the haste
    page.keyboard.press("End")
    first = page.locator(".md-search-result__item").first.locator("a").first
    found = page_found or next(
        f"glossary/{slug}.html"
        for slug, term in CATALOGUE.terms.items()
        if words in (plain(term.term).lower(), *(alias.lower() for alias in term.aliases))
    )
    expect(first).to_have_attribute("href", re.compile(re.escape(found)))
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(re.escape(found)))


SEARCH = """() => performance.getEntriesByType("resource").map(e => e.name.split("/").pop())
  .filter(name => name.includes("search"))"""
"""What was loaded for it."""


def test_search_is_loaded_when_the_reader_turns_to_it(http: str, opened: Open) -> None:
    page = opened(f"{http}patterns/sequence-level.html")
    page.wait_for_function("window.component$ !== undefined")
    page.wait_for_load_state("networkidle")
    assert page.evaluate(SEARCH) == []
    page.locator(".md-search__input").hover()
    page.wait_for_function(f"() => ({SEARCH})().length === 2")  # the index and the worker's script


def test_what_was_searched_is_marked_in_the_page_found(http: str, opened: Open) -> None:
    page = opened(f"{http}patterns/sequence-level.html?h=perplexity+teacher")
    expect(page.locator("article mark").first).to_have_text(re.compile("teacher|perplexity", re.I))


def test_search_goes_on_where_any_word_may_follow(http: str, opened: Open) -> None:
    """After a hyphen every word of the index is one that begins so; the search worker warns if it stumbles over one."""
    page = opened(http)
    page.keyboard.press("/")
    expect(page.locator(".md-search-result__meta")).to_have_text("Type to start searching")
    page.keyboard.type("teacher-")
    expect(page.locator(".md-search-result__meta")).to_contain_text("matching documents")


def test_a_term_tells_its_meaning_to_pointer_and_keys(address: str, opened: Open) -> None:
    page = opened(f"{address}patterns/sequence-level.html")
    link = page.locator("article a[href*='glossary/teacher-model.html']").first
    meaning = plain(CATALOGUE.terms["teacher-model"].short)
    tooltip = page.get_by_role("tooltip")
    link.scroll_into_view_if_needed()
    link.hover()
    expect(tooltip).to_contain_text(meaning)
    page.mouse.move(0, 0)
    expect(tooltip).to_have_count(0)
    assert link.get_attribute("title") == meaning
    link.focus()
    expect(tooltip).to_contain_text(meaning)
    page.keyboard.press("Escape")
    expect(tooltip).to_have_count(0)
    link.hover()
    tooltip.hover()  # the pointer can reach it
    page.wait_for_timeout(400)
    expect(tooltip).to_contain_text(meaning)
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("teacher-model"))

    plain_page = opened(f"{address}patterns/sequence-level.html", scripts=False)
    assert plain_page.locator("article a[href*='teacher-model.html']").first.get_attribute("title") == meaning


def test_code_is_copied(http: str, opened: Open) -> None:
    page = opened(f"{http}patterns/sequence-level.html", permissions=["clipboard-read", "clipboard-write"])
    block = page.locator(".tabbed-block:visible .highlight").first
    block.scroll_into_view_if_needed()
    block.locator("[data-md-type=copy]").click()
    expect(page.get_by_text("Copied to clipboard")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()").strip() == block.locator("code").inner_text().strip()


@pytest.mark.parametrize("name", ["patterns/sequence-level", "claims", "references"])
def test_works_are_downloaded(name: str, http: str, real: Path, opened: Open) -> None:
    page = opened(f"{http}{name}.html")
    for kind, ending in (("BibTeX", ".bib"), ("CSL-JSON", ".csl.json")):
        with page.expect_download() as download:
            page.get_by_role("link", name=kind, exact=True).click()
        assert download.value.path().read_bytes() == (real / f"{name}{ending}").read_bytes()


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "plain"])
def test_every_platform_has_its_tab(scripts: bool, address: str, opened: Open) -> None:
    page = opened(f"{address}patterns/sequence-level.html", PHONE, scripts=scripts)
    tabs = page.locator(".tabbed-set").first
    for platform in PLATFORMS.values():
        tabs.locator(".tabbed-labels > label", has_text=platform.title).click()
        block = tabs.locator(".tabbed-block:visible")
        assert block.count() == 1
        assert "distill" in block.inner_text()


# -------------------------------------------------------------------------------------------------- keyboard


def test_keys_alone_are_enough(http: str, opened: Open) -> None:
    """To the content, through the chooser and to the page of the first pattern."""
    page = opened(f"{http}choose.html")
    page.keyboard.press("Tab")
    expect(page.locator(".md-skip")).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("#"))
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('article') !== null")

    radio = page.locator("#dp-choose input").first
    radio.focus()
    page.keyboard.press("ArrowDown")
    assert "=" in page.url
    why = page.locator("#dp-ranking summary").first
    before = page.locator("#dp-ranking details").first.get_attribute("open")
    why.focus()
    page.keyboard.press("Enter")
    assert page.locator("#dp-ranking details").first.get_attribute("open") != before
    page.locator("#dp-ranking .dp-fit__title a").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("patterns/"))


SEEN = """() => {
  const at = document.activeElement
  if (at === document.body) return "the page's end"
  if (at.closest(".md-search")) return "search" // it unfolds, and stays so
  const box = at.getBoundingClientRect(), header = document.querySelector(".md-header").getBoundingClientRect()
  if (!at.closest(".md-header, .md-skip") && box.height < innerHeight / 2 && box.top + box.height / 2 < header.bottom)
    return `not seen, under the header: ${at.outerHTML}`
  const near = [at, at.parentElement, at.nextElementSibling, ...(at.labels ?? [])].filter(Boolean)
  const looks = () => near.map(getComputedStyle).map(
    s => [s.outline, s.color, s.background, s.boxShadow, s.border, s.opacity, s.display, s.transform].join()).join()
  const focused = looks()
  at.blur()
  const same = looks() === focused
  at.focus({ focusVisible: true })
  return same ? `not seen: ${at.outerHTML}` : at.textContent + at.ariaLabel + at.name + at.value
}"""


@pytest.mark.parametrize(
    "name", ["choose.html", "patterns/index.html", "compare.html", "payback.html", "patterns/sequence-level.html"]
)
def test_focus_is_always_seen(name: str, http: str, opened: Open) -> None:
    """Wherever Tab leads, and back, nothing covers it, and the element, its label or what is around it looks other than
    when the focus is taken away."""
    page = opened(http + name)
    page.evaluate("document.styleSheets[0].insertRule('* { transition: none !important }')")
    stops = set()
    for key in ["Tab"] * 40 + ["Shift+Tab"] * 20:
        page.keyboard.press(key)
        stops.add(page.evaluate(SEEN))
    assert not [stop for stop in stops if stop.startswith("not seen")]
    assert len(stops) > 20


# ---------------------------------------------------------------------------------------- colours and paper


def test_colours_follow_the_system_and_the_choice_is_kept(address: str, opened: Open) -> None:
    page = opened(f"{address}index.html", scheme="dark")
    body = page.locator("body")
    expect(body).to_have_attribute("data-md-color-scheme", "slate")
    page.emulate_media(color_scheme="light")
    expect(body).to_have_attribute("data-md-color-scheme", "default")
    for _ in ("light", "dark"):
        page.locator(".md-header__option label").locator("visible=true").click()
    expect(body).to_have_attribute("data-md-color-scheme", "slate")
    page.goto(f"{address}patterns/sequence-level.html", wait_until="commit")
    page.wait_for_selector("article", state="attached")
    expect(body).to_have_attribute("data-md-color-scheme", "slate")


def test_the_theme_does_not_style_the_whole_page_anew(http: str, opened: Open) -> None:
    """It sets up neither colours nor tables, which theme.js and the templates do; see there."""
    page = opened(f"{http}patterns/sequence-level.html", PHONE, "dark")
    page.wait_for_function("window.component$ !== undefined")
    assert page.locator("meta[name=color-scheme], [data-md-component=palette]").count() == 0
    assert page.locator(".md-typeset__scrollwrap").count() == 0


def test_print_is_dark_on_light_and_leaves_out_what_only_a_screen_can_do(http: str, opened: Open) -> None:
    page = opened(f"{http}patterns/sequence-level.html", scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    for part in ("h1", ".dp-lead", ".dp-card__title", ".dp-tag", "article a", "article p", ".dp-diagram__svg text"):
        look = (
            page.locator(part)
            .locator("visible=true")
            .first.evaluate("e => { const s = getComputedStyle(e); return e.closest('svg') ? s.fill : s.color }")
        )
        red, green, blue = (int(float(n)) for n in re.findall(r"[\d.]+", look)[:3])
        assert 0.2126 * red + 0.7152 * green + 0.0722 * blue < 128, (part, look)
    assert not page.locator(".md-header").is_visible() and not page.locator(".md-sidebar").first.is_visible()
    blocks = page.locator(".tabbed-set").first.locator(".tabbed-block")
    assert all(block.is_visible() for block in blocks.all()) and blocks.count() == len(PLATFORMS)
    labels = page.locator(".tabbed-set").first.locator(".tabbed-labels > label")
    assert all(label.is_visible() for label in labels.all()) and labels.count() == len(PLATFORMS)
    listing = page.locator("details.dp-listing").first  # paper names the file
    assert listing.locator("summary").is_visible() and not listing.locator("pre").is_visible()
    assert len(page.pdf()) > 50_000

    page.goto(f"{http}choose.html")
    page.emulate_media(media="print")
    assert not page.locator("#dp-choose").is_visible()
    assert page.locator("table.dp-criteria").first.is_visible()
