"""Every code block of docs/cure/*.md is executed: the leaking ones leak, the repaired ones do not."""

from __future__ import annotations

import re
import subprocess
import sys
import types
from pathlib import Path

import httpx
import pytest
from starlette.testclient import TestClient

from stateguard.errors import FreezeError, SessionDenied
from stateguard.sessions import SessionStore

PAGES = Path(__file__).parents[2] / "docs/cure"


def block(page: str, name: str) -> str:
    text = (PAGES / f"{page}.md").read_text("utf-8")
    return re.search(rf"```python {name}\n(.*?)```", text, re.DOTALL)[1]


@pytest.fixture
def load(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    loaded = []

    def make(page, name):
        module = types.ModuleType(f"docs_{page}_{name.replace('-', '_')}")
        monkeypatch.setitem(sys.modules, module.__name__, module)
        exec(compile(block(page, name), f"{page}.md:{name}", "exec"), vars(module))
        loaded.append(module)
        return module

    yield make
    for module in loaded:
        for value in vars(module).values():
            if hasattr(value, "user_middleware"):
                for middleware in value.user_middleware:
                    store = middleware.kwargs.get("store")
                    if store is not None:
                        store.close()
            if hasattr(value, "wsgi_app"):
                served = getattr(value.wsgi_app, "_served", None)
                if hasattr(served, "binding"):
                    served.binding.store.close()
            if isinstance(value, SessionStore):
                value.close()


def wsgi_client(app):
    return httpx.Client(transport=httpx.WSGITransport(app), base_url="http://testserver")


def test_every_page_is_executed():
    blocks = {
        (page.stem, name)
        for page in PAGES.glob("*.md")
        for name in re.findall(r"^```python ([\w-]+)$", page.read_text("utf-8"), re.MULTILINE)
    }
    source = (
        Path(__file__).read_text("utf-8")
        + (Path(__file__).parents[1] / "scope/test_scoped_docs.py").read_text()
    )
    assert not [name for page, name in blocks if f'"{name}"' not in source]
    assert all("```python\n" not in page.read_text("utf-8") for page in PAGES.glob("*.md"))


@pytest.mark.parametrize("name", ["leaking", "repaired"])
def test_sessions(load, name):
    app = load("sessions", name).app
    with TestClient(app) as ada, TestClient(app) as bob:
        ada.get("/chat/my PIN is 1234")
        assert (bob.get("/chat/hello").json() == ["hello"]) is (name == "repaired")
        assert ada.get("/chat/again").json()[0] == "my PIN is 1234"


def test_sessions_flask(load):
    app = load("sessions", "flask").app
    with wsgi_client(app) as ada, wsgi_client(app) as bob:
        ada.get("/chat/a")
        assert bob.get("/chat/b").json() == ["b"]
        assert ada.get("/chat/c").json() == ["a", "c"]


def test_snippet_loses_an_update(load):
    turn = load("sessions", "snippet").turn

    class Store(dict):
        """A store in which somebody else's turn falls between load and save."""

        other = None

        def get(self, key):
            found = super().get(key)
            if self.other is not None:
                other, self.other = self.other, None
                other()
            return found

        def set(self, key, value):
            self[key] = value

    store = Store()
    store.other = lambda: turn(store, "c", "lost")
    turn(store, "c", "kept")
    assert "lost" not in store["c"]
    assert "kept" in store["c"]


def test_update(load):
    remember = load("sessions", "update").remember
    assert [remember("c", text) for text in "ab"] == [1, 2]


@pytest.mark.parametrize("name", ["leaking", "repaired"])
def test_freeze(load, name):
    module = load("freeze", name)
    assert module.tools_for("admin") == ["search", "delete"]
    assert (module.tools_for("bob") == ["search"]) is (name == "repaired")
    if name == "repaired":
        with pytest.raises(FreezeError, match="Make a changed copy"):
            module.TOOL_DEFINITIONS.append(1)


def test_freeze_module(load):
    module = load("freeze", "module")
    with pytest.raises(FreezeError, match="LIMIT was rebound"):
        module.config.LIMIT = 6
    module.handle.thaw()
    del sys.modules["myapp_config"]


@pytest.mark.parametrize("name", ["leaking", "repaired"])
def test_context(load, name):
    view = load("context", name).view
    view("secret")
    assert (view("hello") == ["hello"]) is (name == "repaired")


def test_context_fastapi(load):
    with TestClient(load("context", "fastapi").app) as client:
        assert [client.get(f"/chat/{text}").json() for text in "ab"] == [["a"], ["b"]]


def test_context_flask(load):
    with wsgi_client(load("context", "flask").app) as client:
        assert [client.get(f"/chat/{text}").json() for text in "ab"] == [["a"], ["b"]]


def test_context_django():
    # Django's settings are one per process: this page gets a process of its own.
    program = block("context", "django") + (
        "\nimport httpx\n"
        "client = httpx.Client(transport=httpx.WSGITransport(app), base_url='http://testserver')\n"
        "print([client.get(f'/chat/{text}').json() for text in 'ab'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.strip() == "[['a'], ['b']]", done.stderr


def test_context_lambda(load):
    handler = load("context", "lambda").handler
    event = {"text": "a", "conversation": "c1", "user": "ada", "request_id": "r1"}
    assert handler(event, None) == ["a"]
    assert handler({**event, "text": "b"}, None) == ["a", "b"]
    with pytest.raises(SessionDenied):
        handler({**event, "user": "bob"}, None)
