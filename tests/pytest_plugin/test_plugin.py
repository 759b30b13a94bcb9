"""The plugin, in pytest runs of its own: real processes, real clients."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

APP = """
HISTORY = []
COUNT = {"n": 0}


async def asgi(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        message = await receive()
        HISTORY.append(message["text"])
        await send({"type": "websocket.send", "text": "ok"})
        return
    COUNT["n"] += 1
    if scope["path"] == "/leak":
        HISTORY.append(scope["query_string"].decode())
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


def wsgi(environ, start_response):
    if environ["PATH_INFO"] == "/leak":
        HISTORY.append(environ["QUERY_STRING"])
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"ok"]
"""

FLASK = """
import flask
import app

site = flask.Flask("site")

@site.get("/<path:path>")
def view(path):
    if path == "leak":
        app.HISTORY.append(flask.request.args.get("user"))
    return "ok"
"""

DJANGO = """
import django
from django.conf import settings
from django.http import HttpResponse
from django.urls import path
import app

settings.configure(ROOT_URLCONF="site_django", SECRET_KEY="k", ALLOWED_HOSTS=["*"], DATABASES={})
django.setup()

def leak(request):
    app.HISTORY.append(request.GET["user"])
    return HttpResponse("ok")

async def aleak(request):
    app.HISTORY.append(request.GET["user"])
    return HttpResponse("ok")

def clean(request):
    return HttpResponse("ok")

urlpatterns = [path("leak", leak), path("aleak", aleak), path("clean", clean)]
"""

CLIENTS = {
    "starlette": """
        from starlette.testclient import TestClient
        client = TestClient(app.asgi)
        def get(url): return client.get(url)
        """,
    "starlette-with-lifespan": """
        def get(url):
            from starlette.testclient import TestClient
            with TestClient(app.asgi) as client:
                return client.get(url)
        """,
    "httpx-asgi": """
        import asyncio, httpx
        def get(url):
            async def run():
                transport = httpx.ASGITransport(app.asgi)
                async with httpx.AsyncClient(transport=transport, base_url="http://t") as c:
                    return await c.get(url)
            return asyncio.run(run())
        """,
    "httpx-wsgi": """
        import httpx
        def get(url):
            with httpx.Client(transport=httpx.WSGITransport(app.wsgi), base_url="http://t") as client:
                return client.get(url)
        """,
    "werkzeug": """
        def get(url):
            from werkzeug.test import Client
            return Client(app.wsgi).get(url)
        """,
    "flask": """
        import site_flask
        client = site_flask.site.test_client()
        def get(url): return client.get(url)
        """,
    "django": """
        import site_django
        from django.test import Client
        def get(url): return Client().get(url)
        """,
    "django-async": """
        import asyncio, site_django
        from django.test import AsyncClient
        def get(url): return asyncio.run(AsyncClient().get(url.replace("/leak", "/aleak")))
        """,
}


@pytest.fixture
def run(tmp_path: Path):
    for name, source in (("app", APP), ("site_flask", FLASK), ("site_django", DJANGO)):
        (tmp_path / f"{name}.py").write_text(source)
    (tmp_path / "pytest.ini").write_text("[pytest]\npythonpath = .\naddopts = -p no:cacheprovider\n")

    def start(source: str, *options: str) -> tuple[int, str]:
        (tmp_path / "test_it.py").write_text("import app, pytest\n" + textwrap.dedent(source))
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "STATEGUARD_"))}
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:randomly", *options],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.returncode, done.stdout + done.stderr

    return start


@pytest.mark.parametrize("client", CLIENTS)
def test_a_leak_fails_its_test_and_only_its(run, client):
    source = textwrap.dedent(CLIENTS[client]) + textwrap.dedent(
        """
        def test_clean(): assert get("/clean").status_code == 200
        def test_guilty(): assert get("/leak?user=alice-4711").status_code == 200
        def test_clean_again(): assert get("/clean").status_code == 200
        """
    )
    code, output = run(source, "--stateguard")
    assert code == 1, output
    assert "1 failed, 2 passed" in output
    assert "shared state appended: app.HISTORY [critical, exact" in output
    assert ".append(" in output  # the line
    assert "test_it.py::test_guilty left state to the next test:" in output
    assert run(source)[0] == 0


WEBSOCKET = """
    from starlette.testclient import TestClient
    def test_guilty():
        with TestClient(app.asgi).websocket_connect("/") as socket:
            socket.send_text("alice-4711")
            assert socket.receive_text() == "ok"
"""


def test_websocket(run):
    code, output = run(WEBSOCKET, "--stateguard")
    assert code == 1, output
    assert "app.HISTORY" in output


MARKED = """
    from starlette.testclient import TestClient
    client = TestClient(app.asgi)

    def test_free(): client.get("/leak?user=alice-4711")

    @pytest.mark.stateguard
    def test_marked(): client.get("/leak?user=alice-4711")

    @pytest.mark.stateguard(allow=["app.HISTORY  # an audit trail"])
    def test_allowed(): client.get("/leak?user=alice-4711")

    def test_fixture(stateguard):
        client.get("/clean")
        assert stateguard.leaks == [] or all(leak.severity == "note" for leak in stateguard.leaks)

    @pytest.mark.stateguard(mode="off")
    def test_off(): client.get("/leak?user=alice-4711")
"""


def test_marker_and_fixture(run):
    code, output = run(MARKED)
    assert code == 1, output
    assert "1 failed, 4 passed" in output
    assert "FAILED test_it.py::test_marked" in output


def test_a_marker_can_leave_a_test_out(run):
    code, output = run(MARKED, "--stateguard")
    assert "2 failed, 3 passed" in output, output


def test_wrong_options_are_a_clear_error(run):
    code, output = run("@pytest.mark.stateguard(colour='red')\ndef test_it(): pass")
    assert code != 0
    assert "Guard has no option 'colour'" in output


LEAKING = """
    from starlette.testclient import TestClient
    def test_guilty(): TestClient(app.asgi).get("/leak?user=alice-4711")
    def test_innocent(): TestClient(app.asgi).get("/clean")
"""


@pytest.mark.parametrize("options", [(), ("-n", "2"), ("-p", "randomly")])
def test_report_only(run, options):
    code, output = run(LEAKING, "--stateguard", "--stateguard-leaks=report", *options)
    assert code == 0, output
    assert "test_it.py::test_guilty leaked between requests:" in output
    assert "test_innocent l" not in output


def test_xdist_fails_the_guilty_test(run):
    code, output = run(LEAKING, "--stateguard", "-n", "2")
    assert "1 failed, 1 passed" in output, output
    assert "FAILED test_it.py::test_guilty" in output


def test_the_tests_own_failure_comes_first(run):
    source = textwrap.dedent(LEAKING).replace(
        '"/leak?user=alice-4711")', '"/leak?user=alice-4711"); assert 1 == 2'
    )
    code, output = run(source, "--stateguard")
    assert "assert 1 == 2" in output
    assert "app.HISTORY" in output  # at the end of the same test


CARRYOVER = """
    def test_left(): app.HISTORY.append("something")
    def test_put_back(monkeypatch): monkeypatch.setattr(app, "HISTORY", ["other"])
    def test_clean_up():
        app.HISTORY.append("x")
        app.HISTORY.pop()
"""


def test_state_that_a_test_leaves_to_the_next_one(run):
    code, output = run(CARRYOVER, "--stateguard")
    assert code == 0, output
    assert "test_it.py::test_left left state to the next test:" in output
    assert "app.HISTORY appended" in output
    assert output.count("left state to the next test") == 1
    code, output = run(CARRYOVER, "--stateguard", "--stateguard-carryover=fail")
    assert code == 1
    assert "3 passed, 1 error" in output
    assert run(CARRYOVER, "--stateguard", "--stateguard-carryover=off")[1].count("left state") == 0


ASYNC = """
    import httpx
    async def send(url):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app.asgi), base_url="http://t") as client:
            return await client.get(url)

    @pytest.mark.{mark}
    async def test_guilty(): await send("/leak?user=alice-4711")

    @pytest.mark.{mark}
    async def test_innocent(): await send("/clean")

    @pytest.fixture
    def anyio_backend(): return "{backend}"
"""


@pytest.mark.parametrize(
    ("mark", "backend"), [("asyncio", "asyncio"), ("anyio", "asyncio"), ("anyio", "trio")]
)
def test_async_plugins(run, mark, backend):
    code, output = run(ASYNC.format(mark=mark, backend=backend), "--stateguard")
    assert "1 failed, 1 passed" in output, output
    assert "FAILED test_it.py::test_guilty" in output


UNUSED = """
    import sys
    def test_nothing_is_loaded():
        heavy = ("stateguard.pytest_plugin.session", "stateguard.pytest_plugin.clients", "starlette")
        assert not [name for name in heavy if name in sys.modules]
"""


def test_costs_nothing_until_used(run):
    code, output = run(UNUSED)
    assert code == 0, output


FRAMEWORKS = """
    import sys
    def test_guarded():
        assert "stateguard.guard" in sys.modules
        assert not [n for n in ("starlette", "django", "flask", "werkzeug", "httpx") if n in sys.modules]
"""


def test_pulls_in_no_framework(run):
    code, output = run(FRAMEWORKS, "--stateguard")
    assert code == 0, output


PROBED = """
    import json
    HISTORY = []

    def leaking(environ, start_response):
        body = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        HISTORY.append(body["message"])
        start_response("200 OK", [])
        return [" ".join(HISTORY).encode()]

    async def clean(scope, receive, send):
        if scope["type"] != "http": return
        body = (await receive())["body"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    CHAT = 'POST /chat {"message": "{canary}"}'
    def test_leaking(stateguard_probe): stateguard_probe(leaking, CHAT)
    def test_clean(stateguard_probe): assert stateguard_probe(clean, CHAT).verdict == 'PASS'
    def test_unchecked(stateguard_probe): assert stateguard_probe(leaking, CHAT, check=False).bled
"""


def test_the_probe_inside_of_tests(run):
    code, output = run(PROBED)
    assert "1 failed, 2 passed" in output, output
    assert "LEAK: " in output
    assert "the canary of user" in output


def test_what_can_not_be_guarded_is_refused_in_one_sentence(run):
    source = """
        @pytest.mark.stateguard(budget="a lot")
        def test_marked(caplog): raise AssertionError("has been run")
        def test_other(): pass
    """
    _, output = run(source)
    assert "stateguard: budget='a lot' from the keyword argument" in output
    assert "1 passed, 1 error" in output, output
    assert "Traceback" not in output
    assert "KeyError" not in output
    _, output = run(source, "--stateguard", "--stateguard-watch=ap")
    assert "watch pattern 'ap' matches nothing" in output
    assert "2 errors" in output, output
    code, output = run(source, "-o", "stateguard_leaks=perhaps")
    assert code == pytest.ExitCode.USAGE_ERROR
    assert "stateguard_leaks is 'perhaps'; it may be fail or report" in output
