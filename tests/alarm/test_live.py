"""The live page: never without its token, on both protocols, and in a real browser."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import pytest

from stateguard import Guard
from stateguard.errors import ConfigError
from stateguard.report.jsonl import JsonLines
from stateguard.report.live.feed import Feed
from stateguard.report.redis_stream import RedisStream
from tests.alarm import state
from tests.alarm.browser import chromium
from tests.alarm.leaks import hostile, leak
from tests.alarm.live_app import TOKEN, asgi_site, wsgi_site

Site = Callable[[Guard], AbstractContextManager[str]]
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def guard() -> Iterator[Guard]:
    one = Guard(watch=["tests.alarm.state"], process=False, on_leak=str)
    yield one
    one.close()
    state.HISTORY.clear()


@pytest.fixture(params=[asgi_site, wsgi_site], ids=["asgi", "wsgi"])
def site(request: pytest.FixtureRequest, guard: Guard) -> Iterator[str]:
    with request.param(guard) as url:
        yield url


def test_nothing_is_shown_without_the_token(site: str) -> None:
    httpx.get(f"{site}/chat?say=word-of-somebody").raise_for_status()
    for path in ("/stateguard/", "/stateguard/data", "/stateguard/data?since=0"):
        answer = httpx.get(site + path)
        assert answer.status_code == 401
        assert "HISTORY" not in answer.text
    answer = httpx.get(f"{site}/stateguard/data", headers={"Authorization": "Bearer wrong"})
    assert answer.status_code == 401
    cookies = {"Cookie": f"stateguard_live={TOKEN}"}
    assert httpx.get(f"{site}/stateguard/", headers=cookies).status_code == 401
    assert httpx.get(f"{site}/stateguard/other", headers=BEARER).status_code == 404
    assert httpx.put(f"{site}/stateguard/", headers=BEARER).status_code == 405


def test_the_form_lets_in_who_knows_the_token(site: str) -> None:
    with httpx.Client(base_url=site) as client:
        asked = client.get("/stateguard/")
        assert 'type="password"' in asked.text
        wrong = client.post("/stateguard/enter", data={"token": "x" * 20})
        assert (wrong.status_code, "set-cookie" in wrong.headers) == (403, False)
        right = client.post("/stateguard/enter", data={"token": TOKEN})
        assert (right.status_code, right.headers["location"]) == (303, "/stateguard/")
        cookie = right.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert "Path=/stateguard" in cookie
        assert TOKEN not in cookie
        page = client.get("/stateguard/")
        assert page.status_code == 200
        assert page.headers["cache-control"] == "no-store"
        client.get("/chat?say=word").raise_for_status()
        data = client.get("/stateguard/data").json()
        assert [one["path"] for one in data["leaks"]] == ["tests.alarm.state.HISTORY"]
        news = client.get("/stateguard/data", params={"since": data["version"]}).json()
        assert (news["whole"], news["leaks"]) == (False, [])
        assert client.head("/stateguard/").content == b""


def test_guessing_is_refused_after_ten_tries(site: str) -> None:
    for _ in range(12):
        answer = httpx.post(f"{site}/stateguard/enter", data={"token": "x" * 20})
        assert answer.status_code == 403
    assert httpx.post(f"{site}/stateguard/enter", data={"token": TOKEN}).status_code == 403


@pytest.mark.parametrize("body", [b"", b"token", b"token=%ff%00", b"x" * 100_000, b"&".join([b"a=b"] * 2000)])
def test_odd_forms_are_refused(site: str, body: bytes) -> None:
    assert httpx.post(f"{site}/stateguard/enter", content=body).status_code == 403


@pytest.mark.parametrize("token", ["", "short", None, 7, "\u00e9" * 20])
def test_a_weak_token_is_refused(guard: Guard, token: object) -> None:
    with pytest.raises(ConfigError, match="16 or more"):
        guard.dashboard(token=token)


def _wait(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_the_page_fills_by_itself(guard: Guard, tmp_path: Path) -> None:
    with asgi_site(guard) as url, chromium(tmp_path / "profile") as page:
        page.call("Network.enable")
        page.call("Log.enable")
        page.call("Page.navigate", url=f"{url}/stateguard/")
        _wait(lambda: page.js("!!document.querySelector('#token')"))
        page.js(f"token.value = {TOKEN!r}; document.forms[0].submit()")
        _wait(lambda: page.js("!!document.querySelector('#pulse') && pulse.textContent === 'live'"))
        assert page.js("document.body.textContent.includes('All quiet')")
        httpx.get(f"{url}/chat?say=the-words-of-one-user").raise_for_status()
        _wait(lambda: page.js("document.querySelectorAll('.row').length") == 1)
        assert page.js("document.querySelector('#detail h2').textContent") == "tests.alarm.state.HISTORY"
        # The browser's connection has a thread in this process, which may leave the request without proof.
        assert page.js("document.querySelectorAll('.lane.guilty, .lane.suspect').length") == 1
        assert "the-words-of-one-user" not in page.js("document.documentElement.outerHTML")
        httpx.get(f"{url}/chat?say=other-words").raise_for_status()
        _wait(lambda: page.js("document.querySelector('.times').textContent") == "2×")
        asked = {
            event["params"]["request"]["url"].split("?")[0]
            for event in page.events
            if event["method"] == "Network.requestWillBeSent"
        }
        assert asked <= {f"{url}/stateguard/", f"{url}/stateguard/enter", f"{url}/stateguard/data"}
        errors = [
            event["params"]["entry"]["text"] for event in page.events if event["method"] == "Log.entryAdded"
        ]
        assert all("401" in text for text in errors), errors


def test_what_all_workers_report_to_a_directory_is_shown(tmp_path: Path) -> None:
    feed, sink = Feed([str(tmp_path)]), JsonLines(tmp_path)
    sink.leak(leak("app.A"), 1)
    first = feed.since("")
    assert [one["path"] for one in first["leaks"]] == ["app.A"]
    assert first["whole"]
    other = JsonLines(tmp_path)
    other.leak(leak("app.A"), 2)
    other.leak(hostile(), 1)
    (half,) = [file for file in tmp_path.iterdir() if other.process in file.name]
    with half.open("ab") as file:
        file.write(b'{"half": ')
    feed._looked = 0.0
    news = feed.since(first["version"])
    assert {one["count"] for one in news["leaks"]} == {3, 1}
    assert not news["whole"]
    with half.open("ab") as file:
        file.write(b"1}\n")
    half.unlink()
    feed._looked = 0.0
    assert feed.since(news["version"])["leaks"] == []
    assert feed.since("other.1")["whole"]
    assert len(feed.since("")["leaks"]) == 2


def test_what_all_hosts_report_to_redis_is_shown(redis_url: str) -> None:
    feed, sink = Feed([redis_url, "otel"]), RedisStream(redis_url)
    assert feed.since("")["leaks"] == []
    sink.leak(leak("app.A"), 1)
    sink.close()
    feed._looked = 0.0
    first = feed.since("")
    sink.leak(leak("app.B"), 1)
    sink.close()
    feed._looked = 0.0
    news = feed.since(first["version"])
    assert [[one["path"] for one in said["leaks"]] for said in (first, news)] == [["app.A"], ["app.B"]]


def test_a_feed_is_bounded() -> None:
    feed = Feed([])
    for n in range(10_020):
        feed.leak(leak(f"app.N{n}", time=float(n)), 1)
    assert len(feed.since("")["leaks"]) == 10_000


def test_a_guard_without_a_dashboard_serves_nothing(guard: Guard) -> None:
    assert guard.engine is not None
    assert guard.engine.reporter._sinks == []
