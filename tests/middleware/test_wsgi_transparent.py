"""Whatever a WSGI application does, the guard around it changes nothing that can be noticed from outside."""

from __future__ import annotations

import contextvars
import gc
import io
import sys
from wsgiref.util import FileWrapper, setup_testing_defaults
from wsgiref.validate import validator

import pytest
from werkzeug.middleware.lint import LintMiddleware
from werkzeug.test import EnvironBuilder, run_wsgi_app
from werkzeug.wrappers import Request, Response

from stateguard import session
from stateguard.errors import NoActiveScope
from stateguard.wsgi import StateGuardMiddleware
from stateguard.wsgi_bodies import wrapped


def make_environ(**more):
    environ = {"REMOTE_ADDR": "127.0.0.1", **more}
    setup_testing_defaults(environ)
    return environ


def start_response(status, headers, exc_info=None):
    return written.append


written: list[bytes] = []


def answer(body):
    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return body

    return app


@pytest.mark.parametrize(
    "body", [[b"one"], [b"one", b"two"], [], (), (b"one",), b"bytes", b""], ids=lambda body: repr(body)
)
def test_plain_bodies_go_back_as_they_are(body, wrap_wsgi):
    assert wrap_wsgi(answer(body))(make_environ(), start_response) is body


def test_files_go_back_as_they_are(wrap_wsgi):
    class HasFileno:
        def fileno(self):
            return 0

        def __iter__(self):
            return iter([b"x"])

    wrapped = FileWrapper(io.BytesIO(b"data"))
    environ = make_environ(**{"wsgi.file_wrapper": FileWrapper})
    assert wrap_wsgi(answer(wrapped))(environ, start_response) is wrapped
    body = HasFileno()
    assert wrap_wsgi(answer(body))(make_environ(), start_response) is body


def test_a_file_wrapper_that_is_a_function(wrap_wsgi):
    """As uWSGI has it: nothing is an instance of it."""
    made = []

    def file_wrapper(file, size=8192):
        made.append(iter(lambda: file.read(size), b""))
        return made[0]

    def app(environ, start_response):
        start_response("200 OK", [])
        return environ["wsgi.file_wrapper"](io.BytesIO(b"data"))

    environ = make_environ(**{"wsgi.file_wrapper": file_wrapper})
    assert b"".join(wrap_wsgi(app)(environ, start_response)) == b"data"


def test_the_environ_is_the_same_object_and_gains_no_key(wrap_wsgi):
    environ = make_environ()
    before = dict(environ)
    seen = []

    def app(environ, start_response):
        seen.append(environ)
        return []

    wrap_wsgi(app)(environ, start_response)
    assert seen[0] is environ
    assert environ == before


def test_start_response_is_the_servers_own(make_guard):
    seen = []

    def app(environ, start_response):
        seen.append(start_response)
        return []

    for mode in ("on", "scope-only", "off"):
        StateGuardMiddleware(app, guard=make_guard(mode=mode))(make_environ(), start_response)
    assert all(one is start_response for one in seen)


@pytest.mark.parametrize("write", [None, [].append], ids=["none", "a function"])
def test_what_start_response_is_given_and_gives(write, wrap_wsgi):
    calls = []

    def start(*args):
        calls.append(args)
        return write

    def app(environ, start_response):
        try:
            raise KeyError(1)
        except KeyError:
            error = sys.exc_info()
            given = start_response("500 No", [("a", "b")], error)
        assert (given is None) == (write is None)
        assert calls == [("500 No", [("a", "b")], error)]
        assert calls[0][2] is error
        del error
        if given is not None:
            given(b"data")
        return []

    wrap_wsgi(app)(make_environ(), start)
    if write is not None:
        assert write.__self__.pop() == b"data"


def test_exc_info_is_raised_again_by_the_server_after_the_headers(wrap_wsgi):
    def start(status, headers, exc_info=None):
        if exc_info:
            raise exc_info[1]

    boom = ValueError("boom")

    def app(environ, start_response):
        start_response("200 OK", [])
        try:
            raise boom
        except ValueError:
            start_response("500 No", [], sys.exc_info())
        return []

    with pytest.raises(ValueError, match="boom") as caught:
        wrap_wsgi(app)(make_environ(), start)
    assert caught.value is boom


class Pieces:
    """A body that notes what is done to it."""

    def __init__(self, pieces, log):
        self.pieces = iter(pieces)
        self.log = log

    def __iter__(self):
        self.log.append("iter")
        return self

    def __next__(self):
        self.log.append("next")
        return next(self.pieces)


class Closing(Pieces):
    def close(self):
        self.log.append("close")


def test_one_next_for_one_next(wrap_wsgi):
    log = []
    body = wrap_wsgi(answer(Closing([b"1", b"", b"3"], log)))(make_environ(), start_response)
    assert log == []
    steps = iter(body)
    assert next(steps) == b"1"
    assert log == ["iter", "next"]
    assert next(steps) == b""
    assert log == ["iter", "next", "next"]
    assert next(steps) == b"3"
    with pytest.raises(StopIteration):
        next(steps)
    assert log == ["iter", *["next"] * 4]
    body.close()
    assert log == ["iter", *["next"] * 4, "close"]


def test_close_only_where_there_is_one(wrap_wsgi):
    log = []
    assert not hasattr(wrap_wsgi(answer(Pieces([], log)))(make_environ(), start_response), "close")
    body = wrap_wsgi(answer(Closing([], log)))(make_environ(), start_response)
    body.close()
    assert log == ["close"]


def test_a_generator_closed_before_its_first_next_closes_the_inner_body(wrap_wsgi):
    log = []
    body = wrap_wsgi(answer(Closing([b"1"], log)))(make_environ(), start_response)
    body.close()
    assert log == ["close"]


@pytest.mark.parametrize("sized", [True, False])
def test_a_length_is_neither_lost_nor_invented(sized, wrap_wsgi):
    class Sized(Pieces):
        def __len__(self):
            return 1

    body = wrap_wsgi(answer((Sized if sized else Pieces)([b"1"], [])))(make_environ(), start_response)
    assert hasattr(type(body), "__len__") == sized
    if sized:
        assert len(body) == 1
    assert list(body) == [b"1"]


def test_a_subclass_of_list_keeps_its_length(wrap_wsgi):
    class Body(list):
        pass

    body = wrap_wsgi(answer(Body([b"one"])))(make_environ(), start_response)
    assert len(body) == 1
    assert list(body) == [b"one"]


def test_attributes_of_a_response_that_is_its_own_body_are_found(wrap_wsgi):
    class Answer:
        status_code = 404
        _handler = "view"

        def __iter__(self):
            return iter([b"not found"])

        def __bytes__(self):
            return b"404 not found"

    body = wrap_wsgi(answer(Answer()))(make_environ(), start_response)
    assert (body.status_code, body._handler, bytes(body)) == (404, "view", b"404 not found")
    with pytest.raises(AttributeError, match="reason"):
        body.reason
    assert not hasattr(body, "close")
    assert list(body) == [b"not found"]


def test_a_body_that_was_never_made_has_no_attributes():
    kind = type(wrapped(iter([]), None))
    with pytest.raises(AttributeError, match="_body"):
        kind.__new__(kind)._body


def test_generator_functions_run_at_the_same_moments(wrap_wsgi):
    log = []

    def app(environ, start_response):
        log.append("begins")
        start_response("200 OK", [])
        try:
            yield b"1"
            log.append("goes on")
            yield b"2"
        finally:
            log.append("ends")

    body = wrap_wsgi(app)(make_environ(), start_response)
    assert log == []
    steps = iter(body)
    assert next(steps) == b"1"
    assert log == ["begins"]
    body.close()
    assert log == ["begins", "ends"]
    with pytest.raises(StopIteration):
        next(steps)


def test_the_application_is_not_called_late(wrap_wsgi):
    called = []

    def app(environ, start_response):
        called.append(True)
        start_response("200 OK", [])
        return iter([b"x"])

    wrap_wsgi(app)(make_environ(), start_response)
    assert called == [True]


class GreenletExit(BaseException):
    """As gevent's: not an ``Exception``."""


ERRORS = [ValueError("boom"), SystemExit(3), KeyboardInterrupt(), GreenletExit(), StopIteration(1)]


@pytest.mark.parametrize("boom", ERRORS, ids=repr)
def test_an_exception_of_the_call_is_the_same_object(boom, wrap_wsgi):
    def app(environ, start_response):
        raise boom

    boom.__context__ = None
    with pytest.raises(type(boom)) as caught:
        wrap_wsgi(app)(make_environ(), start_response)
    assert caught.value is boom
    assert boom.__cause__ is boom.__context__ is None
    assert_nothing_is_left()


@pytest.mark.parametrize("boom", ERRORS[:-1], ids=repr)
def test_an_exception_of_the_body_is_the_same_object(boom, wrap_wsgi):
    class Body:
        pieces = [b"1"]

        def __iter__(self):
            return self

        def __next__(self):
            if self.pieces:
                return self.pieces.pop()
            raise boom

        def close(self):
            raise boom

    boom.__context__ = None
    body = wrap_wsgi(answer(Body()))(make_environ(), start_response)
    steps = iter(body)
    for act in (lambda: list(steps), body.close):
        with pytest.raises(type(boom)) as caught:
            act()
        assert caught.value is boom
        assert boom.__cause__ is boom.__context__ is None
    assert_nothing_is_left()


def test_a_body_that_cannot_be_iterated(wrap_wsgi):
    with pytest.raises(TypeError, match="not iterable"):
        list(wrap_wsgi(answer(None))(make_environ(), start_response))


def assert_nothing_is_left():
    assert [var.name for var in contextvars.copy_context() if var.name.startswith("stateguard")] == []
    with pytest.raises(NoActiveScope):
        session()


def test_variables_are_set_inside_and_gone_between(make_guard):
    """A server may work for another request on this thread between any two entries."""
    guarded = {}

    def app(environ, start_response):
        session().user_id = environ["PATH_INFO"]
        start_response("200 OK", [])

        class Body:
            left = 3

            def __iter__(self):
                assert session().user_id == environ["PATH_INFO"]
                return self

            def __next__(self):
                assert session().user_id == environ["PATH_INFO"]
                self.left -= 1
                if not self.left:
                    raise StopIteration
                return b"x"

            def close(self):
                assert session().user_id == environ["PATH_INFO"]
                guarded[environ["PATH_INFO"]] = "closed"

        return Body()

    wrapped = StateGuardMiddleware(app, guard=make_guard())
    bodies = []
    for path in ("/ann", "/bob"):
        bodies.append(wrapped(make_environ(PATH_INFO=path), start_response))
        assert_nothing_is_left()
    for _ in range(2):
        for body in bodies:
            assert next(body) == b"x"
            assert_nothing_is_left()
    for body in bodies:
        with pytest.raises(StopIteration):
            next(body)
        body.close()
        assert_nothing_is_left()
    assert guarded == {"/ann": "closed", "/bob": "closed"}


def test_the_application_runs_in_the_context_of_the_thread(wrap_wsgi):
    """Not in a private one: frameworks reset variables in one entry that they have set in another."""
    variable = contextvars.ContextVar("variable")
    tokens = []

    def app(environ, start_response):
        tokens.append(variable.set(1))
        start_response("200 OK", [])
        return Body()

    class Body:
        def __iter__(self):
            assert variable.get() == 1
            return iter([b"x"])

        def close(self):
            variable.reset(tokens.pop())

    def serve():
        body = wrap_wsgi(app)(make_environ(), start_response)
        assert list(body) == [b"x"]
        body.close()
        assert variable.get(None) is None

    contextvars.Context().run(serve)


@pytest.mark.parametrize("carrier", ["contextvar", "thread-local"])
def test_pieces_may_run_in_a_context_each(carrier, make_guard):
    """Starlette's and asgiref's bridges call ``next`` in a threadpool, each time in a fresh context copy."""

    def app(environ, start_response):
        session().user_id = "ann"
        start_response("200 OK", [])
        for _ in range(3):
            yield session().user_id.encode()

    def serve():
        steps = StateGuardMiddleware(app, guard=make_guard(scope=carrier))(make_environ(), start_response)
        got = [contextvars.copy_context().run(next, steps) for _ in range(3)]
        assert got == [b"ann"] * 3
        contextvars.copy_context().run(steps.close)
        assert_nothing_is_left()

    serve()


def test_an_abandoned_body_gives_its_place_back(make_guard):
    guard = make_guard()

    def app(environ, start_response):
        start_response("200 OK", [])
        yield b"1"
        yield b"2"

    body = StateGuardMiddleware(app, guard=guard)(make_environ(), start_response)
    next(body)
    assert len(guard.engine.active) == 1
    del body
    gc.collect()
    assert not guard.engine.active
    assert_nothing_is_left()


def test_a_body_without_close_ends_with_its_last_piece(make_guard):
    guard = make_guard()
    body = StateGuardMiddleware(answer(iter([b"1"])), guard=guard)(make_environ(), start_response)
    assert next(body) == b"1"
    assert len(guard.engine.active) == 1
    assert list(body) == []
    assert not guard.engine.active


# -- strict servers and strict applications, on both sides -------------------------------------------


def flask_app():
    import flask

    app = flask.Flask("strict")

    @app.route("/")
    def index():
        return "index"

    @app.route("/stream")
    def stream():
        def pieces():
            yield "one "
            yield flask.request.args.get("q", "")

        return flask.Response(flask.stream_with_context(pieces()), mimetype="text/plain")

    @app.route("/file")
    def file():
        return flask.send_file(io.BytesIO(b"file"), mimetype="text/plain")

    @app.route("/fails")
    def fails():
        raise ValueError("boom")

    @app.route("/post", methods=["POST"])
    def post():
        return flask.request.get_data()

    return app


CALLS = [
    {"path": "/"},
    {"path": "/", "method": "HEAD"},
    {"path": "/stream?q=two"},
    {"path": "/file"},
    {"path": "/fails"},
    {"path": "/nowhere"},
    {"path": "/post", "method": "POST", "data": b"posted"},
]


def call(app, **options):
    environ = EnvironBuilder(**options).get_environ()
    body, status, headers = run_wsgi_app(app, environ)
    try:
        return b"".join(body), status, sorted(pair for pair in headers if pair[0] != "Date")
    finally:
        if hasattr(body, "close"):
            body.close()


def outcome(app, **options):
    """As :func:`call`; werkzeug's lint middleware objects to correct answers to HEAD."""
    try:
        return call(app, **options)
    except Warning as warning:
        return str(warning)


@pytest.mark.filterwarnings("ignore:.*unknown REQUEST_METHOD")
@pytest.mark.parametrize("options", CALLS, ids=lambda options: options.get("method", "GET") + options["path"])
@pytest.mark.parametrize("lint", [LintMiddleware, validator], ids=["werkzeug", "wsgiref"])
@pytest.mark.parametrize("side", ["outside", "inside", "both"])
def test_lint(lint, side, options, wrap_wsgi):
    app = flask_app()
    bare = outcome(lint(flask_app().wsgi_app), **options)
    inner = lint(app.wsgi_app) if side != "outside" else app.wsgi_app
    outer = wrap_wsgi(inner)
    app.wsgi_app = lint(outer) if side != "inside" else outer
    assert outcome(app, **options) == bare


@pytest.mark.parametrize("path", ["/", "/late"])
def test_werkzeug_response(path, wrap_wsgi):
    @Request.application
    def app(request):
        if request.path == "/late":
            return Response(iter([b"a", b"b"]), direct_passthrough=True)
        response = Response("body")
        response.call_on_close(lambda: closed.append(request.path))
        return response

    closed = []
    bare = call(app, path=path)
    before = list(closed)
    closed.clear()
    assert call(wrap_wsgi(app), path=path) == bare
    assert closed == before


def test_attributes_of_the_application_are_found(wrap_wsgi):
    app = flask_app()
    guarded = wrap_wsgi(app)
    assert guarded.url_map is app.url_map
    assert guarded.test_client().get("/").data == b"index"
    with pytest.raises(AttributeError, match="no_such_thing"):
        guarded.no_such_thing
