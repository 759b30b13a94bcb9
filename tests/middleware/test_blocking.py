"""Services whose event loop may not block: blockbuster raises at each blocking call that it knows."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from blockbuster import BlockingError, blockbuster_ctx

from stateguard import Guard
from stateguard.asgi import StateGuardMiddleware
from tests.middleware.exchanges import OK, http_scope


def test_the_guard_looks_and_reports_where_blocking_is_forbidden(state, caplog, tmp_path, monkeypatch):
    seen = []
    # Imported by the event loop's thread as well, from a file: its source line is read there.
    (tmp_path / "blocking_views.py").write_text("def write(state):\n    state.HISTORY.append('tainted')\n")
    monkeypatch.syspath_prepend(tmp_path)
    import blocking_views

    async def app(scope, receive, send):
        await receive()
        blocking_views.write(state)
        for message in OK:
            await send(message)

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        seen.append(message)

    async def main():
        with pytest.raises(BlockingError):
            Path(tmp_path / "nothing").exists()
        # Made while the loop runs, as `add_middleware` does at the first request.
        guard = Guard(watch=[state.__name__, "blocking_views"], locate="always", budget=1)
        try:
            for _ in range(3):
                await StateGuardMiddleware(app, guard=guard)(http_scope(), receive, send)
            assert asyncio.get_running_loop().is_running()
            return guard.leaks, guard.engine.failures
        finally:
            guard.close()

    with blockbuster_ctx():
        leaks, failures = asyncio.run(main())
    assert failures == {}
    assert len(seen) == 3 * len(OK)
    assert [leak.location.source for leak in leaks] == ["state.HISTORY.append('tainted')"] * 3
    assert os.path.basename(leaks[0].location.file) == "blocking_views.py"
    assert "shared state appended" in caplog.text
