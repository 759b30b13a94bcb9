"""The page in a real browser: 10,000 leaks, filters, keyboard, and hostile texts that do nothing."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from stateguard.leak import SEVERITIES, RequestInfo
from stateguard.report.html import render, row
from stateguard.report.jsonl import JsonLines
from stateguard.report.merge import Merged
from tests.alarm.browser import Page, chromium
from tests.alarm.leaks import hostile, leak
from tests.run.command import BIN

pytestmark = pytest.mark.timeout(110)
MANY = 10_000
COUNT = "document.querySelectorAll('.row').length"
TITLE = "document.querySelector('#detail h2').textContent"
SHOWN = "document.getElementById('shown').textContent"


def _merged() -> Merged:
    merged = Merged()
    worst = leak(
        "shop.chat.HISTORY",
        severity="critical",
        in_flight=tuple(RequestInfo(f"r{i}", "http", "GET", f"/other/{i}", 1000.1) for i in range(30)),
    )
    merged.add(worst, 7, "one")
    merged.add(hostile(), 9_000_000, "one")
    suspects = tuple(RequestInfo(f"s{i}", "http", "GET", f"/maybe/{i}", 1000.1) for i in range(100))
    cut = leak("shop.CUT", severity="note", request=None, confidence="suspected", suspects=suspects)
    merged.add(replace(cut, suspect_count=2743, suspect_count_exact=False), 1, "one")
    few = leak("shop.FEW", severity="note", request=None, confidence="suspected", suspects=suspects[:3])
    merged.add(few, 1, "one")
    for number in range(MANY - 4):
        severity = SEVERITIES[number % 3]
        confidence = "suspected" if number % 2 else "exact"
        merged.add(leak(f"shop.N{number}", severity=severity, confidence=confidence), number + 1, "one")
    return merged


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    directory = tmp_path_factory.mktemp("page")
    (directory / "report.html").write_text(render(_merged().worst_first()), "utf-8")
    with chromium(directory / "profile") as page:
        page.open(directory / "report.html")
        yield page


@pytest.fixture(autouse=True)
def _fresh(request: pytest.FixtureRequest) -> None:
    if "page" in request.fixturenames:
        page: Page = request.getfixturevalue("page")
        page.key("Escape")


def _search(page: Page, words: str) -> None:
    page.js(f"search.value = {words!r}; search.dispatchEvent(new Event('input'))")


def test_ten_thousand_leaks_are_listed_worst_first_and_few_are_drawn(page: Page) -> None:
    assert page.js("document.querySelectorAll('.tile b')[0].textContent") == "1"
    assert "of 10,000 distinct leaks" in page.js(SHOWN)
    assert page.js(TITLE) == "shop.chat.HISTORY"
    assert 5 < page.js(COUNT) < 60
    page.js("list.scrollTop = 200000; list.dispatchEvent(new Event('scroll'))")
    assert 5 < page.js(COUNT) < 60


def test_the_swimlane_shows_who_wrote_and_who_could_read(page: Page) -> None:
    page.key("Home")
    assert page.js("document.querySelectorAll('.lane.guilty').length") == 1
    assert page.js("document.querySelectorAll('.lane.reader').length") == 15
    assert "15 more requests were in flight" in page.js("document.getElementById('detail').textContent")


def test_those_in_flight_that_are_not_listed_are_counted() -> None:
    merged = Merged()
    some = tuple(RequestInfo(f"r{n}", "http", "GET", f"/{n}", 1000.0) for n in range(100))
    told = row(merged.add(leak("shop.MANY", in_flight=some, in_flight_count=250), 1, "one"))
    assert len(told["lanes"]) == 16, "the guilty one and 15 others"
    assert told["more"] == 235


def test_that_not_all_suspects_are_drawn_is_said(page: Page) -> None:
    page.js("on.add('note')")
    _search(page, "shop.CUT")
    told = page.js("document.getElementById('detail').textContent")
    assert "one of about 2,743 requests; 16 of them are drawn, the guilty one may be another" in told
    assert "more requests were in flight" not in told
    _search(page, "shop.FEW")
    assert page.js("document.querySelectorAll('.lane.suspect').length") == 3
    assert "are drawn" not in page.js("document.getElementById('detail').textContent")
    page.js("on.delete('note')")
    _search(page, "")


def test_search_filters_and_order(page: Page) -> None:
    _search(page, "shop.N42 appended")
    assert page.js("shown.length") == sum(
        "n42" in f"n{i}" and i % 3 > 0 for i in range(MANY - 4) if f"n{i}".startswith("n42")
    )
    _search(page, "")
    page.js("$('order').value = 'count'; $('order').dispatchEvent(new Event('change'))")
    assert page.js("shown[0].count") == 9_000_000
    page.js("$('confidence').value = 'suspected'; $('confidence').dispatchEvent(new Event('change'))")
    assert page.js("shown.every((l) => l.confidence === 'suspected')")
    page.js("$('confidence').value = ''; $('order').value = 'severity'; refresh()")


def test_the_keyboard_is_enough(page: Page) -> None:
    page.key("Home")
    first = page.js(TITLE)
    page.key("j")
    assert page.js(TITLE) != first
    page.key("k")
    assert page.js(TITLE) == first
    page.key("/")
    assert page.js("document.activeElement.id") == "search"
    page.key("Escape")
    before = page.js("shown.length")
    page.key("1")
    assert page.js("shown.length") == before - 1
    page.key("1")
    dark = page.js("document.documentElement.classList.contains('dark')")
    background = page.js("getComputedStyle(document.body).backgroundColor")
    page.key("t")
    assert page.js("document.documentElement.classList.contains('dark')") is not dark
    assert page.js("getComputedStyle(document.body).backgroundColor") != background


def test_hostile_texts_are_shown_and_do_nothing(page: Page) -> None:
    _search(page, "onerror")
    assert page.js("shown.length") == 1
    assert "<script>alert(1)</script>" in page.js(TITLE)
    assert page.js("document.querySelectorAll('img').length") == 0
    assert page.js("document.querySelectorAll('script').length") == 2
    assert (
        page.js(r"/[\x00-\x08\x1b\u2028\u202e]/.test(document.getElementById('detail').textContent)") is False
    )
    assert not [event for event in page.events if event["method"] == "Page.javascriptDialogOpening"]
    asked = [event["params"] for event in page.events if event["method"] == "Network.requestWillBeSent"]
    assert [one["request"]["url"].partition(":")[0] for one in asked] == ["file"]
    assert not [
        event for event in page.events if event["method"] in ("Log.entryAdded", "Runtime.exceptionThrown")
    ]
    assert len(page.screenshot()) > 10_000


def test_the_page_is_bounded_and_names_no_other_place() -> None:
    merged = Merged()
    merged.add(hostile(), 1, "one")
    text = render(merged.worst_first())
    assert len(text) < 100_000
    assert not re.findall(r"(?:src|href)\s*=", text.split('<script id="data"')[0])
    assert set(re.findall(r"[^ -~\n]", text)) <= set("−→×…·◐")


def test_the_command_writes_the_page(tmp_path: Path) -> None:
    JsonLines(tmp_path / "leaks").leak(leak(), 1)
    done = subprocess.run(
        [str(BIN / "stateguard"), "report", str(tmp_path / "leaks"), "--html", str(tmp_path / "page.html")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "1 distinct leak written" in done.stderr
    assert "app.HISTORY" in (tmp_path / "page.html").read_text("utf-8")


def test_no_leak_is_a_page_as_well(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text(render([]), "utf-8")
    with chromium(tmp_path / "profile") as page:
        page.open(tmp_path / "report.html")
        assert "No shared state was changed." in page.js("document.body.textContent")
