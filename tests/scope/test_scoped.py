"""scoped() and RequestVar where the documentation's table does not reach: threads, errors, real clients."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import inspect
import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import anthropic
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from stateguard import RequestVar, json_default, open_scope, scoped, unscoped
from stateguard.errors import ConfigError, NoActiveScope
from tests.messages_api import Api

HISTORY = scoped(list)
COUNT = scoped(int)
MAYBE = scoped(lambda: {"a": 1})
USER = RequestVar[str]()
NOTES = RequestVar(list)


@dataclass
class State:
    names: list[str] = field(default_factory=list)


STATE = scoped(State)


def test_requests_do_not_share_and_tasks_of_one_do():
    async def request(number):
        with open_scope():

            async def child(step):
                global COUNT
                await asyncio.sleep(0)
                HISTORY.append((number, step))
                COUNT += 1

            await asyncio.gather(*(child(step) for step in range(3)))
            return list(HISTORY), int(COUNT)

    async def main():
        return await asyncio.gather(*(asyncio.create_task(request(number)) for number in range(10)))

    for number, (history, count) in enumerate(asyncio.run(main())):
        assert history == [(number, 0), (number, 1), (number, 2)]
        assert count == 3


def test_in_place_operators_keep_the_proxy_in_the_name():
    global COUNT
    before = COUNT
    with open_scope():
        COUNT += 2
        COUNT *= 5
        assert COUNT is before
        assert COUNT == 10
    with open_scope():
        assert COUNT == 0


@pytest.mark.parametrize(
    "use",
    [
        lambda: HISTORY.append(1),
        lambda: len(HISTORY),
        lambda: list(HISTORY),
        lambda: HISTORY + [1],
        lambda: COUNT + 1,
        lambda: STATE.names,
        lambda: unscoped(HISTORY),
        lambda: json.dumps(HISTORY, default=json_default),
        lambda: copy.copy(HISTORY),
        lambda: setattr(STATE, "names", []),
        lambda: USER.set("ada"),
        lambda: USER.get("nobody"),
        lambda: NOTES.get(),
    ],
)
def test_every_use_outside_a_request_is_an_error_that_names_the_variable(use):
    with pytest.raises(NoActiveScope, match=r"test_scoped\.(HISTORY|COUNT|STATE|USER|NOTES).*guard\.request"):
        use()


def test_what_tools_ask_of_every_global_is_answered_outside_a_request():
    assert isinstance(HISTORY, list)
    assert isinstance(STATE, State)
    assert not hasattr(HISTORY, "__wrapped__")
    assert not hasattr(MAYBE, "__test__")
    assert inspect.unwrap(HISTORY) is HISTORY
    assert not inspect.isclass(HISTORY)
    assert not inspect.isroutine(STATE)
    assert repr(HISTORY).endswith("HISTORY: list per request, and none is being served here>")
    assert "append" in dir(HISTORY)


def test_hash_follows_the_kind():
    with open_scope():
        with pytest.raises(TypeError):
            hash(HISTORY)
        assert {COUNT: "zero"}[0] == "zero"


def test_the_error_of_json_names_the_way():
    with open_scope():
        with pytest.raises(TypeError, match=r"stateguard\.unscoped\(HISTORY\)"):
            json.dumps({"deep": [HISTORY]})
        with pytest.raises(TypeError, match=r"stateguard\.unscoped\(MAYBE\)"):
            json.dumps(MAYBE)
        assert json.dumps({"deep": [HISTORY, MAYBE]}, default=json_default) == '{"deep": [[], {"a": 1}]}'
        with pytest.raises(TypeError, match="object"):
            json.dumps(object(), default=json_default)


def test_pickled_value_needs_no_stateguard_to_be_read():
    program = (
        "import pickle, sys; print(pickle.load(sys.stdin.buffer)); assert 'stateguard' not in sys.modules"
    )
    with open_scope():
        HISTORY.append({"a": (1, 2)})
        import pickle

        for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
            data = pickle.dumps(HISTORY, protocol)
            done = subprocess.run(
                [sys.executable, "-c", program], input=data, capture_output=True, timeout=30
            )
            assert done.stdout.decode().strip() == "[{'a': (1, 2)}]", done.stderr


def test_context_managers_and_calls_of_a_scoped_object():
    stack = scoped(contextlib.ExitStack)
    greet = scoped(lambda: lambda name: f"hello {name}")
    closed = []
    with open_scope():
        with stack:
            stack.callback(closed.append, 1)
        assert closed == [1]
        assert greet("ada") == "hello ada"


def test_the_value_and_not_what_makes_it_must_be_a_mistake_with_a_fix():
    with pytest.raises(ConfigError, match=r"scoped\(list\)"):
        scoped([])


def test_threads_of_one_request_make_one_value():
    from stateguard import carry

    barrier = threading.Barrier(8)
    with open_scope(), ThreadPoolExecutor(8) as pool:

        def add(number):
            barrier.wait(timeout=10)
            HISTORY.append(number)
            return id(unscoped(HISTORY))

        assert len(set(pool.map(carry(add), range(8)))) == 1
        assert sorted(HISTORY) == list(range(8))


def test_request_var():
    with open_scope():
        assert not USER.is_set()
        assert USER.get("nobody") == "nobody"
        with pytest.raises(LookupError, match=r"USER\.set\(value\)"):
            USER.get()
        USER.set("ada")
        assert USER.get() == "ada"
        with open_scope():
            assert USER.get(None) is None
        USER.delete()
        assert not USER.is_set()
        NOTES.get().append(1)
        assert NOTES.get() == [1]
    assert not NOTES.is_set()
    assert repr(NOTES).endswith("test_scoped.NOTES>")


def test_fastapi_returns_scoped_values_and_default_arguments_work():
    app = FastAPI()

    @app.middleware("http")
    async def scope(request, call_next):
        with open_scope():
            return await call_next(request)

    @app.get("/list")
    def as_list(text: str) -> list[str]:
        HISTORY.append(text)
        return HISTORY

    @app.get("/state")
    async def as_state(name: str):
        STATE.names.append(name)
        return {"state": STATE, "more": MAYBE}

    with TestClient(app) as client:
        for text in ("a", "b"):
            assert client.get("/list", params={"text": text}).json() == [text]
            answer = {"state": {"names": [text]}, "more": {"a": 1}}
            assert client.get("/state", params={"name": text}).json() == answer


TOOLS = scoped(lambda: [{"name": "t", "input_schema": {"type": "object", "properties": {}}}])


def test_the_real_anthropic_client_takes_scoped_messages(messages_api):
    with open_scope(), anthropic.Anthropic(base_url=messages_api, api_key="none", max_retries=0) as client:
        HISTORY.append({"role": "user", "content": [{"type": "text", "text": "hi"}]})
        answer = client.messages.create(model="m", max_tokens=10, messages=HISTORY, tools=TOOLS)
        HISTORY.append({"role": "assistant", "content": answer.content})
        client.messages.create(model="m", max_tokens=10, messages=HISTORY, tools=TOOLS)
    assert [len(call["messages"]) for call in Api.asked] == [1, 2]
    assert Api.asked[1]["messages"][1]["content"] == [{"type": "text", "text": "hello"}]
    assert Api.asked[1]["tools"][0]["name"] == "t"


@given(st.lists(st.integers(), max_size=5), st.lists(st.integers(), max_size=5), st.integers(-6, 6))
def test_a_scoped_list_behaves_as_the_list(first, second, index):
    def outcome(work):
        try:
            return work()
        except Exception as error:
            return type(error)

    def play(box):
        log = [outcome(lambda: box.extend(first)), outcome(lambda: box.__iadd__(second) and None)]
        log += [
            outcome(lambda: box[index]),
            outcome(lambda: box.pop(index)),
            outcome(lambda: box.index(index)),
        ]
        log += [outcome(lambda: box < second), outcome(lambda: second <= box), outcome(lambda: box * 2)]
        log += [outcome(lambda: second + box), outcome(lambda: box[index:]), outcome(lambda: "x" + box)]
        return log, list(box)

    with open_scope():
        assert play(scoped(list)) == play([])
