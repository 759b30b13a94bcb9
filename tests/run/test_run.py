"""``stateguard run`` in front of every server, with several workers: no line of the application changes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.run.command import BIN, ROOT, started

pytestmark = pytest.mark.timeout(110)
SHOP = "tests.run.shop"
GUNICORN = (
    *("gunicorn", "-c", "python:tests.servers.gunicorn_conf", "--log-level", "warning"),
    *("-b", "127.0.0.1:{port}"),
)
SERVERS: dict[str, tuple[tuple[str, ...], int]] = {
    "uvicorn": (
        ("uvicorn", f"{SHOP}.asgi:app", "--workers", "4", "--port", "{port}", "--log-level", "warning"),
        4,
    ),
    "uvicorn-factory": (("uvicorn", "--factory", f"{SHOP}.asgi:factory", "--port", "{port}"), 1),
    "uvicorn-wsgi": (
        (sys.executable, "-W", "ignore", "-m", "uvicorn", "--interface", "wsgi", f"{SHOP}.wsgi:app")
        + ("--port", "{port}"),
        1,
    ),
    "hypercorn": (("hypercorn", "-w", "2", "-b", "127.0.0.1:{port}", f"{SHOP}.asgi:app"), 2),
    "hypercorn-wsgi": (("hypercorn", "-b", "127.0.0.1:{port}", f"wsgi:{SHOP}.wsgi:app"), 1),
    "gunicorn-sync": ((*GUNICORN, "-w", "3", f"{SHOP}.wsgi:app"), 3),
    "gunicorn-gthread": ((*GUNICORN, "-w", "2", "--threads", "4", f"{SHOP}.wsgi:app"), 2),
    "gunicorn-preload": ((*GUNICORN, "-w", "2", "--preload", f"{SHOP}.wsgi:app"), 2),
    "gunicorn-gevent": ((*GUNICORN, "-w", "2", "-k", "gevent", f"{SHOP}.wsgi:app"), 2),
    "flask": (("flask", "--app", f"{SHOP}.flask_app", "run", "--port", "{port}"), 1),
    "flask-reload": (("flask", "--app", f"{SHOP}.flask_app", "run", "--debug", "--port", "{port}"), 1),
    "django": (("tests/run/shop/manage.py", "runserver", "--noreload", "127.0.0.1:{port}"), 1),
    "waitress": (("waitress-serve", "--listen", "127.0.0.1:{port}", f"{SHOP}.wsgi:app"), 1),
    "cheroot": (("cheroot", "--bind", "127.0.0.1:{port}", f"{SHOP}.wsgi:app"), 1),
    "gevent": (("python", "-m", f"{SHOP}.gevent_program", "{port}"), 1),
    "any-program": (("python", "-m", f"{SHOP}.plain", "{port}"), 1),
}


@pytest.mark.parametrize("name", SERVERS)
def test_every_worker_is_guarded(name: str, tmp_path: Path) -> None:
    command, workers = SERVERS[name]
    with started(command, tmp_path, ["--watch", SHOP]) as server:
        pids = server.all_workers(workers)
        assert len(pids) == workers
    alarm = "shared state appended: tests.run.shop.state.HISTORY [high"
    for pid in pids:
        # waitress-serve sets up the root logger, whose format has no process id.
        said = f"WARNING:stateguard:{alarm}" if name == "waitress" else f"WARNING [{pid}] {alarm}"
        assert said in server.log
    assert 'state.HISTORY.append("a" * 20)' in server.log, "the line is named"
    assert "Traceback" not in server.log


@pytest.mark.parametrize("name", ["uvicorn", "gunicorn-sync"])
def test_mode_off_leaves_the_server_alone(name: str, tmp_path: Path) -> None:
    command, workers = SERVERS[name]
    with started(command, tmp_path, ["--watch", SHOP], {"STATEGUARD_MODE": "off"}) as server:
        server.all_workers(workers)
    assert "shared state" not in server.log


def test_mode_scope_only_watches_nothing(tmp_path: Path) -> None:
    with started(SERVERS["waitress"][0], tmp_path, ["--watch", SHOP, "--mode", "scope-only"]) as server:
        server.workers(3)
    assert "shared state" not in server.log


@pytest.mark.parametrize("name", ["uvicorn", "gunicorn-sync", "waitress"])
def test_mode_raise_fails_the_guilty_request(name: str, tmp_path: Path) -> None:
    with started(SERVERS[name][0], tmp_path, ["--watch", SHOP], {"STATEGUARD_MODE": "raise"}) as server:
        assert httpx.get(server.url, timeout=20).status_code == 500
    assert "SharedStateMutated" in server.log


def test_a_wrong_watch_is_said_and_the_service_starts(tmp_path: Path) -> None:
    with started(SERVERS["waitress"][0], tmp_path, ["--watch", "no_such_module"]) as server:
        server.workers(2)
    assert "runs unguarded" in server.log
    assert "no_such_module" in server.log


def test_allow_and_threshold_reach_the_workers(tmp_path: Path) -> None:
    options = ["--watch", SHOP, "--allow", "tests.run.shop.state:HISTORY"]
    with started(SERVERS["uvicorn"][0], tmp_path, options) as server:
        server.all_workers(4)
    assert "shared state" not in server.log


def _stateguard(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(BIN / "stateguard"), *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **env},
        cwd=ROOT,
    )


def test_the_exit_code_and_the_output_are_the_commands() -> None:
    done = _stateguard("run", "--", sys.executable, "-c", "print('out'); raise SystemExit(7)")
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "")


def test_options_of_the_command_are_its_own() -> None:
    done = _stateguard("run", sys.executable, "-c", "import sys; print(sys.argv)", "--watch", "-h")
    assert done.stdout.strip() == "['-c', '--watch', '-h']"


def test_a_missing_program_is_named() -> None:
    done = _stateguard("run", "--", "no-such-server", "x")
    assert done.returncode == 2
    assert "there is no program 'no-such-server'" in done.stderr


def test_a_wrong_option_is_refused_before_anything_starts() -> None:
    done = _stateguard("run", "--", sys.executable, "-c", "print('ran')", STATEGUARD_LOCATE="sometimes")
    assert done.returncode == 2
    assert "STATEGUARD_LOCATE" in done.stderr
    assert not done.stdout


def test_the_environments_own_sitecustomize_still_runs(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.hello = 'hello'\n")
    script = (
        "import sys, sitecustomize; "
        "print(sys.hello, sitecustomize.__file__, any('run/site' in p for p in sys.path))"
    )
    done = _stateguard("run", "--", sys.executable, "-c", script, PYTHONPATH=str(tmp_path))
    assert done.stdout.split() == ["hello", str(tmp_path / "sitecustomize.py"), "False"], done.stderr


def test_other_python_processes_do_not_import_stateguard() -> None:
    script = "import sys, json; print([name for name in sys.modules if name.startswith('stateguard')])"
    assert _stateguard("run", "--", sys.executable, "-c", script).stdout.strip() == "[]"


def test_a_patched_module_keeps_its_loader() -> None:
    script = "import uvicorn.config, inspect; print(type(uvicorn.config.__loader__).__name__)"
    done = _stateguard("run", "--", sys.executable, "-c", script)
    assert done.stdout.strip() == "SourceFileLoader", done.stderr
