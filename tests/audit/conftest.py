"""A program in a temporary directory, and ways to audit it."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from stateguard.audit import AuditOptions, audit
from stateguard.commands import stateguard


class Project:
    """Files below a temporary directory."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def audit(self, *paths: str, **options):
        return audit([self.root / p for p in paths] or [self.root], AuditOptions(root=self.root, **options))

    def findings(self, text: str, **options):
        self.write("app.py", text)
        return self.audit("app.py", **options).findings

    def run(self, *arguments: str, cache: bool = False):
        chosen = ["audit", *arguments] + ([] if cache else ["--no-cache"])
        return CliRunner().invoke(stateguard, chosen, prog_name="stateguard")


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    return Project(tmp_path)


LEAK = """\
from fastapi import FastAPI

app = FastAPI()
HISTORY = []


@app.post("/chat")
def chat(message: str):
    HISTORY.append(message)
"""


@pytest.fixture
def leak(project):
    project.write("app.py", LEAK)
    return project
