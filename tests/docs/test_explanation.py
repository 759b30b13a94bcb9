"""The short programs of the explanation pages come out as the text beside them says."""

from __future__ import annotations

import sys
import types

import pytest

from tests.docs.pages import blocks


@pytest.fixture
def run():
    names = []

    def make(page, name):
        module = types.ModuleType(f"explained_{name}")
        sys.modules[module.__name__] = module
        names.append(module.__name__)
        exec(compile(blocks(f"explanation/{page}.md")[name], f"{page}.md", "exec"), vars(module))
        return module

    yield make
    for name in names:
        del sys.modules[name]


def test_a_comparison_accuses_everybody(run):
    assert sorted(run("snapshots", "overlap").accused) == ["guilty", "innocent 0", "innocent 1", "innocent 2"]


def test_the_guard_names_one(run):
    module = run("attribution", "who")
    assert module.verdicts == [("exact", "guilty")]
    module.guard.close()
