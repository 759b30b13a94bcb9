"""What a release promises: one version, one list of what is public, and the files that say so."""

from __future__ import annotations

import ast
import importlib
import re
import tomllib
from importlib import metadata
from pathlib import Path

import stateguard
from stateguard import errors, sessions
from tests.docs.pages import ROOT
from tools.release import EXTRAS, sources

API = ast.parse((Path(__file__).parents[1] / "public_api.py").read_text("utf-8"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def imported(module: str) -> set[str]:
    """What the typed file imports from ``module``."""
    found = (node for node in API.body if isinstance(node, ast.ImportFrom) and node.module == module)
    return {alias.name for node in found for alias in node.names}


def used() -> set[str]:
    return {node.id for node in ast.walk(API) if isinstance(node, ast.Name)}


def test_every_public_name_is_in_the_typed_file():
    assert imported("stateguard") == set(stateguard.__all__) - {"__version__"}
    classes = {
        name for name, value in vars(errors).items() if isinstance(value, type) and name.endswith("Error")
    }
    assert classes - {"StateGuardError"} <= imported("stateguard.errors")
    stores = {"MemoryStore", "SQLiteStore", "SessionStore", "SignedCookie", "SignedHeader"}
    assert stores <= imported("stateguard.sessions") <= set(sessions.__all__)
    unused = (imported("stateguard") | imported("stateguard.errors")) - used() - {"StateGuardError"}
    assert not unused


def test_the_version_stands_in_one_place():
    assert "version" in PROJECT["project"]["dynamic"]
    assert PROJECT["tool"]["hatch"]["version"]["path"] == "src/stateguard/_version.py"
    assert metadata.version("stateguard-middleware") == stateguard.__version__
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev\d+|a\d+|b\d+|rc\d+)?", stateguard.__version__)


def test_every_extra_is_tried_before_a_release():
    extras = set(PROJECT["project"]["optional-dependencies"])
    assert set(EXTRAS) - {""} == extras - {"examples", "bench", "docs", "release", "dev"}


def test_the_wheel_is_checked_for_the_files_that_matter():
    assert {"stateguard/py.typed", "stateguard/run/site/sitecustomize.py"} <= sources()
    assert any(name.startswith("stateguard/report/templates/") for name in sources())


def test_integrations_are_imported_by_nobody():
    importlib.import_module("stateguard.integrations")
    inside = {path.stem for path in (ROOT / "src/stateguard/integrations").glob("*.py")} - {"__init__"}
    source = "".join(
        path.read_text("utf-8")
        for path in (ROOT / "src/stateguard").rglob("*.py")
        if "integrations" not in path.parts
    )
    assert not [name for name in inside if f"stateguard.integrations.{name} import" in source]


def test_change_fragments_are_named_as_towncrier_reads_them():
    kinds = {kind["directory"] for kind in PROJECT["tool"]["towncrier"]["type"]}
    for path in (ROOT / "changes").iterdir():
        name = re.fullmatch(r"([\w-]+)\.(\w+)\.md", path.name)
        assert path.name == "README.md" or (name and name[2] in kinds), path
        assert path.read_text("utf-8").strip()
    assert "<!-- towncrier release notes start -->" in (ROOT / "CHANGELOG.md").read_text("utf-8")
