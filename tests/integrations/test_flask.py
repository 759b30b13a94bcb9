"""The Flask extension beyond its page."""

from __future__ import annotations

import pytest
from flask import Flask

from stateguard import session
from stateguard.errors import ConfigError
from stateguard.integrations.flask import StateGuard
from stateguard.sessions import MemoryStore, SignedCookie


def test_keywords_win_over_the_environment_and_that_over_the_configuration(monkeypatch):
    app = Flask("shop")
    app.config.update(STATEGUARD_MODE="scope-only", STATEGUARD_THRESHOLD="low", STATEGUARD_KEEP=5)
    monkeypatch.setenv("STATEGUARD_THRESHOLD", "note")
    monkeypatch.setenv("STATEGUARD_KEEP", "6")
    guard = StateGuard(app, keep=7)
    with app.app_context():
        config = guard.guard.config
    assert (config.mode, config.threshold, config.keep) == ("scope-only", "note", 7)


def test_an_unknown_setting_is_named():
    app = Flask("shop")
    app.config["STATEGUARD_WACH"] = ["shop"]
    with pytest.raises(ConfigError, match="no option 'wach'"):
        StateGuard(app)


def test_an_application_is_guarded_once():
    app = Flask("shop")
    extension = StateGuard(app, mode="scope-only")
    with pytest.raises(ConfigError, match="guarded already"):
        extension.init_app(app)


def test_one_extension_several_applications():
    extension = StateGuard(mode="scope-only")
    apps = [Flask("one"), Flask("two")]
    for app in apps:
        extension.init_app(app)
    guards = []
    for app in apps:
        with app.app_context():
            guards.append(extension.guard)
    assert guards[0] is not guards[1]
    with pytest.raises(RuntimeError):
        extension.guard


def test_sessions_outlive_requests():
    app = Flask("shop")
    StateGuard(
        app,
        mode="scope-only",
        store=MemoryStore(),
        session_id=SignedCookie("a secret of 32 characters, or so"),
    )

    @app.get("/")
    def count():
        session().metadata["visits"] = session().metadata.get("visits", 0) + 1
        return str(session().metadata["visits"])

    ann, bob = app.test_client(), app.test_client()
    assert [ann.get("/").text, ann.get("/").text, bob.get("/").text] == ["1", "2", "1"]
