"""Fixtures for several topics."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from http.server import HTTPServer

import pytest
import redis

from tests.messages_api import Api
from tests.redis_server import RedisServer

# How closely the guard looks follows from what looking costs. On a slow or busy machine the usual budget
# would put off looks that a test waits for: nearly all of the time is theirs, unless a test says otherwise.
os.environ.setdefault("STATEGUARD_BUDGET", "0.99")
# And a look that was interrupted for long would make it look in slices from then on.
os.environ.setdefault("STATEGUARD_MAX_PAUSE", "1")

HAS_BROWSER = bool(shutil.which("chromium") or shutil.which("google-chrome"))


def pytest_report_header() -> list[str]:
    if HAS_BROWSER:
        return []
    return ["no Chromium on the PATH: the browser tests of the report page are left out (CI installs it)"]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A machine with nothing but Python can run everything else; continuous integration runs all of it."""
    if HAS_BROWSER:
        return
    browser = [item for item in items if hasattr(getattr(item, "module", None), "chromium")]
    if browser:
        config.hook.pytest_deselected(items=browser)
        items[:] = [item for item in items if item not in browser]


@pytest.fixture
def often() -> Iterator[None]:
    """Threads that take turns do so as often as possible."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.fixture(autouse=True)
def log_as_usual() -> Iterator[None]:
    """Whatever another test, or a framework that it ran in this process, has done to logging.

    Celery leaves the root logger at its worker's level, and litestar its own handlers on it.
    """
    logging.disable(logging.NOTSET)
    root, logger = logging.getLogger(), logging.getLogger("stateguard")
    root.setLevel(logging.WARNING)
    logger.setLevel(logging.NOTSET)
    logger.disabled, logger.propagate = False, True
    before = list(root.handlers)
    yield
    for handler in list(root.handlers):
        if handler not in before and not type(handler).__module__.startswith("_pytest"):
            root.removeHandler(handler)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory):
    """A redis-server of the test session's own, on a free port of 127.0.0.1."""
    server = RedisServer(tmp_path_factory.mktemp("redis")).start()
    yield server
    server.stop()


@pytest.fixture
def redis_url(redis_server: RedisServer):
    """The URL of the session's redis-server, emptied."""
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    return redis_server.url


@pytest.fixture
def messages_api():
    """The URL of a server that speaks the Messages API; ``Api.asked`` holds what it was asked."""
    with HTTPServer(("127.0.0.1", 0), Api) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        Api.asked.clear()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join(10)
