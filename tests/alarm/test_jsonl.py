"""JSON lines: nothing acknowledged is lost, nothing hostile gets out, and files merge."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from stateguard import Guard
from stateguard.errors import ConfigError
from stateguard.leak import RequestInfo
from stateguard.report.jsonl import JsonLines
from stateguard.report.merge import read_leaks
from stateguard.report.record import decode
from tests.alarm import state
from tests.alarm.leaks import hostile, leak
from tests.run.command import BIN, ROOT, started
from tests.run.test_run import SERVERS, SHOP

WORKERS = 8


def test_eight_killed_workers_lose_no_acknowledged_line(tmp_path: Path) -> None:
    leaks = tmp_path / "leaks"
    chance = random.Random(8)
    workers = []
    for number in range(WORKERS):
        with (tmp_path / f"acknowledged-{number}").open("wb") as acknowledged:
            command = [sys.executable, "-m", "tests.alarm.writer", str(leaks), str(number)]
            workers.append(subprocess.Popen(command, cwd=ROOT, stdout=acknowledged))
    deadline = time.monotonic() + 60
    while not all((tmp_path / f"acknowledged-{n}").stat().st_size > 1000 for n in range(WORKERS)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    for worker in workers:
        time.sleep(chance.random() * 0.1)
        worker.kill()
        worker.wait(10)
    merged = read_leaks([leaks])
    known = {one.leak.path for one in merged.leaks.values()}
    acknowledged = {
        f"app.worker{n}.n{line}"
        for n in range(WORKERS)
        for line in (tmp_path / f"acknowledged-{n}").read_text().split()
    }
    assert len(acknowledged) > 1000
    assert acknowledged <= known
    assert len(list(leaks.iterdir())) > WORKERS, "files were rotated meanwhile"
    assert merged.unreadable <= WORKERS, "a kill cuts off the one line that is being written, at most"


def test_a_leak_survives_the_way_through_a_file(tmp_path: Path) -> None:
    sink, one = JsonLines(tmp_path), leak()
    sink.leak(one, 3)
    (file,) = tmp_path.iterdir()
    record = json.loads(file.read_text())
    assert decode(record) == one
    assert record["id"] == one.id
    assert record["seen"] == 3
    assert file.stat().st_mode & 0o777 == 0o600


def test_hostile_text_is_one_bounded_ascii_line(tmp_path: Path) -> None:
    JsonLines(tmp_path).leak(hostile(), 1)
    (file,) = tmp_path.iterdir()
    data = file.read_bytes()
    assert data.count(b"\n") == 1
    assert all(32 <= byte < 127 for byte in data[:-1])
    assert len(data) < 300_000
    assert json.loads(data)["in_flight_count"] == json.loads(data)["suspect_count"] == 1000
    assert len(read_leaks([tmp_path]).leaks) == 1


def test_files_that_list_all_suspects_or_not_merge(tmp_path: Path) -> None:
    """The occurrence that lists all of them tells more; what an older version has written is read as well."""
    some = tuple(RequestInfo(f"r{n}", "http", "GET", f"/{n}", 1000.0) for n in range(100))
    cut = leak(request=None, confidence="suspected", suspects=some, suspect_count=743, time=1003.0)
    cut = replace(cut, suspect_count_exact=False)
    JsonLines(tmp_path / "a").leak(cut, 4)
    [one] = read_leaks([tmp_path]).worst_first()
    assert (one.leak.suspect_count, one.leak.suspect_count_exact, one.leak.suspects_cut) == (743, False, True)
    known = replace(cut, suspects=some[:3], suspect_count=3, suspect_count_exact=True, time=1001.0)
    JsonLines(tmp_path / "b").leak(known, 2)
    old = {**known.to_dict(), "seen": 1, "process": "old", "time": 1002.0}
    del old["suspect_count_exact"]
    (tmp_path / "old.jsonl").write_text(json.dumps(old) + "\n")
    merged = read_leaks([tmp_path])
    [one] = merged.worst_first()
    assert merged.unreadable == 0
    assert one.count == 7
    assert (len(one.leak.suspects), one.leak.suspects_cut) == (3, False)
    done = subprocess.run(
        [str(BIN / "stateguard"), "report", str(tmp_path / "a"), "--json"], capture_output=True, timeout=60
    )
    [told] = json.loads(done.stdout)["leaks"]
    assert (told["suspect_count"], told["suspect_count_exact"]) == (743, False)
    assert len(told["suspects"]) < 100


def test_files_say_how_many_others_were_in_flight(tmp_path: Path) -> None:
    some = tuple(RequestInfo(f"r{n}", "http", "GET", f"/{n}", 1000.0) for n in range(100))
    JsonLines(tmp_path).leak(leak(in_flight=some, in_flight_count=250, time=1001.0), 4)
    fewer = leak(in_flight=some[:60], time=1002.0)
    old = {**fewer.to_dict(), "in_flight": fewer.to_dict()["in_flight"][:50], "seen": 1, "process": "old"}
    assert old["in_flight_count"] == 60, "lines had the field, but did not count beyond 100"
    (tmp_path / "old.jsonl").write_text(json.dumps(old) + "\n")
    [one] = read_leaks([tmp_path]).worst_first()
    assert one.count == 5
    assert (len(one.leak.in_flight), one.leak.in_flight_count, one.leak.in_flight_cut) == (50, 250, True)
    assert sorted(known.in_flight_count for known in one.occurrences) == [60, 250]


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_hostile_text_in_the_report(tmp_path: Path, options: list[str]) -> None:
    JsonLines(tmp_path).leak(hostile(), 1)
    done = subprocess.run(
        [str(BIN / "stateguard"), "report", str(tmp_path), *options], capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    text = done.stdout.decode()
    assert not [c for c in text if not c.isprintable() and c != "\n"]
    if options:
        assert len(json.loads(text)["leaks"]) == 1
    else:
        assert "[bold red]" in text.replace("\n", "").replace(" ", "").replace("boldred", "bold red")


def test_old_files_of_a_process_go_when_there_are_too_many(tmp_path: Path) -> None:
    sink = JsonLines(tmp_path, max_bytes=2000, keep=3)
    for number in range(50):
        sink.leak(leak(f"app.N{number}"), 1)
    assert len(list(tmp_path.iterdir())) == 3
    assert all(file.stat().st_size <= 2000 for file in tmp_path.iterdir())
    assert "app.N49" in {one.leak.path for one in read_leaks([tmp_path]).leaks.values()}


def test_a_deleted_file_is_begun_anew(tmp_path: Path) -> None:
    sink = JsonLines(tmp_path / "leaks")
    sink.leak(leak("app.A"), 1)
    for file in (tmp_path / "leaks").iterdir():
        file.unlink()
    sink.leak(leak("app.B"), 1)
    assert [one.leak.path for one in read_leaks([tmp_path]).leaks.values()] == ["app.B"]


def test_a_forked_process_has_a_file_of_its_own(tmp_path: Path) -> None:
    sink = JsonLines(tmp_path)
    sink.leak(leak(), 1)
    child = os.fork()
    if not child:
        sink.leak(leak(), 1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    sink.leak(leak(), 2)
    assert len(list(tmp_path.iterdir())) == 2
    (one,) = read_leaks([tmp_path]).leaks.values()
    assert one.count == 3
    assert len(one.seen) == 2


def test_threads_do_not_mix_their_lines(tmp_path: Path) -> None:
    sink = JsonLines(tmp_path, max_bytes=20_000, keep=1000)
    threads = [
        threading.Thread(target=lambda n=n: [sink.leak(leak(f"app.T{n}N{i}"), 1) for i in range(100)])
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    merged = read_leaks([tmp_path])
    assert (len(merged.leaks), merged.unreadable) == (800, 0)


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        "null",
        "[" * 100_000,
        '{"path": 1}',
        '{"path": "a", "severity": "worst"}',
        '"\\ud800"',
        '{"seen": 1e999}',
    ],
)
def test_lines_that_are_no_leaks_are_counted(tmp_path: Path, line: str) -> None:
    JsonLines(tmp_path).leak(leak(), 1)
    (tmp_path / "other.jsonl").write_text(line + "\n")
    merged = read_leaks([tmp_path])
    assert (len(merged.leaks), merged.unreadable) == (1, 1)


def test_a_torn_last_line_costs_only_itself(tmp_path: Path) -> None:
    sink = JsonLines(tmp_path)
    sink.leak(leak("app.A"), 1)
    sink.leak(leak("app.B"), 1)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-30])
    merged = read_leaks([file])
    assert ([one.leak.path for one in merged.leaks.values()], merged.unreadable) == (["app.A"], 1)


def test_the_count_of_a_frequent_leak_is_whole_although_its_lines_are_few(tmp_path: Path) -> None:
    guard = Guard(watch=["tests.alarm.state"], report_to=tmp_path, process=False)
    for _ in range(500):
        with guard.request("job"):
            state.HISTORY.append("word")
    guard.close()
    state.HISTORY.clear()
    merged = read_leaks([tmp_path])
    (one,) = merged.leaks.values()
    assert one.count == 500
    assert merged.lines < 100


def test_a_failing_sink_hurts_neither_the_request_nor_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        def leak(self, leak: object, seen: int) -> None:
            raise OSError("disk full")

        def close(self) -> None:
            raise OSError("disk full")

    guard = Guard(
        watch=["tests.alarm.state"], sinks=[Broken(), JsonLines(tmp_path)], process=False, on_leak=print
    )
    for _ in range(5):
        with guard.request("job"):
            state.HISTORY.append("word")
    guard.close()
    state.HISTORY.clear()
    assert [one.count for one in read_leaks([tmp_path]).leaks.values()] == [5]
    assert [record.message for record in caplog.records].count(
        "stateguard failed while handing a leak to Broken; requests go on. Please report this "
        "(https://stateguard.readthedocs.io/messages/#failed)"
    ) == 1


def test_a_place_that_cannot_be_written_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot write leaks"):
        Guard(watch=["tests.alarm.state"], report_to=tmp_path / "file" / "leaks")
    with pytest.raises(ConfigError, match="report_to"):
        Guard(watch=["tests.alarm.state"], report_to="kafka://somewhere")
    with pytest.raises(ConfigError, match="sinks"):
        Guard(watch=["tests.alarm.state"], sinks=[object()])


@pytest.mark.timeout(110)
def test_all_workers_of_a_server_report_into_one_directory(tmp_path: Path) -> None:
    command, workers = SERVERS["gunicorn-sync"]
    leaks = tmp_path / "leaks"
    with started(command, tmp_path, ["--watch", SHOP, "--report-to", str(leaks)]) as server:
        server.all_workers(workers)
    done = subprocess.run(
        [str(BIN / "stateguard"), "report", str(leaks), "--json", "--exit-code"],
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 1, done.stderr
    (one,) = json.loads(done.stdout)["leaks"]
    assert one["root"] == "tests.run.shop.state.HISTORY"
    assert len(one["seen"]) == workers
    assert one["count"] >= 2 * workers
    assert one["location"]["source"].strip() == 'state.HISTORY.append("a" * 20)'
