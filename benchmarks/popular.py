"""Unmodified applications from PyPI, with and without the guard: which alarms are raised, and what it costs.

    pip install datasette sqlite-web pypiserver radicale isso httpbin gevent wagtail kinto wsgidav \\
        cheroot
    python -m benchmarks.popular [--watch PACKAGE] [NAME...]

Each is started twice with its own command: plain, and under ``stateguard run`` with everything of its own
watched (its package, which nobody else's `watch` would name; with ``--watch``, also a library below it). The
same requests follow, by eight clients at a time. Printed are the alarms of every severity after the warm-up,
and the ratio of the request rates.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx

from stateguard.report.merge import Merged, read_leaks

BIN = Path(sys.executable).parent
CLIENTS = 8
WARM_UP = 60
REQUESTS = 400

Ask = tuple[str, str, dict[str, object]]


@dataclass
class App:
    """A program, what of it is watched, how it is prepared and asked."""

    command: tuple[str, ...]
    watch: tuple[str, ...]
    asks: Callable[[int], list[Ask]]
    prepare: Callable[[Path], None] = lambda directory: None
    environment: dict[str, str] = field(default_factory=dict)
    ready: str = "/"


def _get(*paths: str) -> Callable[[int], list[Ask]]:
    return lambda n: [("GET", path.format(n=n), {}) for path in paths]


def _sqlite(directory: Path) -> None:
    with contextlib.closing(sqlite3.connect(directory / "data.db")) as db:
        db.execute("create table people (id integer primary key, name text, age integer)")
        db.executemany(
            "insert into people (name, age) values (?, ?)", [(f"person {n}", n % 90) for n in range(500)]
        )
        db.commit()


def _packages(directory: Path) -> None:
    (directory / "packages").mkdir()
    for n in range(20):
        (directory / "packages" / f"thing-{n}.0.tar.gz").write_bytes(b"x" * 100)


def _isso(directory: Path) -> None:
    (directory / "isso.cfg").write_text(
        f"[general]\ndbpath = {directory}/comments.db\nhost = http://localhost/\n[server]\n"
        "listen = http://127.0.0.1:{port}/\n[guard]\nenabled = false\n[admin]\nenabled = true\npassword = x\n"
    )


def _wagtail(directory: Path) -> None:
    subprocess.run([BIN / "wagtail", "start", "mysite", "."], cwd=directory, check=True, capture_output=True)
    manage = [sys.executable, "manage.py"]
    subprocess.run([*manage, "migrate"], cwd=directory, check=True, capture_output=True)
    subprocess.run(
        [*manage, "createsuperuser", "--noinput", "--username", "ann", "--email", "a@example.org"],
        cwd=directory, check=True, capture_output=True,
        env={**os.environ, "DJANGO_SUPERUSER_PASSWORD": "correct-horse"},
    )  # fmt: skip


def _kinto(directory: Path) -> None:
    (directory / "kinto.ini").write_text(
        "[app:main]\nuse = egg:kinto\nkinto.userid_hmac_secret = x\n"
        "kinto.storage_backend = kinto.core.storage.memory\nkinto.cache_backend = kinto.core.cache.memory\n"
        "kinto.permission_backend = kinto.core.permission.memory\n"
        "kinto.includes = kinto.plugins.default_bucket\nmultiauth.policies = basicauth\n"
        "multiauth.policy.basicauth.use = kinto.core.authentication.BasicAuthAuthenticationPolicy\n"
        "[server:main]\nuse = egg:waitress#main\nhost = 127.0.0.1\nport = {port}\n"
    )


def _radicale(n: int) -> list[Ask]:
    user = f"user{n % 7}"
    as_user: dict[str, object] = {"auth": (user, "x")}
    event = (
        f"BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:x\nBEGIN:VEVENT\nUID:e{n}\nDTSTAMP:20260101T000000Z\n"
        f"DTSTART:20260101T000000Z\nSUMMARY:secret of {user} {n}\nEND:VEVENT\nEND:VCALENDAR\n"
    )
    return [
        ("PROPFIND", f"/{user}/", as_user),
        ("MKCALENDAR", f"/{user}/cal/", as_user),
        ("PUT", f"/{user}/cal/e{n}.ics", {**as_user, "content": event}),
        ("GET", f"/{user}/cal/", as_user),
    ]


def _httpbin(n: int) -> list[Ask]:
    return [
        ("GET", f"/get?word=my-own-word-{n}", {}),
        ("POST", "/post", {"json": {"secret": f"my-own-secret-{n}"}}),
        ("GET", f"/cookies/set?name=value-of-{n}", {}),
        ("GET", "/headers", {"headers": {"Authorization": f"Bearer token-of-{n}"}}),
        ("GET", "/uuid", {}),
    ]


def _comments(n: int) -> list[Ask]:
    comment = {"text": f"comment number {n}", "author": f"author {n}", "email": f"a{n}@example.org"}
    return [
        ("POST", f"/new?uri=/page{n % 5}/", {"json": {**comment, "title": f"Page {n % 5}"}}),
        ("GET", f"/?uri=/page{n % 5}/", {}),
        ("POST", "/count", {"json": [f"/page{n % 5}/"]}),
    ]


def _records(n: int) -> list[Ask]:
    as_user: dict[str, object] = {"auth": (f"user{n % 7}", "secret-password")}
    data = {"data": {"title": f"my own record {n}"}}
    return [
        ("PUT", "/v1/buckets/default/collections/tasks", as_user),
        ("POST", "/v1/buckets/default/collections/tasks/records", {**as_user, "json": data}),
        ("GET", "/v1/buckets/default/collections/tasks/records", as_user),
        ("GET", "/v1/", {}),
    ]


def _files(n: int) -> list[Ask]:
    return [
        ("PUT", f"/file{n}.txt", {"content": f"the text of {n}"}),
        ("PROPFIND", "/", {"headers": {"Depth": "1"}}),
        ("GET", f"/file{n}.txt", {}),
        ("DELETE", f"/file{n}.txt", {}),
    ]


APPS: dict[str, App] = {
    "datasette": App(
        ("datasette", "serve", "data.db", "--port", "{port}"),
        ("datasette", "datasette.*"),
        _get("/data/people?_search=person+{n}&_size=20", "/data/people/{n}.json", "/data/people.json?age={n}",
             "/-/settings", "/data.json?sql=select+{n}"),
        _sqlite,
    ),
    "sqlite-web": App(
        ("sqlite_web", "--no-browser", "--port", "{port}", "data.db"),
        ("sqlite_web", "sqlite_web.*"),
        lambda n: [("GET", "/people/content/", {}), ("GET", f"/people/content/?page={n % 20}", {}),
                   ("POST", "/people/query/", {"data": {"sql": f"select {n} as mine"}})],
        _sqlite,
    ),
    "pypiserver": App(
        ("pypi-server", "run", "-p", "{port}", "-i", "127.0.0.1", "--server", "gevent", "packages"),
        ("pypiserver", "pypiserver.*"),
        _get("/simple/", "/simple/thing-{n}/", "/packages/", "/packages/thing-1.0.tar.gz"),
        _packages,
    ),
    "radicale": App(
        (sys.executable, "-m", "radicale", "--server-hosts", "127.0.0.1:{port}",
         "--storage-filesystem-folder", "collections", "--auth-type", "none"),
        ("radicale", "radicale.*"),
        _radicale,
    ),
    "isso": App(("isso", "-c", "isso.cfg", "run"), ("isso", "isso.*"), _comments, _isso, ready="/info"),
    "httpbin": App(
        ("gunicorn", "-b", "127.0.0.1:{port}", "--threads", "4", "httpbin:app"),
        ("httpbin", "httpbin.*"),
        _httpbin,
    ),
    "kinto": App(("pserve", "kinto.ini"), ("kinto", "kinto.*"), _records, _kinto, ready="/v1/"),
    "wagtail": App(
        (sys.executable, "manage.py", "runserver", "--noreload", "127.0.0.1:{port}"),
        ("wagtail", "wagtail.*", "mysite", "mysite.*", "home", "home.*", "search", "search.*"),
        _get("/", "/search/?query=my-own-word-{n}", "/admin/login/", "/django-admin/login/", "/missing-{n}/"),
        _wagtail,
    ),
    "wsgidav": App(
        ("wsgidav", "--host", "127.0.0.1", "--port", "{port}", "--root", ".", "--auth", "anonymous", "-q"),
        ("wsgidav", "wsgidav.*"),
        _files,
    ),
}  # fmt: skip


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextmanager
def _served(app: App, directory: Path, leaks: Path | None) -> Iterator[str]:
    port = _free_port()
    for file in directory.iterdir():
        if file.suffix in (".cfg", ".ini"):
            file.write_text(file.read_text().replace("{port}", str(port)))
    words = [word.format(port=port) for word in app.command]
    if leaks is not None:
        watch = [word for pattern in app.watch for word in ("--watch", pattern)]
        words = [
            "stateguard",
            "run",
            *watch,
            "--warm-up",
            str(WARM_UP),
            "--report-to",
            str(leaks),
            "--",
            *words,
        ]
    log = (directory.parent / f"{'guarded' if leaks else 'plain'}.log").open("wb")
    process = subprocess.Popen(
        words, cwd=directory, stdout=log, stderr=log, start_new_session=True,
        env={**os.environ, **app.environment, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"},
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(httpx.HTTPError):
                httpx.get(f"http://127.0.0.1:{port}{app.ready}", timeout=30)
                break
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(Path(log.name).read_text("utf-8", "replace")[-2000:])
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        log.close()


def _drive(app: App, url: str) -> tuple[float, dict[int, int]]:
    """Requests per second after the warm-up, and how many answers had which status."""
    asks = [ask for n in range(REQUESTS // len(app.asks(0)) + 1) for ask in app.asks(n)]
    warm, measured = asks[: WARM_UP + 20], asks[WARM_UP + 20 :]
    random.Random(1).shuffle(measured)
    statuses: dict[int, int] = {}
    lock = threading.Lock()
    with httpx.Client(base_url=url, timeout=30) as client:

        def ask(one: Ask) -> None:
            try:
                status = client.request(one[0], one[1], **one[2]).status_code
            except httpx.HTTPError:
                status = 0
            with lock:
                statuses[status] = statuses.get(status, 0) + 1

        for one in warm:
            ask(one)
        started = time.perf_counter()
        with ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(ask, measured))
        return len(measured) / (time.perf_counter() - started), statuses


def measure(name: str) -> tuple[float, float, dict[int, int], dict[int, int], Merged]:
    """Requests per second plain and guarded, the statuses of both, and the leaks."""
    app = APPS[name]
    rates, statuses = [], []
    with tempfile.TemporaryDirectory(prefix=f"popular-{name}-") as work:
        leaks = Path(work) / "leaks"
        leaks.mkdir()
        for guarded in (False, True):
            directory = Path(work) / ("guarded" if guarded else "plain")
            directory.mkdir()
            app.prepare(directory)
            with _served(app, directory, leaks if guarded else None) as url:
                rate, found = _drive(app, url)
            rates.append(rate)
            statuses.append(found)
        log = (Path(work) / "guarded.log").read_text("utf-8", "replace")
        for line in log.splitlines():
            if "unguarded" in line or "watches nothing" in line or "stateguard failed" in line:
                print(f"   {name}: {line}")
        return rates[0], rates[1], statuses[0], statuses[1], read_leaks([leaks])


def main() -> None:
    """Measure those named on the command line, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.popular")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"default: all of {', '.join(APPS)}")
    parser.add_argument("--watch", action="append", default=[], metavar="PACKAGE", help="watch this as well")
    options = parser.parse_args()
    more = [pattern for package in options.watch for pattern in (package, f"{package}.*")]
    for name in options.names or APPS:
        APPS[name] = replace(APPS[name], watch=(*APPS[name].watch, *more))
        try:
            plain, guarded, before, after, merged = measure(name)
        except Exception as error:
            print(f"{name}: could not be measured: {type(error).__name__}: {error}")
            continue
        worst = merged.worst_first()
        alarms = sum(one.leak.severity in ("critical", "high") for one in worst)
        same = "same answers" if before == after else f"answers {before} -> {after}"
        print(
            f"{name}: {alarms} alarms of {len(worst)} distinct; rate {guarded / plain:.2f} of plain; {same}"
        )
        for one in worst:
            leak = one.leak
            where = f"{leak.location.file}:{leak.location.line}" if leak.location else "-"
            print(
                f"   {leak.severity:<8} {leak.confidence:<9} {one.count:>5}x {leak.path} {leak.kind}  {where}"
            )
            print(f"            {leak.before} -> {leak.after}: {leak.reason}")


if __name__ == "__main__":
    main()
