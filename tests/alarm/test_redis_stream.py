"""The collector in a real Redis: many processes, bounded, and never in a request's way."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis

from stateguard import Guard
from stateguard.errors import ConfigError
from stateguard.report.merge import read_leaks
from stateguard.report.redis_stream import RedisStream
from tests.alarm import state
from tests.alarm.leaks import hostile, leak
from tests.redis_server import RedisServer, free_port
from tests.run.command import BIN, ROOT, started
from tests.run.test_run import SERVERS, SHOP


def test_workers_report_and_the_command_merges(redis_url: str, tmp_path: Path) -> None:
    options = ["--watch", SHOP, "--report-to", redis_url, "--report-to", "otel", "--report-to", "prometheus"]
    with started(SERVERS["uvicorn"][0], tmp_path, options) as server:
        workers = server.all_workers(4)
    done = subprocess.run(
        [str(BIN / "stateguard"), "report", redis_url, "--json"], capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    (one,) = [one for one in json.loads(done.stdout)["leaks"] if one["root"] == f"{SHOP}.state.HISTORY"]
    assert {process.split("-")[-2] for process in one["seen"]} == workers


def test_a_guard_reports_to_redis(redis_url: str) -> None:
    guard = Guard(watch=["tests.alarm.state"], process=False, on_leak=print, report_to=redis_url)
    for _ in range(3):
        with guard.request("job"):
            state.HISTORY.append("word")
    guard.close()
    state.HISTORY.clear()
    (one,) = read_leaks([redis_url]).leaks.values()
    assert (one.leak.path, one.count) == ("tests.alarm.state.HISTORY", 3)


def test_the_stream_is_bounded_and_rare_leaks_outlast_it(redis_url: str) -> None:
    sink = RedisStream(f"{redis_url}?stream=mine&maxlen=100")
    sink.leak(leak("app.RARE"), 1)
    for start in range(0, 2000, 500):
        for n in range(500):
            sink.leak(leak("app.LOUD"), start + n + 1)
        sink.close()
    with redis.Redis.from_url(redis_url) as client:
        assert client.xlen("mine") < 400
        assert 0 < client.ttl("mine") <= 30 * 24 * 3600
    merged = read_leaks([f"{redis_url}?stream=mine"])
    assert {one.leak.path: one.count for one in merged.leaks.values()} == {"app.RARE": 1, "app.LOUD": 2000}
    assert sink.lost == 0


def test_exemptions_that_no_process_needs_are_merged(redis_url: str) -> None:
    here, gone = "tests.alarm.state:HISTORY  # meant", "tests.alarm.state:GONE  # long gone"
    for used in (False, True):
        guard = Guard(
            watch=["tests.alarm.state"], process=False, report_to=redis_url, allow=[here, gone], on_leak=str
        )
        with guard.request("job"):
            if used:
                state.HISTORY.append("word")
        guard.close()
        assert read_leaks([redis_url]).unused_allowances() == ([gone] if used else [gone, here])
    state.HISTORY.clear()
    done = subprocess.run([str(BIN / "stateguard"), "report", redis_url], capture_output=True, timeout=60)
    assert b"exemption that matches nothing" in done.stdout

    with redis.Redis.from_url(redis_url) as client:
        assert client.ttl("stateguard:leaks:exemptions") > 0
        client.zadd("stateguard:leaks:exemptions:named", {gone: time.time() - 25 * 3600})
        client.hset("stateguard:leaks:exemptions", "odd", "x" * 100)
    sink = RedisStream(redis_url)
    sink.allowances({here: 0, "hostile \x1b[2J \ud800": 1})
    sink.close()
    assert read_leaks([redis_url]).unused_allowances() == ["odd"], (
        "of what nobody has any more, nothing is said"
    )


def test_hostile_texts_and_lines_that_are_no_leaks(redis_url: str) -> None:
    sink = RedisStream(redis_url)
    sink.leak(hostile(), 1)
    sink.close()
    with redis.Redis.from_url(redis_url) as client:
        client.xadd("stateguard:leaks", {"other": "x"})
        client.xadd("stateguard:leaks", {"leak": b"\xff\x00[" * 1000})
        client.hset("stateguard:leaks:distinct", "x", "null")
    merged = read_leaks([redis_url])
    assert (len(merged.leaks), merged.unreadable) == (1, 2)


def test_a_redis_that_is_away_is_said_once_and_costs_no_request_anything(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    port = free_port()
    sink = RedisStream(f"redis://user:hunter2@127.0.0.1:{port}/0")
    with caplog.at_level(logging.WARNING, "stateguard"):
        for n in range(1500):
            sink.leak(leak("app.A"), n + 1)
        deadline = time.monotonic() + 30
        while not caplog.records:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        sink.close()
    assert len(caplog.records) == 1
    assert "hunter2" not in caplog.text
    assert sink.lost >= 400
    server = RedisServer(tmp_path, port=port).start()
    try:
        with redis.Redis.from_url(server.url) as client:
            client.acl_setuser("user", enabled=True, passwords=["+hunter2"], keys=["*"], categories=["+@all"])
        sink.leak(leak("app.B"), 1)
        deadline = time.monotonic() + 30
        while "app.B" not in {one.leak.path for one in read_leaks([server.url]).leaks.values()}:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        sink.close()
        assert len(read_leaks([server.url]).leaks) == 2, "what waited was sent as well"
    finally:
        server.stop()


def test_forked_processes_send_for_themselves(redis_url: str) -> None:
    program = (
        "import os, sys\n"
        "from stateguard.report.redis_stream import RedisStream\n"
        "from tests.alarm.leaks import leak\n"
        "sink = RedisStream(sys.argv[1])\n"
        "sink.leak(leak(), 1)\n"
        "child = os.fork()\n"
        "sink.leak(leak(), 2)\n"
        "sink.close()\n"
        "child and os.waitpid(child, 0)\n"
    )
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, redis_url],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=60,
        check=True,
    )
    (one,) = read_leaks([redis_url]).leaks.values()
    assert sorted(one.seen.values()) == [2, 2]


@pytest.mark.parametrize(
    "report_to", ["redis://:secret@h/0?maxlen=0", "redis://:secret@h:x/0", "http://secret@h/", 7, [""]]
)
def test_addresses_that_cannot_be_one_are_refused_without_showing_secrets(report_to: object) -> None:
    with pytest.raises(ConfigError) as caught:
        Guard(watch=["tests.alarm.state"], report_to=report_to)
    assert "secret" not in str(caught.value)


def test_reading_from_a_redis_that_is_away_names_it_without_its_password() -> None:
    url = f"redis://:secret@127.0.0.1:{free_port()}/0"
    done = subprocess.run(
        [str(BIN / "stateguard"), "report", url], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert "cannot read leaks from redis://127.0.0.1" in done.stderr
    assert "secret" not in done.stderr
