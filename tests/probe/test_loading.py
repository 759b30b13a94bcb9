"""What is said when the application that a command names can not be loaded: what, and where."""

from __future__ import annotations

import sys

import pytest

from stateguard.commands.loading import load
from stateguard.errors import ConfigError

FILES = {
    "loading_shop": (
        "def app(): ...\nSTOCK = []\ndef create_app(): return app\ndef closed(): raise OSError('no')\n"
    ),
    "loading_uses": "import loading_needs\n",
    "loading_needs": "\nimport no_such_library\n",
    "loading_breaks": "import os\nKEY = os.environ['NO_SUCH_KEY']\n",
    "loading_exits": "raise SystemExit('give a configuration')\n",
    "loading_typo": "app = (\n",
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    for name, text in FILES.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name in FILES:
        sys.modules.pop(name, None)


def test_an_application_and_its_factory(here):
    assert load("loading_shop:create_app()") is load("loading_shop:app")


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("no_such_shop:app", "there is no module 'no_such_shop'. Modules are looked for in"),
        ("loading_shop.sub:app", "there is no module 'loading_shop.sub'"),
        ("loading_shop:ap", "module 'loading_shop' has no attribute 'ap'. Did you mean 'app'?"),
        ("loading_shop:nothing_alike", "Did you mean 'app' or 'create_app'?"),
        ("loading_shop:app.router", "'app' has no attribute 'router'"),
        ("loading_shop:STOCK", "list objects cannot be called"),
        ("loading_shop:closed()", "loading_shop:closed() fails: OSError: no (loading_shop.py:4)"),
        ("loading_uses:app", "ModuleNotFoundError: No module named 'no_such_library' (loading_needs.py:2)"),
        ("loading_breaks:app", "KeyError: 'NO_SUCH_KEY' (loading_breaks.py:2)"),
        ("loading_exits:app", "SystemExit: give a configuration (loading_exits.py:1)"),
        ("loading_typo:app", "(loading_typo.py, line 1)"),
        ("loading_shop", "module:attribute"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(here, target, said):
    with pytest.raises(ConfigError) as caught:
        load(target)
    assert said in str(caught.value)
