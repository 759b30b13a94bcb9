"""The guard meets something it cannot handle: it says so once, and the request is served."""

from __future__ import annotations

import io
import json
import logging
import sys
import types
from wsgiref.util import setup_testing_defaults

import pytest

from stateguard.asgi import StateGuardMiddleware as AsgiGuard
from stateguard.wsgi import StateGuardMiddleware as WsgiGuard
from tests.middleware.exchanges import OK, converse, http_scope, run


def serve(guard, work=lambda: None, inbox=(), **scope):
    async def app(scope, receive, send):
        for _ in inbox:
            await receive()
        work()
        for message in OK:
            await send(message)

    events, outcome = run(converse, AsgiGuard(app, guard=guard), http_scope(**scope), inbox)
    assert outcome == ("returned", None)
    assert [message for event, message in events if event == "sent"] == OK


def serve_wsgi(guard, work=lambda: None, **environ):
    setup_testing_defaults(environ)

    def app(environ, start_response):
        work()
        start_response("200 OK", [])
        yield b"ok"

    body = WsgiGuard(app, guard=guard)(environ, lambda *args: None)
    assert list(body) == [b"ok"]
    body.close()


SERVE = pytest.mark.parametrize("serve", [serve, serve_wsgi], ids=["asgi", "wsgi"])


def raise_always(self, *args):
    raise RuntimeError("hostile")


def hostile_class(module):
    """Every hook that Python offers raises."""
    hooks = (
        "__repr__ __str__ __bytes__ __format__ __eq__ __ne__ __lt__ __hash__ __bool__ __len__ "
        "__iter__ __next__ __contains__ __getitem__ __setitem__ __delitem__ __call__ "
        "__index__ __int__ __float__ __reduce__ __reduce_ex__ __getstate__ __dir__ __sizeof__ "
        "__copy__ __deepcopy__ __await__ __length_hint__"
    ).split()
    namespace = dict.fromkeys(hooks, raise_always)

    def getattribute(self, name):
        raise RuntimeError("hostile")

    namespace["__getattribute__"] = getattribute
    namespace["__class__"] = property(raise_always)
    namespace["__module__"] = module
    return type("Hostile", (), namespace)


def hostile_metaclass(module):
    def meta_getattribute(cls, name):
        raise RuntimeError("hostile metaclass")

    meta = type(
        "Meta",
        (type,),
        {
            "__getattribute__": meta_getattribute,
            "__repr__": raise_always,
            "__hash__": raise_always,
            "__eq__": raise_always,
            "__instancecheck__": raise_always,
            "__subclasscheck__": raise_always,
            "mro": type.mro,
        },
    )
    return type.__call__(meta, "Hostile", (), {"__module__": module})


class HostileDict(dict):
    __getitem__ = __iter__ = __len__ = __contains__ = __eq__ = keys = values = items = get = raise_always


class HostileList(list):
    __getitem__ = __iter__ = __len__ = __contains__ = __eq__ = raise_always


@SERVE
@pytest.mark.parametrize("kind", ["instance", "metaclass", "dict", "list"])
def test_hostile_objects_do_not_even_count_as_failures(kind, serve, state, make_guard, caplog):
    if kind == "instance":
        cls = hostile_class(state.__name__)
        objects = [object.__new__(cls) for _ in range(3)]
    elif kind == "metaclass":
        cls = hostile_metaclass(state.__name__)
        objects = [object.__new__(cls) for _ in range(3)]
    else:
        objects = [HostileDict(a=[1]), HostileDict(b=1), HostileDict()]
        if kind == "list":
            objects = [HostileList([1]), HostileList([[2]]), HostileList()]
    if kind in ("instance", "metaclass"):
        for number, one in enumerate(objects):
            object.__setattr__(one, "number", [number])
    state.HOSTILE = objects[0]
    state.LIST = [objects[1]]
    guard = make_guard()
    serve(guard)

    def work():
        state.LIST.append(objects[2])
        state.HOSTILE = objects[1]

    serve(guard, work)
    assert {leak.path.rpartition(".")[2] for leak in guard.leaks} == {"LIST", "HOSTILE"}
    assert not [record for record in caplog.records if record.exc_info]


class Unwalkable(dict):
    """Stands in ``sys.modules`` as a module and cannot be looked at."""

    @property
    def __class__(self):
        raise RuntimeError("not to be looked at")


@SERVE
def test_a_strange_object_among_the_modules(serve, state, make_guard, monkeypatch):
    guard = make_guard()
    serve(guard)
    monkeypatch.setitem(sys.modules, "strange_module", Unwalkable())
    serve(guard, state.leak)
    assert [leak.path for leak in guard.leaks] == [f"{state.__name__}.HISTORY"]


@SERVE
def test_a_module_whose_getattr_raises(serve, state, make_guard, monkeypatch):
    module = types.ModuleType("lazy_module")

    def __getattr__(name):
        raise RuntimeError("not now")

    module.__getattr__ = __getattr__
    monkeypatch.setitem(sys.modules, "lazy_module", module)
    guard = make_guard(watch=[state.__name__, "lazy_*"])
    serve(guard, state.leak)
    assert len(guard.leaks) == 1
    first_party = make_guard(watch=None)
    serve(first_party, state.leak)


class BrokenHandler(logging.Handler):
    def emit(self, record):
        raise RuntimeError("the log is full")


@SERVE
@pytest.mark.parametrize("on_leak", ["log", "a callable"])
def test_a_broken_logging_handler(on_leak, serve, state, make_guard, capsys):
    def broken(leak):
        raise RuntimeError("broken callable")

    guard = make_guard(on_leak="log" if on_leak == "log" else broken)
    logger = logging.getLogger("stateguard")
    handler = BrokenHandler()
    logger.addHandler(handler)
    try:
        for n in range(5):
            serve(guard, lambda n=n: setattr(state, f"name_{n}", [n]))
    finally:
        logger.removeHandler(handler)
    assert len(guard.leaks) == 5
    said = capsys.readouterr().err
    assert said.count("stateguard failed while reporting a leak") == 1


@SERVE
def test_a_look_that_fails_is_reported_once_and_ends_the_looking(
    serve, state, make_guard, monkeypatch, caplog
):
    """A digest that cannot be made; the third failure in a row turns the guard off."""
    guard = make_guard()
    serve(guard)

    def no_digest(*args, **kwargs):
        raise RuntimeError("no digest")

    monkeypatch.setattr("stateguard.watch.digest.blake2b", no_digest)
    for _ in range(6):
        serve(guard, state.leak)
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [bool(record.exc_info) for record in errors] == [True, False]
    assert "requests go on" in errors[0].getMessage()
    assert "has stopped looking" in errors[1].getMessage()
    assert "no digest" in str(errors[0].exc_info[1])


@SERVE
@pytest.mark.parametrize("place", ["add_root", "check", "begin"])
def test_a_root_that_raises_while_it_is_walked(place, serve, state, make_guard, monkeypatch, caplog):
    from stateguard.watch.graph import Graph
    from stateguard.watch.watcher import Watcher

    guard = make_guard()
    owner = Watcher if place == "begin" else Graph

    def failing(self, *args, **kwargs):
        raise MemoryError(f"{place} failed")

    monkeypatch.setattr(owner, place, failing)
    for _ in range(4):
        serve(guard, state.leak)
    assert len([record for record in caplog.records if record.exc_info]) == 1


# -- what a client can send ---------------------------------------------------------------------------


NESTED = b"[" * 60_000 + b"]" * 5_000
BODIES = {
    "deeply nested JSON": NESTED,
    "not JSON": b"{" * 1000,
    "a number of 5,000 digits": b"[" + b"1" * 5000 + b"]",
    "not UTF-8": bytes(range(128, 256)) * 100,
    "many fields": b"&".join(b"field%d=value%d" % (n, n) for n in range(3000)),
    "surrogates": json.dumps(["\ud800\udc00", "\ud800"]).encode(),
    "empty": b"",
}


@pytest.mark.parametrize("body", BODIES)
def test_bodies_of_all_sorts(body, state, make_guard, caplog):
    guard = make_guard()
    message = {"type": "http.request", "body": BODIES[body], "more_body": False}
    for _ in range(4):
        serve(guard, state.leak, [message])
        serve_wsgi(guard, state.leak, **{"wsgi.input": io.BytesIO(BODIES[body])})
    assert len(guard.leaks) == 8
    assert not [record for record in caplog.records if record.exc_info]


HEADERS = {
    "10,000 headers": [(b"x-%d" % n, b"v" * 20) for n in range(10_000)],
    "a megabyte": [(b"cookie", b"a=" + b"b" * 1_000_000)],
    "many cookies": [(b"cookie", b"; ".join(b"n%d=value%d" % (n, n) for n in range(20_000)))],
    "text": [("x-user", "ann")],
    "not pairs": [(b"x",), (b"a", b"b", b"c"), 7, None],
    "bytes and None": [(b"x-user", None), (None, b"x")],
    "bytearrays": [(bytearray(b"x-request-id"), bytearray(b"abc"))],
}


@pytest.mark.parametrize("headers", HEADERS)
def test_headers_of_all_sorts(headers, state, make_guard, caplog):
    guard = make_guard()
    for _ in range(4):
        serve(guard, state.leak, headers=HEADERS[headers])
    assert len(guard.leaks) == 4
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize(
    ("given", "used"),
    [
        (b"abc-123", True),
        (b"x" * 128, True),
        (b"x" * 129, False),
        (b"", False),
        (b"a\nfake log line", False),
        (b"a\x1b[31m", False),
        (b"\xff\xfe", False),
        (b"a\x00b", False),
        ("text", False),
        (None, False),
        (7, False),
    ],
    ids=repr,
)
def test_the_incoming_request_id(given, used, state, make_guard):
    guard = make_guard()
    serve(guard, state.leak, headers=[(b"x-request-id", given)])
    expected = given.decode("latin-1") if used else guard.leaks[0].request.id
    assert guard.leaks[0].request.id == expected
    assert guard.leaks[0].request.id.isprintable()
    text = given.decode("latin-1") if isinstance(given, bytes) else given
    serve_wsgi(guard, state.leak, HTTP_X_REQUEST_ID=text)
    assert (guard.leaks[1].request.id == text) == (used or text == "text")


@SERVE
def test_a_path_cannot_break_a_log_line(serve, state, make_guard, caplog):
    path = "/a\nERROR fake line\r\x1b[2J\u202e\ud800\x00"
    given = {"PATH_INFO": path} if serve is serve_wsgi else {"path": path}
    guard = make_guard()
    serve(guard, state.leak, **given)
    [record] = caplog.records
    message = record.getMessage()
    assert "\nERROR" not in message
    assert all(character.isprintable() or character == "\n" for character in message)
    assert r"\nERROR fake line\r\x1b[2J" in message
    assert guard.leaks[0].request.path == path
    message.encode("utf-8")


@SERVE
def test_a_very_long_path_is_cut_in_messages(serve, state, make_guard, caplog):
    given = {"PATH_INFO": "/" + "x" * 100_000} if serve is serve_wsgi else {"path": "/" + "x" * 100_000}
    serve(make_guard(), state.leak, **given)
    [record] = caplog.records
    assert len(record.getMessage()) < 3000
