"""Plain load, as it goes to a running service, on applications in this process: the right verdict."""

from __future__ import annotations

import asyncio

import pytest

from stateguard.errors import ConfigError
from stateguard.probe.plan import Plan
from stateguard.probe.requests import parse
from stateguard.probe.run import Run
from stateguard.probe.targets import ASGITarget, WSGITarget
from tests.probe import apps

CHAT = 'POST /chat {"message": "{canary}"}'


def verdict(name: str, request: str = CHAT, **options):
    app = getattr(apps, name)
    target = WSGITarget(app) if name.startswith("wsgi") else ASGITarget(app)
    plan = Plan(templates=[parse(request)], **options)
    return asyncio.run(Run(target, plan).run())


@pytest.fixture(autouse=True)
def _fresh():
    apps.forget()


@pytest.mark.parametrize(
    "name", ["history", "overwritten", "tool", "locked", "cache", "cookie", "header", "stream", "wsgi"]
)
def test_leaks_are_proven(name):
    result = verdict(f"{name}_leaking")
    assert result.verdict == "LEAK"
    assert result.sent <= 200
    assert result.seconds < 30
    bleed = result.bleeds[0]
    assert bleed.owner != bleed.reader
    assert bleed.owner_request == bleed.reader_request == "POST /chat"
    if name in ("cookie", "header"):
        assert bleed.where == {"cookie": "cookie last", "header": "header x-last"}[name]


@pytest.mark.parametrize(
    "name",
    ["history", "overwritten", "tool", "locked", "cache", "cookie", "header", "stream", "error_page", "wsgi"],
)
def test_clean_twins_pass(name):
    result = verdict(f"{name}_clean", requests=64)
    assert (result.verdict, result.bleeds) == ("PASS", [])


@pytest.mark.parametrize("name", ["echoes_cookies", "sets_once_per_context"])
def test_the_probe_itself_carries_nothing(name):
    assert verdict(name, requests=64).verdict == "PASS"


def test_answers_cut_off_by_the_end_are_not_errors():
    result = verdict("history_clean", seconds=0.0)
    assert (result.sent, result.verdict) == (0, "INVALID")


def test_websockets():
    assert verdict("websocket_leaking", "WS /chat {canary}").verdict == "LEAK"
    assert verdict("websocket_clean", "WS /chat {canary}", requests=32).verdict == "PASS"


def test_a_leak_in_an_error_page_is_a_leak():
    result = verdict("error_page_leaking")
    assert result.verdict == "LEAK"
    assert result.bleeds[0].status == 500


def test_no_echo_is_inconclusive():
    result = verdict("mute")
    assert result.verdict == "INCONCLUSIVE"
    assert "own canary" in result.reason


@pytest.mark.parametrize("name", ["broken", "half_broken"])
def test_errors_are_invalid(name):
    assert verdict(name).verdict == "INVALID"


def test_shared_answers_can_be_declared():
    assert verdict("history_leaking", shared=["/chat"]).verdict == "INCONCLUSIVE"


def test_bounded():
    result = verdict("history_clean", requests=20, users=4)
    assert result.sent <= 20


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"users": 1}, "two users"),
        ({"requests": 3}, "too few"),
        ({"request": "GET /"}, "no request carries"),
        ({"shared": ["/feed*"]}, "matches none"),
        ({"seconds": float("nan")}, "not between"),
        ({"seconds": float("inf")}, "not between"),
        ({"seconds": -1.0}, "not between"),
    ],
)
def test_plans_that_can_prove_nothing_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        verdict("history_clean", **options)


@apps.http
async def _hangs(scope, receive, send):
    await asyncio.Event().wait()


def test_an_application_that_does_not_answer_does_not_hang_the_probe():
    plan = Plan(templates=[parse(CHAT)], users=2, requests=4, seconds=20, answer_seconds=0.2)
    result = asyncio.run(Run(ASGITarget(_hangs), plan).run())
    assert result.verdict == "INVALID"
    assert "no answer within 0.2 seconds" in result.reason
