"""Process settings are checked once per request: whom a change is blamed on."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from stateguard.asgi import StateGuardMiddleware as AsgiGuard
from tests.middleware.exchanges import OK, converse, http_scope, run


def found(guard):
    return [(leak.path, leak.confidence, leak.request and leak.request.path) for leak in guard.leaks]


def serve(guard, work=lambda: None, path="/"):
    async def app(scope, receive, send):
        work()
        await send(OK[0])

    return run(converse, AsgiGuard(app, guard=guard), http_scope(path=path))


def test_a_request_that_changes_a_setting(make_guard, tmp_path, monkeypatch):
    monkeypatch.chdir(os.getcwd())
    guard = make_guard()
    serve(guard)
    serve(guard, lambda: os.chdir(tmp_path), "/guilty")
    serve(guard)
    assert found(guard) == [("os.getcwd()", "exact", "/guilty")]


@pytest.mark.parametrize("slicing", [False, True])
def test_code_outside_any_request_changes_settings(make_guard, tmp_path, monkeypatch, slicing):
    """Each ``asyncio.run`` installs a signal handler of its own: no request has done that."""
    monkeypatch.chdir(os.getcwd())
    guard = make_guard()
    guard.start()
    guard.engine.pace.slicing = slicing
    before = signal.getsignal(signal.SIGUSR1)
    try:
        for n in range(3):
            serve(guard)
            (tmp_path / str(n)).mkdir()
            os.chdir(tmp_path / str(n))
            signal.signal(signal.SIGUSR1, lambda *args: None)
    finally:
        signal.signal(signal.SIGUSR1, before)
    # In slices, what changed between two looks may have been any request of that time.
    assert [one for one in found(guard) if one[1] == "exact" or not slicing] == []


def test_a_task_that_outlives_its_request_changes_a_setting(make_guard, tmp_path, monkeypatch):
    monkeypatch.chdir(os.getcwd())
    guard = make_guard()

    async def main():
        go_on, tasks = asyncio.Event(), []

        async def late():
            await go_on.wait()
            os.chdir(tmp_path)

        async def app(scope, receive, send):
            if scope["path"] == "/starts":
                tasks.append(asyncio.create_task(late()))
            else:
                go_on.set()
                await tasks[0]
            await send(OK[0])

        wrapped = AsgiGuard(app, guard=guard)
        await converse(wrapped, http_scope(path="/starts"))
        await converse(wrapped, http_scope(path="/innocent"))

    run(main)
    [leak] = guard.leaks
    if leak.confidence == "exact":
        assert leak.request.path == "/starts"
    else:
        assert {info.path for info in leak.suspects} == {"/starts", "/innocent"}
