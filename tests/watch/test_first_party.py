"""Which modules are watched when nobody says which: those loaded from under the working directory."""

from __future__ import annotations

import sys
import types

import pytest

from stateguard.watch.patterns import first_party

NAME = "first_party_example"


@pytest.fixture
def load(monkeypatch):
    def as_from(file):
        module = types.ModuleType(NAME)
        module.__file__ = str(file)
        monkeypatch.setitem(sys.modules, NAME, module)

    return as_from


def test_a_file_belongs_to_where_its_link_points(tmp_path, load):
    own, installed = tmp_path / "own", tmp_path / "lib" / "site-packages"
    own.mkdir()
    installed.mkdir(parents=True)
    (installed / "real.py").write_text("")
    (own / "linked.py").symlink_to(installed / "real.py")
    load(own / "linked.py")
    assert not first_party(str(own))(NAME)
    load(own / "plain.py")
    assert first_party(str(own))(NAME)
    assert not first_party(str(installed))(NAME)


def test_each_guard_has_its_own_answer_for_one_file(tmp_path, load):
    load(tmp_path / "one" / "app.py")
    assert [first_party(str(tmp_path / at))(NAME) for at in ("one", "two", "one")] == [True, False, True]


def test_a_relative_file_is_looked_up_from_where_the_process_is_now(tmp_path, load, monkeypatch):
    load("app.py")
    for at in ("one", "two"):
        (tmp_path / at).mkdir()
        monkeypatch.chdir(tmp_path / at)
        assert first_party()(NAME)
    assert not first_party(str(tmp_path / "one"))(NAME)
