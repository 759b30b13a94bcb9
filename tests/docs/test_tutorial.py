"""docs/tutorial.md, step by step, with a real server and a real pytest."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import httpx

from tests.docs.pages import DOCS, blocks

PAGE = (DOCS / "tutorial.md").read_text("utf-8")
BLOCKS = blocks("tutorial.md")
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("STATEGUARD_")}


def talk(directory: Path) -> tuple[list[dict], str]:
    """Serve shop.py, be the two people of the page, return the answers and the log."""
    log_file = directory / "log.txt"
    paths = re.findall(r"(/chat\?say=[\w+]+)", PAGE.partition("```sh")[2])
    with socket.create_server(("127.0.0.1", 0)) as listener, log_file.open("wb") as log:
        descriptor = listener.fileno()
        command = ["-m", "uvicorn", "shop:app", "--fd", str(descriptor), "--log-level", "warning"]
        server = subprocess.Popen(
            [sys.executable, *command],
            cwd=directory,
            env=ENVIRONMENT,
            pass_fds=[descriptor],
            stdout=log,
            stderr=log,
        )
        url = "http://127.0.0.1:{}".format(*listener.getsockname()[1:])
    try:
        answers = [httpx.get(url + path, timeout=30).raise_for_status().json() for path in paths[:2]]
    finally:
        server.terminate()
        server.wait(20)
    return answers, log_file.read_text("utf-8")


def test_the_leak_and_its_report(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(BLOCKS["shop.py"] + "\n\n" + BLOCKS["guard"], "utf-8")
    answers, log = talk(tmp_path)
    assert answers[1] == {"heard": ["my pin is 4711", "hello"]}
    report = re.split(r"^(?=shared state)", log, flags=re.MULTILINE)[-1]
    shown = re.search(r"```text\n(.*?)```", PAGE, re.DOTALL)[1]
    for line in shown.splitlines():
        for part in line.split("…"):
            assert part.strip() in report, part


def test_the_cure_and_the_test_that_keeps_it(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(BLOCKS["cured"], "utf-8")
    (tmp_path / "test_shop.py").write_text(BLOCKS["test_shop.py"], "utf-8")
    answers, log = talk(tmp_path)
    assert answers == [{"heard": ["my pin is 4711"]}, {"heard": ["hello"]}]
    assert "shared state" not in log
    for source, code in ((BLOCKS["cured"], 0), (BLOCKS["shop.py"], 1)):
        (tmp_path / "shop.py").write_text(source, "utf-8")
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:randomly",
            "test_shop.py",
        ]
        done = subprocess.run(
            command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
