"""The command as a user runs it: in process, and against a real uvicorn on loopback."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from contextlib import contextmanager

import pytest

CHAT = 'POST /chat {"message": "{canary}"}'


def probe(*arguments: str, timeout: float = 60):
    command = [sys.executable, "-m", "stateguard.cli", "probe", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout)


@contextmanager
def served(app: str, before: list[str] = []):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start = [*before, "uvicorn"] if before else [sys.executable, "-m", "uvicorn"]
    command = [*start, app, "--port", str(port), "--log-level", "warning"]
    server = subprocess.Popen([*command, "--lifespan", "off"])
    try:
        for _ in range(200):
            with socket.socket() as attempt:
                if attempt.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(20)


@pytest.mark.parametrize(
    ("app", "code", "word"),
    [
        ("history_leaking", 1, "LEAK"),
        ("history_clean", 0, "PASS"),
        ("mute", 3, "INCONCLUSIVE"),
        ("broken", 2, "INVALID"),
        ("wsgi_leaking", 1, "LEAK"),
        ("wsgi_clean", 0, "PASS"),
    ],
)
def test_exit_codes(app, code, word):
    done = probe(f"tests.probe.apps:{app}", "-r", CHAT)
    assert done.returncode == code, done.stdout + done.stderr
    assert done.stdout.startswith(word)


def test_the_carrier_and_its_line_are_named(tmp_path):
    junit = tmp_path / "probe.xml"
    done = probe("tests.probe.apps:history_leaking", "-r", CHAT, "--json", "--junit", str(junit))
    assert done.returncode == 1, done.stderr
    report = json.loads(done.stdout)
    assert report["verdict"] == "LEAK"
    carriers = [carrier for bleed in report["bleeds"] for carrier in bleed["carriers"]]
    assert any(
        c.startswith("tests.probe.apps.HISTORY appended at tests/probe/apps.py:") and "[critical, exact]" in c
        for c in carriers
    ), carriers
    suite = ET.parse(junit).getroot()
    assert suite.get("failures") == "1"
    assert suite.find("testcase/failure") is not None


@pytest.mark.parametrize(("app", "code"), [("stream_leaking", 1), ("stream_clean", 0), ("echoes_cookies", 0)])
def test_a_running_service(app, code):
    with served(f"tests.probe.apps:{app}") as url:
        done = probe(url, "-r", CHAT)
    assert done.returncode == code, done.stdout + done.stderr


@pytest.mark.parametrize(("app", "code"), [("websocket_leaking", 1), ("websocket_clean", 0)])
def test_websockets_of_a_running_service(app, code):
    with served(f"tests.probe.apps:{app}") as url:
        done = probe(url, "-r", "WS /chat {canary}", "--max-requests", "32")
    assert done.returncode == code, done.stdout + done.stderr


def test_nobody_there_is_invalid():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    done = probe(f"http://127.0.0.1:{port}", "-r", CHAT, "--max-requests", "16")
    assert done.returncode == 2
    assert done.stdout.startswith("INVALID")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("http://example.com", "-r", CHAT), "--allow-host example.com"),
        (("http://127.0.0.1.example.com", "-r", CHAT), "not this machine"),
        (("HTTP://example.com", "-r", CHAT), "not this machine"),
        (("http://127.0.0.1:99999", "-r", CHAT), "Port out of range"),
        (("ftp://127.0.0.1", "-r", CHAT), "is no http:// or https:// address"),
        (("tests.probe.apps:nothing", "-r", CHAT), "cannot load"),
        (("tests.probe.apps", "-r", CHAT), "module:attribute"),
        (("tests.probe.apps:mute",), "no requests"),
        (("tests.probe.apps:mute", "-r", "chat"), "METHOD /path"),
    ],
)
def test_usage_errors(arguments, message):
    done = probe(*arguments)
    assert done.returncode == 2
    assert message in done.stderr


def test_replay_repeats_it_and_shows_what_the_application_prints(tmp_path):
    page = tmp_path / "page.html"
    arguments = ("tests.probe.apps:overwritten_leaking", "-r", CHAT)
    done = probe(*arguments, "--html", str(page))
    assert done.returncode == 1, done.stderr
    token = done.stdout.split("--replay ")[1].split()[0]
    again = probe(*arguments, "--replay", token)
    assert again.returncode == 1, again.stderr
    assert "2 requests" in again.stdout
    assert "user 0 at tests/probe/apps.py:" in again.stdout
    text = page.read_text()
    assert token in text
    assert "carried by <code>tests.probe.apps.CURRENT[&#39;user&#39;]" in text
    assert "<script" not in text
    other = probe(
        "tests.probe.apps:overwritten_leaking", "-r", 'POST /else {"message": "{canary}"}', "--replay", token
    )
    assert other.returncode == 2
    assert "made for other requests" in other.stderr
    assert probe(*arguments, "--replay", "sg1-rubbish").returncode == 2


def test_a_token_whose_place_is_gone_is_inconclusive():
    done = probe("tests.probe.apps:overwritten_leaking", "-r", CHAT)
    token = done.stdout.split("--replay ")[1].split()[0]
    again = probe("tests.probe.apps:overwritten_clean", "-r", CHAT, "--replay", token)
    assert again.returncode == 3, again.stdout
    assert "could not be repeated" in again.stdout


def test_the_guard_of_a_running_service_names_the_carrier(tmp_path):
    guard = [sys.executable, "-m", "stateguard.cli", "run", "--report-to", str(tmp_path), "--"]
    with served("tests.probe.apps:history_leaking", guard) as url:
        done = probe(url, "-r", CHAT, "--leaks", str(tmp_path))
    assert done.returncode == 1, done.stderr
    assert "carried by tests.probe.apps.HISTORY appended" in done.stdout


def test_logins_and_saved_tokens(tmp_path):
    file = tmp_path / "requests.yaml"
    file.write_text("requests:\n  - {path: /who, headers: {Authorization: 'Bearer {token}'}}\n")
    login = ("--login", 'POST /login {"message": "{canary}"}', "--save", "token=session.token")
    done = probe("tests.probe.apps:tokens", *login, "--requests-file", str(file), "--max-requests", "48")
    assert done.returncode == 0, done.stdout + done.stderr
    done = probe(
        "tests.probe.apps:tokens", "-H", "Authorization: Bearer same", "-r", CHAT, "--max-requests", "48"
    )
    assert "every user sends the same authorization header" in done.stdout


@pytest.mark.parametrize(
    ("target", "options", "says"),
    [
        ("tests.probe.apps:CHAT", (), "is no application"),
        ("tests.probe.hostile:quits()", (), "fails: SystemExit: 0"),
        ("tests.probe.apps:mute", ("--leaks", "."), "is for a running service"),
        ("tests.probe.apps:mute", ("--save", "canary=a"), "under another name"),
    ],
)
def test_what_cannot_be_probed_is_a_usage_error(target, options, says):
    done = probe(target, "-r", CHAT, *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_report_that_cannot_be_written_comes_after_the_verdict():
    done = probe("tests.probe.apps:mute", "-r", CHAT, "--max-requests", "16", "--junit", "nowhere/at/all.xml")
    assert done.returncode == 2
    assert done.stdout.startswith("INCONCLUSIVE")
    assert "cannot write nowhere/at/all.xml" in done.stderr
