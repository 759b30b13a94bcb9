from __future__ import annotations

import sys
import types

import pytest

from tests.integrations.pages import forget, load


@pytest.fixture
def page():
    """``page("flask", "extension")``: that block of docs/frameworks/flask.md, loaded."""
    loaded = []

    def make(*names):
        loaded.append(load(*names))
        return loaded[-1]

    yield make
    for module in loaded:
        forget(module)


@pytest.fixture
def state():
    """An application module with shared state."""
    module = types.ModuleType("integration_state")
    sys.modules[module.__name__] = module
    exec("HISTORY = []\n\n\ndef leak(text='tainted'):\n    HISTORY.append(text)\n", vars(module))
    yield module
    del sys.modules[module.__name__]
