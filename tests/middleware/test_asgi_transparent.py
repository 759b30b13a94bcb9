"""Whatever an ASGI application does, the guard around it changes nothing that can be noticed from outside."""

from __future__ import annotations

import asyncio
import contextvars
import copy
import types

import anyio
import pytest

from stateguard.asgi import StateGuardMiddleware
from tests.middleware.exchanges import BACKENDS, OK, Server, converse, hello, http_scope, run, websocket_scope

START = OK[0]
REQUEST = {"type": "http.request", "body": b"hello", "more_body": False}


async def echo(scope, receive, send):
    message = await receive()
    await send(START)
    await send({"type": "http.response.body", "body": message["body"]})
    return "a value"


async def streams(scope, receive, send):
    await send(START)
    for n in range(5):
        await send({"type": "http.response.body", "body": b"%d" % n, "more_body": True})
        await anyio.sleep(0)
    await send({"type": "http.response.body", "body": b"", "more_body": False})
    await anyio.sleep(0)  # a background task


async def extensions(scope, receive, send):
    await send({"type": "http.response.debug", "info": {"template": object}})
    await send({"type": "http.response.push", "path": "/a", "headers": []})
    await send({"type": "http.response.early_hint", "links": []})
    await send({**START, "trailers": True})
    await send({"type": "http.response.pathsend", "path": "/tmp/file"})
    await send({"type": "http.response.trailers", "headers": [(b"x", b"y")], "more_trailers": False})


async def sends_nothing(scope, receive, send):
    pass


async def sends_rubbish(scope, receive, send):
    await send(None)


async def sends_body_first(scope, receive, send):
    await send(OK[1])
    await send(START)


async def reads_too_much(scope, receive, send):
    await receive()
    await receive()


async def gets_rubbish(scope, receive, send):
    assert await receive() is None
    await send(START)


async def fails_early(scope, receive, send):
    raise ValueError("early", 1)


async def fails_late(scope, receive, send):
    await send(START)
    raise ValueError("late")


async def fails_with_a_cause(scope, receive, send):
    try:
        raise KeyError("inner")
    except KeyError as error:
        raise ValueError("outer") from error


async def fails_hiding_the_cause(scope, receive, send):
    try:
        raise KeyError("inner")
    except KeyError:
        raise ValueError("outer") from None


async def fails_after_send_failed(scope, receive, send):
    try:
        await send(b"rubbish")
    except TypeError:
        await send(START)
    await send(OK[1])
    raise ValueError("after all")


async def exits(scope, receive, send):
    await anyio.sleep(0)
    raise SystemExit(3)


async def stops_iterating(scope, receive, send):
    raise StopIteration(1)


async def stops_async_iterating(scope, receive, send):
    raise StopAsyncIteration(1)


async def raises_a_group(scope, receive, send):
    raise ExceptionGroup("two", [ValueError(1), TypeError(2)])


async def uses_tasks(scope, receive, send):
    async with anyio.create_task_group() as group:
        group.start_soon(send, START)
    with anyio.move_on_after(0.01):
        await anyio.sleep(5)
    with anyio.fail_after(5):
        await anyio.to_thread.run_sync(lambda: None)
    await send(OK[1])


async def uses_generators(scope, receive, send):
    async def pieces():
        try:
            for n in range(3):
                await anyio.sleep(0)
                yield b"%d" % n
        finally:
            await anyio.sleep(0)

    await send(START)
    generator = pieces()
    async for piece in generator:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
        break
    await generator.aclose()
    await send(OK[1])


async def chats(scope, receive, send):
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept", "subprotocol": None})
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            return
        await send({"type": "websocket.send", "text": message.get("text"), "bytes": message.get("bytes")})


async def refuses(scope, receive, send):
    await receive()
    await send({"type": "websocket.close", "code": 1008})


async def refuses_with_a_page(scope, receive, send):
    await receive()
    await send({"type": "websocket.http.response.start", "status": 401, "headers": []})
    await send({"type": "websocket.http.response.body", "body": b"no"})


CHAT = [
    {"type": "websocket.connect"},
    {"type": "websocket.receive", "text": "hello"},
    {"type": "websocket.receive", "bytes": b"\x00\xff", "text": None},
    {"type": "websocket.disconnect", "code": 1000},
]

HTTP = [
    echo,
    streams,
    extensions,
    sends_nothing,
    sends_rubbish,
    sends_body_first,
    reads_too_much,
    fails_early,
    fails_late,
    fails_with_a_cause,
    fails_hiding_the_cause,
    fails_after_send_failed,
    exits,
    stops_iterating,
    stops_async_iterating,
    raises_a_group,
    uses_tasks,
    uses_generators,
]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("app", HTTP, ids=lambda app: app.__name__)
def test_http(app, backend, wrap_asgi):
    bare = run(converse, app, http_scope(), [REQUEST], backend=backend)
    assert run(converse, wrap_asgi(app), http_scope(), [REQUEST], backend=backend) == bare


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "app", [chats, refuses, refuses_with_a_page, fails_early], ids=lambda app: app.__name__
)
def test_websocket(app, backend, wrap_asgi):
    bare = run(converse, app, websocket_scope(), CHAT, backend=backend)
    assert run(converse, wrap_asgi(app), websocket_scope(), CHAT, backend=backend) == bare


def test_what_a_server_hands_out_is_not_judged(wrap_asgi):
    _, outcome = run(converse, wrap_asgi(gets_rubbish), http_scope(), [None])
    assert outcome == ("returned", None)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"headers": None},
        {"headers": []},
        {"headers": ()},
        {"headers": [(b"x", "not bytes"), ("x", b"y"), (b"only one",), 7]},
        {"headers": iter([(b"x-request-id", b"1")])},
        {"client": None},
        {"client": []},
        {"client": ("", 0)},
        {"client": {}},
        {"client": 7},
        {"query_string": None},
        {"query_string": "text"},
        {"path": None},
        {"path": b"bytes"},
        {"method": None},
        {"app": 7},
    ],
    ids=lambda change: str(change).partition(" object at ")[0],  # an address would differ between workers
)
def test_scopes_of_all_sorts(change, wrap_asgi):
    seen = []

    async def app(scope, receive, send):
        seen.append(scope)
        await send(START)

    scope = http_scope(**change)
    before = dict(scope)
    events, outcome = run(converse, wrap_asgi(app), scope)
    assert outcome == ("returned", None)
    assert events == [("sent", START)]
    assert seen == [scope]
    assert seen[0] is scope
    assert list(scope) == list(before)
    assert all(scope[key] is before[key] for key in before)


def test_a_one_shot_iterable_of_headers_is_left_to_the_application(wrap_asgi):
    async def app(scope, receive, send):
        return list(scope["headers"])

    headers = [(b"x-request-id", b"1"), (b"host", b"example.org")]
    _, outcome = run(converse, wrap_asgi(app), http_scope(headers=iter(headers)))
    assert outcome == ("returned", headers)


@pytest.mark.parametrize("scope", [{"type": "mqtt"}, {"type": None}, {}, {"type": ["http"]}], ids=str)
def test_unknown_scopes_are_forwarded_with_the_same_objects(scope, wrap_asgi):
    async def app(*args):
        return args

    async def receive():
        raise AssertionError

    async def send(message):
        raise AssertionError

    args = (scope, receive, send)
    returned = run(wrap_asgi(app), *args)
    assert all(a is b for a, b in zip(returned, args, strict=True))


def test_what_the_application_writes_into_the_scope_is_seen_outside(wrap_asgi):
    async def app(scope, receive, send):
        scope["endpoint"] = hello
        scope["path_params"] = {"user": "ann"}
        scope.setdefault("state", {})["seen"] = True
        await hello(scope, receive, send)

    scope = http_scope()
    run(converse, wrap_asgi(app), scope)
    assert scope["endpoint"] is hello
    assert scope["path_params"] == {"user": "ann"}
    assert scope["state"] == {"seen": True}


def test_messages_are_the_same_objects(wrap_asgi):
    class Message(dict):
        pass

    request, answer = Message(REQUEST), Message(START)
    seen = []

    async def app(scope, receive, send):
        seen.append(await receive())
        await send(answer)

    events, _ = run(converse, wrap_asgi(app), http_scope(), [request])
    assert seen[0] is request
    assert events[1][1] is answer
    assert vars(request) == vars(answer) == {}


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_exception_is_the_same_object(backend, wrap_asgi):
    boom = ValueError("boom")

    async def app(scope, receive, send):
        await anyio.sleep(0)
        raise boom

    async def main():
        with pytest.raises(ValueError, match="boom") as caught:
            await wrap_asgi(app)(http_scope(), None, None)
        assert caught.value is boom
        assert boom.__cause__ is None
        assert boom.__context__ is None
        assert not boom.__suppress_context__

    run(main, backend=backend)


def test_the_exception_of_the_server_reaches_the_application_as_it_is(wrap_asgi):
    gone = OSError("client is gone")
    seen = []

    async def send(message):
        raise gone

    async def app(scope, receive, send):
        try:
            await send(START)
        except OSError as error:
            seen.append(error)
            raise

    async def main():
        with pytest.raises(OSError, match="gone") as caught:
            await wrap_asgi(app)(http_scope(), None, send)
        assert caught.value is gone is seen[0]
        assert gone.__context__ is None

    run(main)


# -- what may be awaited ----------------------------------------------------------------------------


class Endpoint:
    """Starlette's endpoint classes look like this: the instance itself is awaited."""

    def __init__(self, scope, receive, send):
        self.send = send

    def __await__(self):
        return self.dispatch().__await__()

    async def dispatch(self):
        await self.send(START)
        return "dispatched"


class Countdown:
    """An awaitable whose iterator is not a generator: it has neither ``send`` nor ``throw``."""

    def __init__(self, *_):
        pass

    def __await__(self):
        return iter([None, None])


class NotReally:
    def __init__(self, *_):
        pass

    def __await__(self):
        return 7


@types.coroutine
def generator_based(scope, receive, send):
    yield from send(START).__await__()
    return "generated"


def not_awaitable(scope, receive, send):
    return None


def fails_when_called(scope, receive, send):
    raise ValueError("when called")


def a_future(scope, receive, send):
    future = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(future.set_result, "a result")
    return future


def a_task(scope, receive, send):
    return asyncio.ensure_future(hello(scope, receive, send))


def a_second_await(scope, receive, send):
    used = hello(scope, receive, send)
    used.close()
    return used


@pytest.mark.parametrize(
    "app",
    [
        Endpoint,
        Countdown,
        NotReally,
        generator_based,
        not_awaitable,
        fails_when_called,
        a_future,
        a_task,
        a_second_await,
    ],
    ids=lambda app: app.__name__,
)
def test_any_awaitable(app, wrap_asgi):
    bare = run(converse, app, http_scope())
    assert run(converse, wrap_asgi(app), http_scope()) == bare


def test_an_instance_with_async_call_and_a_bound_method(wrap_asgi):
    class App:
        async def __call__(self, scope, receive, send):
            return "instance"

        async def method(self, scope, receive, send):
            return "method"

    assert run(converse, wrap_asgi(App()), http_scope())[1] == ("returned", "instance")
    assert run(converse, wrap_asgi(App().method), http_scope())[1] == ("returned", "method")


def test_the_guard_looks_like_an_asgi_3_application(make_guard):
    from asgiref.compatibility import is_double_callable
    from uvicorn._compat import iscoroutinefunction

    guarded = StateGuardMiddleware(hello, guard=make_guard())
    assert not is_double_callable(guarded)
    assert iscoroutinefunction(guarded.__call__)


# -- cancellation and the end -----------------------------------------------------------------------


def test_cancellation_reaches_the_application_with_its_message(wrap_asgi):
    seen = []

    async def app(scope, receive, send):
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError as error:
            seen.append(error.args)
            raise

    async def main():
        task = asyncio.ensure_future(wrap_asgi(app)(http_scope(), None, None))
        await asyncio.sleep(0)
        task.cancel("why")
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()

    run(main)
    assert seen == [("why",)]


def test_an_application_may_survive_its_cancellation(wrap_asgi):
    async def app(scope, receive, send):
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            pass
        await asyncio.sleep(0)
        return "survived"

    async def main():
        task = asyncio.ensure_future(wrap_asgi(app)(http_scope(), None, None))
        await asyncio.sleep(0)
        task.cancel()
        assert await task == "survived"

    run(main)


def test_what_is_raised_after_a_handled_cancellation_has_no_context(wrap_asgi):
    async def app(scope, receive, send):
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            pass
        raise ValueError("of its own")

    async def main(wrapped):
        task = asyncio.ensure_future(wrapped(http_scope(), None, None))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(ValueError, match="of its own") as caught:
            await task
        return caught.value.__context__

    assert run(main, app) is None
    assert run(main, wrap_asgi(app)) is None


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_deadline_outside_ends_the_application(backend, wrap_asgi):
    ended = []

    async def app(scope, receive, send):
        try:
            await send(START)
            await anyio.sleep(30)
        finally:
            ended.append(True)

    async def main():
        with anyio.move_on_after(0.1) as deadline:
            await wrap_asgi(app)(http_scope(), None, Server().send)
        return deadline.cancelled_caught

    assert run(main, backend=backend)
    assert ended == [True]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_cancelled_sibling_ends_the_application(backend, wrap_asgi):
    async def app(scope, receive, send):
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep, 30)
            await anyio.sleep(0)
            group.cancel_scope.cancel()
        await send(START)

    events, outcome = run(converse, wrap_asgi(app), http_scope(), backend=backend)
    assert outcome == ("returned", None)
    assert events == [("sent", START)]


@types.coroutine
def suspend():
    yield "suspended"


def test_an_abandoned_application_is_closed(wrap_asgi):
    seen = []

    async def app(scope, receive, send):
        try:
            await suspend()
        except GeneratorExit as error:
            seen.append(error)
            raise

    running = wrap_asgi(app)(http_scope(), None, None)
    assert running.send(None) == "suspended"
    running.close()
    assert len(seen) == 1
    with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
        running.send(None)


def test_an_application_that_ignores_its_end(wrap_asgi):
    async def app(scope, receive, send):
        try:
            await suspend()
        except GeneratorExit:
            await suspend()

    def end(app):
        running = app(http_scope(), None, None)
        running.send(None)
        with pytest.raises(RuntimeError, match="ignored GeneratorExit") as caught:
            running.close()
        return str(caught.value)

    assert end(app) == end(wrap_asgi(app))


def test_an_application_that_never_started_is_not_started_by_its_end(wrap_asgi):
    async def app(scope, receive, send):
        raise AssertionError

    wrap_asgi(app)(http_scope(), None, None).close()


def test_values_and_exceptions_pass_in_both_directions(wrap_asgi):
    async def app(scope, receive, send):
        try:
            await suspend()
        except KeyError as error:
            return error

    running = wrap_asgi(app)(http_scope(), None, None)
    running.send(None)
    thrown = KeyError("thrown")
    with pytest.raises(StopIteration) as stop:
        running.throw(thrown)
    assert stop.value.value is thrown


# -- back-pressure ----------------------------------------------------------------------------------


def test_a_slow_client_holds_the_application_up(wrap_asgi):
    produced = []

    async def app(scope, receive, send):
        await send(START)
        for n in range(10):
            produced.append(n)
            await send({"type": "http.response.body", "body": b"x", "more_body": n < 9})

    async def main():
        tickets = asyncio.Semaphore(0)
        sent = []

        async def send(message):
            await tickets.acquire()
            sent.append(message)

        task = asyncio.ensure_future(wrap_asgi(app)(http_scope(), None, send))
        for n in range(11):
            await asyncio.sleep(0.001)
            assert len(sent) == n
            assert len(produced) == n
            tickets.release()
        await asyncio.wait_for(task, 5)
        assert len(sent) == 11

    run(main)


def test_messages_are_not_held_back(wrap_asgi):
    """Each message is with the server before the application goes on, the last one too."""
    server = Server()
    counts = []

    async def app(scope, receive, send):
        for message in OK:
            await send(message)
            counts.append(len(server.events))
        await anyio.sleep(0)  # a background task
        counts.append(len(server.events))

    run(wrap_asgi(app), http_scope(), server.receive, server.send)
    assert counts == [1, 2, 2]


# -- lifespan ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("fails", [None, "startup", "shutdown", "unsupported"])
def test_lifespan(backend, fails, wrap_asgi):
    async def app(scope, receive, send):
        if fails == "unsupported":
            raise RuntimeError("no lifespan")
        scope["state"]["client"] = "made at start-up"
        for phase in ("startup", "shutdown"):
            assert (await receive())["type"] == f"lifespan.{phase}"
            if fails == phase:
                await send({"type": f"lifespan.{phase}.failed", "message": "why"})
                raise ValueError("why")
            await send({"type": f"lifespan.{phase}.complete"})

    scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    inbox = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    bare = run(converse, app, copy.deepcopy(scope), inbox, backend=backend)
    assert run(converse, wrap_asgi(app), scope, inbox, backend=backend) == bare
    assert scope["state"] == ({} if fails == "unsupported" else {"client": "made at start-up"})


# -- nothing stays ----------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("app", [hello, fails_early, fails_late, exits], ids=lambda app: app.__name__)
def test_no_context_variable_stays_set(app, backend, wrap_asgi):
    async def main():
        before = dict(contextvars.copy_context().items())
        await converse(wrap_asgi(app), http_scope())
        assert dict(contextvars.copy_context().items()) == before

    run(main, backend=backend)


def test_what_the_application_sets_stays_visible_to_the_server(wrap_asgi):
    """As without the guard: an outer middleware may read a variable that an inner one has set."""
    variable = contextvars.ContextVar("variable", default=None)

    async def app(scope, receive, send):
        variable.set("set by the application")
        await hello(scope, receive, send)

    async def main():
        await converse(wrap_asgi(app), http_scope())
        return variable.get()

    assert run(main) == "set by the application"


def test_attributes_of_the_application_are_found(wrap_asgi):
    from starlette.applications import Starlette

    app = Starlette()
    app.state.ready = True
    guarded = wrap_asgi(app)
    assert guarded.state is app.state
    assert guarded.routes is app.routes
    guarded.add_route("/late", lambda request: None)
    assert [route.path for route in app.routes] == ["/late"]
    with pytest.raises(AttributeError, match="no_such_thing"):
        guarded.no_such_thing
    assert not hasattr(copy.copy(guarded), "__deepcopy__")
