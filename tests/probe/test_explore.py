"""The search of interleavings: leaks proven within bounds, clean twins passed, replays exact."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path

import pytest

from stateguard.probe.explore import Explorer
from stateguard.probe.plan import Plan
from stateguard.probe.requests import parse
from stateguard.probe.switches import from_token
from tests.probe import apps, races
from tests.probe.apps import SYMPTOMS

CHAT = apps.CHAT


def explorer(app, request: str = CHAT, protocol: str | None = None, **options) -> Explorer:
    isolated, guarded = options.pop("isolated", True), options.pop("guarded", False)
    plan = Plan(templates=[parse(request)], **options)
    return Explorer(app, plan, protocol=protocol, isolated=isolated, guarded=guarded)


def racing(name: str, **options) -> Explorer:
    if name.startswith("wsgi"):
        return explorer(getattr(races, name), protocol="wsgi", **options)
    return explorer(races.site, f'POST /{name} {{"message": "{{canary}}"}}', **options)


@pytest.fixture(autouse=True)
def _store(request, monkeypatch):
    """The redis-server, for the applications that keep their turns in one."""
    if "redis" in request.node.name:
        monkeypatch.setattr(apps, "redis_url", request.getfixturevalue("redis_url"))


@pytest.mark.parametrize("name", SYMPTOMS)
def test_every_symptom_is_proven_and_made_small(name):
    result = explorer(getattr(apps, f"{name}_leaking"), apps.request_for(name)).run()
    assert result.verdict == "LEAK"
    assert result.sent <= 200
    assert result.seconds < 30
    shrunk = result.shrunk
    assert len({user for user, _ in shrunk.requests}) >= 2
    if name != "error_page":  # which needs nine requests to fail
        assert len(shrunk.requests) == 2
    assert len(shrunk.switches) <= 2
    bleed = shrunk.bleeds[0]
    assert bleed.owner != bleed.reader
    if name in ("cookie", "header"):
        assert bleed.where == {"cookie": "cookie last", "header": "header x-last"}[name]


@pytest.mark.parametrize("name", SYMPTOMS)
def test_clean_twins_pass(name):
    result = explorer(getattr(apps, f"{name}_clean"), apps.request_for(name), requests=60).run()
    assert (result.verdict, result.bleeds) == ("PASS", []), result.reason
    assert result.schedules > 10
    assert result.errors == (1 if name == "error_page" else 0)  # its page was looked at, and was innocent


@pytest.mark.parametrize("name", SYMPTOMS)
def test_leaks_that_no_answer_shows_are_inconclusive(name):
    app = apps.without_echo(getattr(apps, f"{name}_leaking"))
    protocol = "wsgi" if name.startswith("wsgi") else "asgi"
    result = explorer(app, apps.request_for(name), protocol, requests=24).run()
    assert (result.verdict, result.bleeds) == ("INCONCLUSIVE", []), result.reason


@pytest.mark.parametrize(
    ("name", "verdict"), [("mute", "INCONCLUSIVE"), ("broken", "INVALID"), ("half_broken", "INVALID")]
)
def test_no_pass_without_a_control(name, verdict):
    assert explorer(getattr(apps, name), requests=40).run().verdict == verdict


@pytest.mark.parametrize("name", ["echoes_cookies", "sets_once_per_context"])
def test_the_probe_itself_carries_nothing(name):
    assert explorer(getattr(apps, name), requests=40).run().verdict == "PASS"


@pytest.mark.parametrize("name", ["narrow", "deep", "waits", "sync", "wsgi_race", "wsgi_half_locked"])
def test_races_are_found(name):
    result = racing(name).run()
    assert result.verdict == "LEAK"
    assert len(result.shrunk.requests) == 2
    # None can be left out; of two threads that hold each other up, though, fewer others might do.
    assert 1 <= len(result.shrunk.switches) <= (6 if name == "wsgi_half_locked" else 2)


@pytest.mark.parametrize("name", ["deep-clean", "sync-clean", "whoami", "wsgi_locked_clean"])
def test_no_race_where_there_is_none(name):
    result = racing(name, requests=40).run()
    assert (result.verdict, result.bleeds) == ("PASS", []), result.reason


REPLAYS = json.loads((Path(__file__).parent / "replays.json").read_text())
"""Tokens made on Python 3.13, and the points that every version must come by."""


@pytest.mark.parametrize("name", REPLAYS)
@pytest.mark.parametrize("guarded", [False, True])
def test_a_token_repeats_the_same_interleaving_on_every_version(name, guarded):
    token, expected = REPLAYS[name]["token"], REPLAYS[name]["points"]
    for _ in range(2):
        explore = racing(name, guarded=guarded)
        result = explore.replay(from_token(token, explore.fingerprint), quiet=True)
        assert (result.verdict, result.unmet, result.sent) == ("LEAK", [], 2)
        own = [p for p in result.shrunk.points if not p.place.startswith("(")]  # libraries' versions differ
        points = [f"{p.user}:{p.place.removeprefix('tests/probe/races.py:')}" for p in own]
        assert " ".join(points) == expected
        assert from_token(result.shrunk.token, explore.fingerprint) == from_token(token, explore.fingerprint)


def test_the_guard_names_the_carrier():
    result = racing("narrow", guarded=True).run()
    (carrier,) = result.shrunk.bleeds[0].carriers
    assert carrier.startswith("tests.probe.races.CURRENT['user'] replaced at tests/probe/races.py:")
    assert "in narrow by POST /narrow (request probe-user" in carrier


def test_without_isolation_it_works_as_well_in_one_process():
    apps.forget()
    assert explorer(apps.history_leaking, isolated=False).run().verdict == "LEAK"
    assert explorer(apps.overwritten_clean, isolated=False, requests=30).run().verdict == "PASS"
    assert racing("sync", isolated=False).run().verdict == "LEAK"
    assert racing("wsgi_locked_clean", isolated=False, requests=30).run().verdict == "PASS"
    apps.forget()


def test_inside_of_a_running_loop():
    async def test():
        return explorer(apps.history_leaking).run().verdict

    assert asyncio.run(test()) == "LEAK"


def test_the_callers_random_numbers_stay_as_they_were():
    state = random.getstate()
    explorer(apps.history_clean, requests=20, users=2, isolated=False).run()
    assert random.getstate() == state


def test_bounds():
    result = explorer(apps.history_clean, requests=20, users=4).run()
    assert result.sent <= 20
    assert explorer(apps.history_clean, seconds=0.0).run().verdict == "INVALID"


@pytest.mark.parametrize("chunks", [1, 3])
def test_sleeping_is_no_error_however_long_and_whoever_else_sleeps(chunks):
    """One user after the other, eight of them: the last has waited for four minutes when its turn comes."""

    async def slow(scope, receive, send):
        if scope["type"] != "http":
            return
        said = json.loads((await receive())["body"])["message"].encode()
        await asyncio.sleep(30)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for left in reversed(range(chunks)):
            await asyncio.sleep(2)
            await send({"type": "http.response.body", "body": said, "more_body": bool(left)})

    result = explorer(slow, users=8, requests=40, seconds=20).run()
    assert (result.verdict, result.errors) == ("PASS", 0)
