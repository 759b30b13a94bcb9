"""What a session may be and hold: classes, versions of them, values, and what is refused."""

from __future__ import annotations

import enum
import threading
from dataclasses import dataclass, field

import pydantic
import pytest

from stateguard.errors import (
    SessionNotStorable,
    SessionRecordError,
)
from tests.sessions.turns import load, save, say


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda s: s.metadata.update(socket=threading.Lock()), r"metadata\['socket'\]"),
        (lambda s: s.add_message("user", [{"x": object()}]), r"history\[0\]\['content'\]\[0\]\['x'\]"),
        (lambda s: s.metadata.update(f=len), r"metadata\['f'\]"),
    ],
)
def test_what_json_can_not_hold_is_refused_by_name(make_store, change, place):
    store = make_store()
    with pytest.raises(SessionNotStorable, match=place):
        store.update("s", change)
    assert store.read("s") is None


class Mood(enum.Enum):
    GOOD = 1
    BAD = 2


@dataclass
class Note:
    text: str
    mood: Mood = Mood.GOOD


@dataclass
class Mine:
    session_id: str = ""
    log: list[Note] = field(default_factory=list)
    best: Note | None = None
    by_name: dict[str, Note] = field(default_factory=dict)
    count: int = 0


def test_own_dataclass_with_nested_ones(make_store):
    store = make_store()
    options = {"session_factory": Mine, "log": "log"}

    def change(session):
        session.log.append(Note("a", Mood.BAD))
        session.best = session.by_name["x"] = Note("best")
        session.count += 1

    store.update("s", change, **options)
    store.update("s", change, **options)
    loaded = load(store, factory=Mine, log="log").session
    assert loaded == Mine("s", [Note("a", Mood.BAD)] * 2, Note("best"), {"x": Note("best")}, 2)
    assert store.read("s").log_length == 2


class Model(pydantic.BaseModel):
    session_id: str = ""
    history: list[dict] = []
    count: int = 0


class Plain:
    def __init__(self):
        self.history = []
        self.count = 0


@pytest.mark.parametrize("factory", [Model, Plain])
def test_other_kinds_of_sessions(make_store, factory):
    store = make_store()

    def change(session):
        session.count += 1
        session.history.append({"n": session.count})

    for _ in range(2):
        store.update("s", change, session_factory=factory)
    assert load(store, factory=factory).session.history == [{"n": 1}, {"n": 2}]
    store.update("d", lambda session: session.update(x=1), session_factory=dict)
    assert load(store, "d", factory=dict).session == {"session_id": "d", "user_id": None, "x": 1}


@dataclass
class Newer:
    session_id: str = ""
    history: list[dict] = field(default_factory=list)
    count: int = 0
    added: str = "default"


@dataclass
class Older:
    session_id: str = ""
    history: list[dict] = field(default_factory=list)
    count: int = 0


def test_old_and_new_versions_of_the_session_class_side_by_side(make_store):
    store = make_store()

    def change(session):
        session.count += 1

    store.update("s", change, session_factory=Older)
    store.update("s", lambda s: setattr(s, "added", "by the new one"), session_factory=Newer)
    store.update("s", change, session_factory=Older)  # keeps what it does not know
    assert load(store, factory=Newer).session == Newer("s", [], 2, "by the new one")
    store.update("t", change, session_factory=Older)
    assert load(store, "t", factory=Newer).session.added == "default"


def test_a_record_of_a_class_unknown_here_is_left_alone(make_store):
    store = make_store()
    store.update("s", lambda s: setattr(s, "best", Note("x")), session_factory=Mine, log="log")
    with pytest.raises(SessionRecordError, match="Note"):
        load(store)
    assert load(store, factory=Mine, log="log").session.best == Note("x")


def test_history_replaced_by_something_else_and_back(make_store):
    store = make_store()
    store.update("s", say("1"))
    store.update("s", lambda s: setattr(s, "history", None))
    assert load(store).session.history is None
    store.update("s", lambda s: setattr(s, "history", [{"a": 1}]))
    assert load(store).session.history == [{"a": 1}]


def test_circles_and_bottomless_nesting_are_refused(make_store):
    store = make_store()

    def circle(session):
        session.metadata["me"] = session.metadata

    def deep(session):
        inner = session.metadata
        for _ in range(100_000):
            inner["x"] = inner = {}

    def deep_message(session):
        message = {}
        session.history.append(message)
        for _ in range(100_000):
            message["x"] = message = {}

    for change in (circle, deep, deep_message):
        with pytest.raises(SessionNotStorable, match="too deeply"):
            store.update("s", change)
    assert store.read("s") is None


def test_a_session_that_a_thread_changes_while_it_is_saved(make_store):
    store = make_store()
    stop = threading.Event()
    checkout = load(store)

    def change():
        number = 0
        while not stop.is_set():
            number += 1
            checkout.session.metadata[f"k{number % 500}"] = "x"
            checkout.session.metadata.pop(f"k{(number + 250) % 500}", None)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(30):
            save(store, checkout)
    finally:
        stop.set()
        thread.join(10)
