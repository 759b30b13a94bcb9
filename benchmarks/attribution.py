"""Who did it: precision and recall of the guard's accusations under concurrency, beside a naive snapshot.

``python -m benchmarks.attribution`` serves 400 requests per row, 20 and 100 in flight, of which 1, 5 or 25 %
write to shared state: through an alias, a C function, a rebound name, an attribute, a nested container, a
dict, a class. What is true is known from the seeded plan, and compared with what the guard says:

* ``precision``: of the exact accusations, the share that name a guilty request and the state that it wrote
* ``first``: of the leaks that happen once, the share that is exact the first and only time
* ``by 5th``: of the leaks that happen five times, the share that is exact at least once by then
* ``line``: of the leaks with a line, the share with the right one; ``located``: the share that has a line
* ``naive``: a deep comparison before and after each request, in the same run: precision and recall
* ``raise``: innocent requests that failed in ``on_leak="raise"`` mode

With the default ``--budget 1`` the guard looks as often as exactness takes; with the guard's own default of
0.05 it spaces its looks when the load is high, and calls more of what it finds a suspicion.

``--quick`` is for continuous integration: fewer rows, fewer requests. Exit code 1 when the reach is missed:
precision 1.000, ``first`` 1.000 for async and child tasks, ``by 5th`` 0.95, ``line`` 0.99, ``raise`` 0.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import logging
import random
import re
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.attribution_clients import ask_all
from stateguard import Guard

STATEMENTS = (
    ("[]", "ALIASES[{i}](rid)"),
    ("[]", "heapq.heappush(S{i}, rid)"),
    ("''", "S{i} = rid"),
    ("Box()", "S{i}.user = rid"),
    ("{{'a': [{{'b': []}}]}}", "S{i}['a'][0]['b'].append(rid)"),
    ("{{}}", "S{i}.update(last=rid)"),
    ("type('S{i}', (), {{'user': None}})", "setattr(S{i}, 'user', rid)"),
)
"""How a site's state begins, and how a request changes it."""

HEAD = """
import asyncio, heapq, random, time
from flask import Flask
from flask import request as flask_request
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route

class Box:
    user = None

"""

TAIL = """

def spend(rng):
    total = 0
    for n in range(rng.randrange(50, 400)):
        total += n * n
    return total

def read():
    return len(str(S0)) + len(SITES)

def write(site, rid):
    if site is not None:
        SITES[int(site)](rid)

async def work(site, rid):
    rng = random.Random(rid)
    await asyncio.sleep(rng.random() * 0.004)
    spend(rng)
    mine = [rid, read()]
    write(site, rid)
    mine.append(spend(rng))
    await asyncio.sleep(rng.random() * 0.004)
    return len(mine)

def work_sync(site, rid):
    rng = random.Random(rid)
    time.sleep(rng.random() * 0.004)
    mine = [spend(rng), rid]
    write(site, rid)
    mine.append(read())
    spend(rng)
    time.sleep(rng.random() * 0.004)
    return len(mine)

async def endpoint(request):
    done = await work(request.query_params.get("site"), request.headers["x-request-id"])
    return PlainTextResponse(str(done))

def endpoint_sync(request):
    done = work_sync(request.query_params.get("site"), request.headers["x-request-id"])
    return PlainTextResponse(str(done))

async def endpoint_tasks(request):
    rid = request.headers["x-request-id"]
    other = asyncio.create_task(work(None, rid))
    async with asyncio.TaskGroup() as group:
        group.create_task(work(request.query_params.get("site"), rid))
        group.create_task(work(None, rid))
    await other
    return PlainTextResponse("done")

class Passing(BaseHTTPMiddleware):
    async def dispatch(self, request, call_next):
        return await call_next(request)

routes = [Route("/async", endpoint), Route("/sync", endpoint_sync), Route("/tasks", endpoint_tasks)]
app = Starlette(routes=routes)
layered = Starlette(routes=routes, middleware=[Middleware(Passing)])
flask_app = Flask(__name__)

@flask_app.get("/sync")
def flask_endpoint():
    done = work_sync(flask_request.args.get("site"), flask_request.headers["X-Request-ID"])
    return str(done)
"""

SCENARIOS = (
    ("async", "app", "/async", False),
    ("child tasks", "app", "/tasks", False),
    ("BaseHTTPMiddleware", "layered", "/async", False),
    ("threadpool", "app", "/sync", True),
    ("flask, threads", "flask_app", "/sync", True),
)
"""Name, application, path, and whether requests run on threads."""

_modules = iter(range(1_000_000))


def make_module(folder: Path, sites: int) -> tuple[Any, dict[int, tuple[str, int]]]:
    """A fresh application with that many places to write at, and the file and line of each write."""
    lines = HEAD.splitlines()
    where: dict[int, int] = {}
    for i in range(sites):
        start, statement = STATEMENTS[i % len(STATEMENTS)]
        lines += [f"S{i} = {start.format(i=i)}", f"def site_{i}(rid):"]
        if i % len(STATEMENTS) == 2:
            lines.append(f"    global S{i}")
        lines += ["    text = rid.upper()", "    " + statement.format(i=i)]
        where[i] = len(lines)
        lines += ["    return len(text)", ""]
    lines.append("SITES = (" + "".join(f"site_{i}, " for i in range(sites)) + ")")
    aliased = range(0, sites, len(STATEMENTS))
    lines.append("ALIASES = {" + ", ".join(f"{i}: S{i}.append" for i in aliased) + "}")
    name = f"attribution_app_{next(_modules)}"
    file = folder / f"{name}.py"
    file.write_text("\n".join(lines) + TAIL)
    importlib.invalidate_caches()
    module = importlib.import_module(name)
    return module, {i: (str(file), line) for i, line in where.items()}


# -- naive -----------------------------------------------------------------------------------------


class BeforeAfter:
    """Accuses a request of what differs between its beginning and its end."""

    def __init__(self, module: Any, sites: int) -> None:
        self._module = module
        self._names = [f"S{i}" for i in range(sites)]
        self.accused: set[str] = set()

    def _state(self) -> str:
        found = [getattr(self._module, name) for name in self._names]
        return repr([vars(value).get("user") if hasattr(value, "__dict__") else value for value in found])

    def begin(self) -> str:
        """What the state is when a request begins."""
        return self._state()

    def end(self, rid: str, before: str) -> None:
        """The request has ended."""
        if self._state() != before:
            self.accused.add(rid)

    def asgi(self, app: Any) -> Any:
        """Wrap an ASGI application."""

        async def watched(scope: Any, receive: Any, send: Any) -> None:
            before = self.begin()
            try:
                await app(scope, receive, send)
            finally:
                self.end(dict(scope["headers"])[b"x-request-id"].decode(), before)

        return watched

    def wsgi(self, app: Any) -> Callable[..., Iterable[bytes]]:
        """Wrap a WSGI application."""

        def watched(environ: Any, start_response: Any) -> Iterable[bytes]:
            before = self.begin()
            try:
                body = app(environ, start_response)
                try:
                    return list(body)
                finally:
                    if hasattr(body, "close"):
                        body.close()
            finally:
                self.end(environ["HTTP_X_REQUEST_ID"], before)

        return watched


# -- serving ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Plan:
    """Which request writes where. ``None``: nowhere."""

    sites: int
    writes: dict[str, int | None]

    def guilty(self) -> dict[str, int]:
        """The requests that write."""
        return {rid: site for rid, site in self.writes.items() if site is not None}


def make_plan(requests: int, share: float, recurring: bool, rng: random.Random) -> Plan:
    """A shuffled plan; ``recurring``: every site is written to five times, else once."""
    guilty = max(1, round(requests * share))
    if recurring:
        guilty = max(5, guilty // 5 * 5)
        places = [n // 5 for n in range(guilty)]
    else:
        places = list(range(guilty))
    writes: list[int | None] = [*places, *([None] * (requests - guilty))]
    rng.shuffle(writes)
    names = [f"req-{rng.getrandbits(40):010x}" for _ in writes]
    return Plan(max(places) + 1, dict(zip(names, writes, strict=True)))


async def _call(app: Any, path: str, rid: str, site: int | None) -> str:
    query = "" if site is None else f"site={site}"
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(b"host", b"bench.test"), (b"x-request-id", rid.encode())],
        "client": ("127.0.0.1", 40000),
        "server": ("127.0.0.1", 80),
    }
    status = "none"
    asked = False

    async def receive() -> dict[str, Any]:
        nonlocal asked
        if asked:
            await asyncio.sleep(3600)
        asked = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = str(message["status"])

    try:
        await app(scope, receive, send)
    except Exception as error:
        return type(error).__name__
    return status


def serve_asgi(app: Any, path: str, plan: Plan, in_flight: int) -> dict[str, str]:
    """Serve the plan in one event loop; the status of each request."""
    outcomes: dict[str, str] = {}
    todo = iter(plan.writes.items())

    async def client() -> None:
        for rid, site in todo:
            outcomes[rid] = await _call(app, path, rid, site)

    async def run() -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(in_flight):
                group.create_task(client())

    asyncio.run(run())
    return outcomes


def serve_wsgi(app: Any, path: str, plan: Plan, in_flight: int) -> dict[str, str]:
    """Serve the plan on werkzeug's threaded server, on loopback; the status of each request."""
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        def log(self, *args: Any) -> None:
            pass

    class Server:
        def __init__(self) -> None:
            self.http = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
            self.http.daemon_threads = True
            self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.05})

    server = Server()
    server.http.socket.listen(256)
    server.thread.start()

    try:
        # Not on threads of this process: where lines are traced per thread (Python 3.11), nothing would be
        # known of what those run, and a service's clients are elsewhere.
        return ask_all(server.http.port, path, in_flight, list(plan.writes.items()))
    finally:
        server.http.shutdown()
        server.thread.join()
        server.http.server_close()


# -- judging ---------------------------------------------------------------------------------------


@dataclass(slots=True)
class Score:
    """What was said in one or more runs."""

    exact: int = 0
    right: int = 0
    expected: int = 0
    met: int = 0
    reported: int = 0
    located: int = 0
    on_line: int = 0
    naive_accused: int = 0
    naive_right: int = 0
    guilty: int = 0
    failed: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Setting:
    """One row."""

    name: str
    app: str
    path: str
    threads: bool
    in_flight: int
    share: float


def run(setting: Setting, plan: Plan, folder: Path, options: dict[str, Any], on_leak: str = "log") -> Score:
    """Serve one plan under a guard, and compare what it says with the plan."""
    module, lines = make_module(folder, plan.sites)
    guard = Guard(watch=[module.__name__], on_leak=on_leak, keep=100_000, process=False, **options)
    naive = BeforeAfter(module, plan.sites)
    app = getattr(module, setting.app)
    wsgi = setting.app == "flask_app"
    try:
        guard.start()
        wrapped = naive.wsgi(guard.wsgi(app)) if wsgi else naive.asgi(guard.asgi(app))
        serve = serve_wsgi if wsgi else serve_asgi
        outcomes = serve(wrapped, setting.path, plan, setting.in_flight)
        leaks = list(guard.leaks)
    finally:
        guard.close()
        del sys.modules[module.__name__]
    guilty = plan.guilty()
    score = Score(guilty=len(guilty), expected=plan.sites)
    bad = {rid for rid, outcome in outcomes.items() if outcome != "200"}
    score.failed = sorted(bad - set(guilty))
    score.broken = sorted(bad & set(guilty)) if on_leak == "log" else []
    met = set()
    for leak in leaks:
        place = re.search(r"\.S(\d+)\b", leak.path)
        if place is None:
            score.exact += leak.confidence == "exact"
            continue
        site = int(place[1])
        score.reported += 1
        if leak.location is not None:
            score.located += 1
            score.on_line += (leak.location.file, leak.location.line) == lines[site]
        if leak.confidence == "exact":
            score.exact += 1
            if leak.request is not None and guilty.get(leak.request.id) == site:
                score.right += 1
                met.add(site)
    score.met = len(met)
    score.naive_accused = len(naive.accused)
    score.naive_right = len(naive.accused & set(guilty))
    return score


def ratio(part: int, whole: int) -> str:
    """A share with three digits; a dash for a share of nothing."""
    return f"{part / whole:.3f}" if whole else "-"


COLUMNS = (
    ("scenario", 19),
    ("in flight", 10),
    ("guilty", 7),
    ("precision", 10),
    ("first", 6),
    ("by 5th", 7),
    ("line", 6),
    ("located", 8),
    ("raise", 6),
    ("naive precision", 16),
    ("naive recall", 12),
)


def _print(cells: Sequence[str]) -> None:
    print(
        " ".join(cell.ljust(width) for cell, (_, width) in zip(cells, COLUMNS, strict=True)).rstrip(),
        flush=True,
    )


def measure(setting: Setting, requests: int, seed: int, folder: Path, options: dict[str, Any]) -> list[str]:
    """Print one row; return what falls short of the reach."""
    rng = random.Random(f"{seed} {setting}")
    once = run(setting, make_plan(requests, setting.share, False, rng), folder, options)
    often = run(setting, make_plan(requests, setting.share, True, rng), folder, options)
    strict = run(setting, make_plan(requests, setting.share, False, rng), folder, options, on_leak="raise")
    exact, right = once.exact + often.exact, once.right + often.right
    located, on_line = once.located + often.located, once.on_line + often.on_line
    naive, naive_right = once.naive_accused + often.naive_accused, once.naive_right + often.naive_right
    _print(
        (
            setting.name,
            str(setting.in_flight),
            f"{setting.share:.0%}",
            ratio(right, exact),
            ratio(once.met, once.expected),
            ratio(often.met, often.expected),
            ratio(on_line, located),
            ratio(located, once.reported + often.reported),
            str(len(strict.failed)),
            ratio(naive_right, naive),
            ratio(naive_right, once.guilty + often.guilty),
        )
    )
    short = []
    if right != exact:
        short.append(f"precision: {exact - right} of {exact} exact accusations are wrong")
    if not setting.threads and options["budget"] >= 1 and once.met < once.expected:
        short.append(f"first: {once.met} of {once.expected}")
    if often.met < 0.95 * often.expected:
        short.append(f"by 5th: {often.met} of {often.expected}")
    if located and on_line < 0.99 * located:
        short.append(f"line: {on_line} of {located}")
    if strict.failed or once.failed or often.failed or once.broken or often.broken:
        short.append(f"failed requests: {[*strict.failed, *once.failed, *often.failed, *once.broken][:5]}")
    return [f"{setting.name}, {setting.in_flight} in flight, {setting.share:.0%}: {text}" for text in short]


def main(argv: Sequence[str] | None = None) -> int:
    """Run all rows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="120 requests, 20 in flight, 5 and 25 %% guilty")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--requests", type=int, default=0, help="per run (default: 400, quick: 120)")
    parser.add_argument("--locate", choices=("auto", "always", "never"), default="auto")
    parser.add_argument(
        "--budget", type=float, default=1.0, help="share of time for looking; 1: as much as exactness takes"
    )
    parser.add_argument("--only", default="", help="only scenarios whose name contains this")
    parser.add_argument("--switch", type=float, default=0.0, help="thread switch interval in seconds")
    options = parser.parse_args(argv)
    logging.getLogger("stateguard").setLevel(logging.CRITICAL)
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)  # it prints what raise mode raises
    if options.switch:
        sys.setswitchinterval(options.switch)
    requests = options.requests or (120 if options.quick else 400)
    flights, shares = ((20,), (0.05, 0.25)) if options.quick else ((20, 100), (0.01, 0.05, 0.25))
    guard_options = {"locate": options.locate, "budget": options.budget}
    began = time.perf_counter()
    short: list[str] = []
    version = ".".join(map(str, sys.version_info[:3]))
    print(f"Python {version}, seed {options.seed}, {requests} requests a run, {guard_options}\n")
    _print([name for name, _ in COLUMNS])
    with tempfile.TemporaryDirectory() as name:
        sys.path.insert(0, name)
        for scenario in SCENARIOS:
            if options.only and options.only not in scenario[0]:
                continue
            for in_flight in flights:
                for share in shares:
                    setting = Setting(*scenario, in_flight, share)
                    short += measure(setting, requests, options.seed, Path(name), guard_options)
        sys.path.remove(name)
    print(f"\n{time.perf_counter() - began:.0f} seconds")
    for text in short:
        print(f"short of the reach: {text}")
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())
