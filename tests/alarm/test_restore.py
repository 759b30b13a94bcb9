"""``on_leak="restore"``: put back what is proven, and say so; leave the rest, and say why."""

from __future__ import annotations

import asyncio
import copy
import logging
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

from stateguard import Guard, Leak
from stateguard.containment import DONE
from tests.alarm import restorable

WATCH = "tests.alarm.restorable"


@pytest.fixture
def state() -> Iterator[Any]:
    module: ModuleType = restorable
    before = {name: copy.copy(value) for name, value in vars(module).items() if name.isupper()}
    yield module
    for name, value in before.items():
        setattr(module, name, value)
    for name in set(vars(module)) - set(before):
        if name.isupper():
            delattr(module, name)
    module.Config.user = module.Managed.user = "nobody"
    module.put("nobody")


@pytest.fixture
def guard() -> Iterator[Guard]:
    one = Guard(watch=[WATCH], on_leak="restore", process=False)
    with one.request("first"):
        pass
    yield one
    one.close()


WRITES: dict[str, Callable[[Any], object]] = {
    "append": lambda m: m.LIST.append("word"),
    "replace": lambda m: m.LIST.__setitem__(0, "word"),
    "clear": lambda m: m.LIST.clear(),
    "twice": lambda m: (m.LIST.append("word"), m.LIST.insert(0, "x")),
    "global": lambda m: setattr(m, "NAME", "ann"),
    "new global": lambda m: setattr(m, "EXTRA", ["ann"]),
    "deleted global": lambda m: delattr(m, "NAME"),
    "key": lambda m: m.DICT.__setitem__("a", "ann"),
    "removed key": lambda m: m.DICT.pop("a"),
    "many keys": lambda m: m.DICT.update({f"k{n}": "ann" for n in range(50)}),
    "cleared": lambda m: m.DICT.clear(),
    "set cleared": lambda m: m.SET.clear(),
    "deque": lambda m: (m.DEQUE.extend("xyz"), m.DEQUE.append("w")),
    "deque cleared": lambda m: m.DEQUE.clear(),
    "ordered": lambda m: m.ORDERED.__setitem__("a", "ann"),
    "default": lambda m: m.DEFAULT["ann"].append("word"),
    "attribute": lambda m: setattr(m.CONFIG, "user", "ann"),
    "attribute twice": lambda m: (setattr(m.CONFIG, "user", "ann"), setattr(m.CONFIG, "user", "bob")),
    "class attribute": lambda m: setattr(m.Config, "user", "ann"),
    "new class attribute": lambda m: setattr(m.Config, "extra", ["ann"]),
    "closure": lambda m: m.put("ann"),
    "nested": lambda m: m.DICT.setdefault("u", {}).update(x="ann"),
}


def _picture(m: Any) -> Any:
    names = [name for name in vars(m) if name.isupper() and name not in ("BYTES", "SLOTTED")]
    return (
        {name: copy.deepcopy(getattr(m, name)) for name in names if name != "CONFIG"},
        dict(vars(m.CONFIG)),
        {key: value for key, value in vars(m.Config).items() if not key.startswith("__")},
        m.get(),
    )


@pytest.mark.parametrize("name", WRITES)
def test_what_is_proven_is_put_back(name: str, state: Any) -> None:
    guard = Guard(watch=[WATCH], on_leak="restore", process=False, threshold="note")
    with guard.request("first"):
        pass
    before = _picture(state)
    with guard.request("guilty"):
        WRITES[name](state)
        assert _picture(state) != before
    assert _picture(state) == before
    n = len(guard.leaks)
    assert n
    assert {leak.contained for leak in guard.leaks} == {DONE}
    with guard.request("innocent"):
        pass
    guard.close()
    assert len(guard.leaks) == n, "what was put back is on nobody's account"
    assert type(state.DEQUE) is deque
    assert state.DEQUE.maxlen == 3
    assert type(state.ORDERED) is OrderedDict


REFUSED: dict[str, tuple[Callable[[Any], object], str]] = {
    "buffer": (lambda m: m.BYTES.extend(b"word"), "no plain container"),
    "slot": (lambda m: setattr(m.SLOTTED, "user", "ann"), "no plain container"),
    "subclass": (lambda m: m.OWN.update(user="ann"), "of the application's own"),
    "metaclass": (lambda m: setattr(m.Managed, "user", "ann"), "metaclass"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_put_back_stays_and_says_why(name: str, state: Any) -> None:
    write, why = REFUSED[name]
    guard = Guard(watch=[WATCH], on_leak="restore", process=False, threshold="note")
    with guard.request("first"):
        pass
    with guard.request("guilty"):
        write(state)
    guard.close()
    assert guard.leaks
    assert all(leak.contained.startswith("not put back: ") and why in leak.contained for leak in guard.leaks)


def test_keys_with_code_of_their_own_are_left_alone(state: Any) -> None:
    class Odd:
        def __hash__(self) -> int:
            return 1

        def __eq__(self, other: object) -> bool:
            return self is other

    state.ODD[Odd()] = 1
    guard = Guard(watch=[WATCH], on_leak="restore", process=False, threshold="note")
    with guard.request("first"):
        pass
    with guard.request("guilty"):
        state.ODD["user"] = "ann"
    guard.close()
    (leak,) = guard.leaks
    assert "code of their own" in leak.contained
    assert state.ODD["user"] == "ann"


def test_milder_changes_stay(guard: Guard, state: Any) -> None:
    with guard.request("counting"):
        state.DICT["a"] = 7  # a counter
        state.NAME = "ann"
    assert state.DICT["a"] == 7
    assert state.NAME == "nobody"
    assert {leak.severity: leak.contained for leak in guard.leaks} == {"note": "", "high": DONE}


def test_nothing_is_put_back_over_what_somebody_else_wrote(guard: Guard, state: Any) -> None:
    with guard.request("one") as one:
        state.NAME = "ann"
        guard.end(one)
        with guard.request("two"):
            state.NAME = "bob"
        guard.begin(one)
    assert state.NAME == "ann", "what two found is put back, what one found is not: two has written since"
    assert [leak.contained for leak in guard.leaks] == [
        "not put back: other code has written to it since",
        DONE,
    ]


def test_requests_that_overlap_are_told_apart(state: Any) -> None:
    guard = Guard(watch=[WATCH], on_leak="restore", process=False)
    seen = []

    @guard.guarded
    async def speak(user: str) -> None:
        state.DICT[f"user-{user}"] = [user]
        setattr(state.CONFIG, f"of_{user}", user)
        await asyncio.sleep(0.01)
        seen.append(len(state.DICT))
        await asyncio.sleep(0.01)

    async def main() -> None:
        await asyncio.gather(*(speak(f"u{n}") for n in range(8)))

    guard.start()
    asyncio.run(main())
    guard.close()
    assert max(seen) > 2, "they could read each other's entries meanwhile"
    assert vars(state.CONFIG) == {}
    assert {leak.contained for leak in guard.leaks if leak.severity == "high"} == {DONE}


def test_what_the_request_puts_back_itself_is_left_to_it(guard: Guard, state: Any) -> None:
    with guard.request("one") as one:
        state.NAME = "ann"
        guard.end(one)
        guard.begin(one)
        state.NAME = "nobody"
    (leak,) = guard.leaks
    assert leak.restored
    assert leak.contained == ""


def test_exemptions_are_not_undone(state: Any) -> None:
    guard = Guard(watch=[WATCH], on_leak="restore", process=False, allow=[f"{WATCH}:NAME  # meant"])
    with guard.request("first"):
        pass
    with guard.request("one"):
        state.NAME = "ann"
    guard.close()
    assert state.NAME == "ann"


def test_warm_up_is_not_undone(state: Any) -> None:
    guard = Guard(watch=[WATCH], on_leak="restore", process=False, warm_up=2)
    with guard.request("one"):
        state.NAME = "ann"
    with guard.request("two"):
        pass
    guard.close()
    assert state.NAME == "ann"


def test_it_is_said_in_the_log_and_to_sinks(state: Any, caplog: pytest.LogCaptureFixture) -> None:
    told: list[str] = []

    class Sink:
        def leak(self, leak: Leak, seen: int) -> None:
            told.append(leak.contained)

        def close(self) -> None:
            """Nothing to do."""

    guard = Guard(watch=[WATCH], on_leak="restore", process=False, sinks=[Sink()])
    with guard.request("first"):
        pass
    with caplog.at_level(logging.WARNING, "stateguard"), guard.request("guilty"):
        state.NAME = "ann"
    guard.close()
    assert f"{WATCH}.NAME [leak " in caplog.text
    assert f": {DONE} (CALL guilty" in caplog.text
    assert told == ["", DONE] or told == ["", DONE, DONE]


def test_what_was_put_back_may_run_code_when_it_dies_without_a_deadlock(guard: Guard, state: Any) -> None:
    class Loud:
        def __del__(self) -> None:
            with guard.request("from a finalizer"):
                pass

    with guard.request("guilty"):
        state.NAME = Loud()
    assert state.NAME == "nobody"
    with guard.request("next"):
        pass
