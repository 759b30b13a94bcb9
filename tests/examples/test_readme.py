"""The README tells the truth: its app gives its output, its options exist, its links lead somewhere."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from stateguard.config import Config
from stateguard.leak import SEVERITIES

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def comparable(report: str) -> str:
    """A report without ids and hashes: some differ from run to run, all may from version to version."""
    return re.sub(r"(leak |request |#)[0-9a-f]+", r"\1…", report).strip()


def log_of_the_first_app(directory: Path) -> str:
    """Serve the README's app with uvicorn, send the two requests it names, return the log."""
    (directory / "shop.py").write_text(blocks("python")[0], "utf-8")
    log_file = directory / "log.txt"
    with socket.create_server(("127.0.0.1", 0)) as listener, log_file.open("wb") as log:
        descriptor = listener.fileno()
        command = [
            sys.executable,
            "-m",
            "uvicorn",
            "shop:app",
            "--fd",
            str(descriptor),
            "--log-level",
            "warning",
        ]
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("STATEGUARD_")
        }
        server = subprocess.Popen(
            command, cwd=directory, env=environment, pass_fds=[descriptor], stdout=log, stderr=log
        )
        url = "http://127.0.0.1:{}".format(*listener.getsockname()[1:])
    try:
        for words in re.findall(r"/chat\?say=[\w+]+", README):
            answer = httpx.get(url + words, timeout=20)
    finally:
        server.terminate()
        server.wait(20)
    assert "4711" in answer.text, "the second caller reads the first one's pin"
    return log_file.read_text("utf-8")


def test_the_first_app_gives_the_output_shown(tmp_path: Path) -> None:
    log = log_of_the_first_app(tmp_path)
    reports = re.split(r"^(?=shared state)", log, flags=re.MULTILINE)
    assert comparable(reports[-1]) == comparable(blocks("text")[0])


def test_the_option_table_is_complete_and_has_the_right_defaults() -> None:
    table = dict(re.findall(r"^\| `(\w+)` \| (.+?) \|", README.partition("## Options")[2], re.MULTILINE))
    options = {name: getattr(Config, name) for name in Config.__annotations__}
    assert set(options) <= set(table)
    for name, shown in table.items():
        if shown.startswith("`") and name != "session_factory" and name in options:
            assert shown.strip("`").replace('"', "'") == repr(options[name]), name


def test_the_severity_table_is_complete() -> None:
    for severity in SEVERITIES:
        assert re.search(rf"^\| `{severity}` \|", README, re.MULTILINE)


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_links_lead_to_files(name: str) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / name).read_text("utf-8")):
        assert target.startswith("http") or (ROOT / target).exists(), target


def test_both_commands_are_one_line_each() -> None:
    commands = blocks("sh")
    assert len(commands) == 2
    assert all(command.count("\n") == 1 for command in commands)
