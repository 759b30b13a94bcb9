"""Objects that lie, raise or act when looked at, that die, that are huge, that others change meanwhile."""

from __future__ import annotations

import gc
import sys
import threading
import time
import types
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from stateguard import Guard

NAME = "hostile_app"

CALLS: list[str] = []
"""Every method of a hostile object that has run."""


@contextmanager
def watching(
    source: str = "", budget: float = 0.05, **names: Any
) -> Iterator[tuple[types.ModuleType, Guard]]:
    """A module made of ``source`` and ``names``, and a guard that has taken its baseline."""
    module = types.ModuleType(NAME)
    module.CALLS = CALLS
    vars(module).update(names)
    exec(compile(source, "<hostile>", "exec"), vars(module))
    del module.CALLS
    sys.modules[NAME] = module
    guard = Guard(watch=[NAME], locate="never", process=False, budget=budget)
    CALLS.clear()
    try:
        guard.start()
        yield module, guard
    finally:
        guard.close()
        sys.modules.pop(NAME, None)


@pytest.fixture(autouse=True)
def calls_are_the_modules_own(request: pytest.FixtureRequest) -> Iterator[None]:
    CALLS.clear()
    yield
    CALLS.clear()


METHODS = (
    "__eq__ __ne__ __lt__ __hash__ __repr__ __str__ __bool__ __len__ __iter__ __contains__ __getitem__ "
    "__getattr__ __getattribute__ __setattr__ __delattr__ __dir__ __sizeof__ __reduce__ __reduce_ex__ "
    "__format__ __index__ __int__ __call__ __copy__ __deepcopy__ __enter__ __exit__ __instancecheck__"
).split()

HOSTILE = (
    """
import functools
def _spy(name):
    def method(self, *args, **kwargs):
        log.append(name)
        raise RuntimeError(f"{name} was called")
    return method
log = []
class Hostile(BASE):
    pass
"""
    + "\n".join(f"Hostile.{name} = _spy({name!r})" for name in METHODS)
    + """
Hostile.__dict__  # the real one
class Lying(BASE):
    @property
    def __dict__(self):
        log.append('__dict__')
        return {}
    @property
    def __class__(self):
        log.append('__class__')
        return int
    @property
    def value(self):
        log.append('value')
        return 1
class Meta(type):
    def __getattribute__(cls, name):
        log.append('meta ' + name)
        return type.__getattribute__(cls, name)
    def __hash__(cls):
        log.append('meta hash')
        return 1
    def __eq__(cls, other):
        log.append('meta eq')
        return True
    def __instancecheck__(cls, other):
        log.append('meta instancecheck')
        return True
    def __subclasscheck__(cls, other):
        log.append('meta subclasscheck')
        return True
    @property
    def __mro__(cls):
        log.append('meta mro')
        return ()
    @property
    def __name__(cls):
        log.append('meta name')
        return 'x'
class Made(metaclass=Meta):
    pass
def new(cls):
    made = BASE.__new__(cls)
    return made
"""
)


def _hidden(module: types.ModuleType) -> list[str]:
    """Take the log out of the module, so that recording a call is no change of watched state."""
    log: list[str] = []
    kept = vars(module)
    kept["log"] = log
    return log


@pytest.mark.parametrize("base", ["object", "list", "dict", "set", "tuple", "int", "str", "Exception"])
def test_no_method_of_an_application_object_runs(base: str) -> None:
    with watching(HOSTILE.replace("BASE", base), STATE=[]) as (module, guard):
        log = module.log
        with guard.request("one"):
            module.STATE.append(module.new(module.Hostile))
            module.STATE.append(module.new(module.Lying))
        with guard.request("two"):
            module.STATE.append(module.new(module.Hostile))
            module.KEPT = module.new(module.Hostile)
            module.OTHER = module.new(module.Lying)
        with guard.request("three"):
            module.KEPT = module.new(module.Hostile)
            del module.STATE[0]
        paths = {leak.path for leak in guard.leaks}
        assert f"{NAME}.STATE" in paths
        assert f"{NAME}.KEPT" in paths
        # "int is a number, str is a text": an application's subclass of one is looked at like any other
        assert log == []


def test_no_method_of_a_metaclass_runs() -> None:
    with watching(HOSTILE.replace("BASE", "object"), STATE=[]) as (module, guard):
        log = module.log
        made = object.__new__(module.Made)
        log.clear()
        with guard.request("one"):
            module.STATE.append(made)
        with guard.request("two"):
            object.__setattr__(made, "user", "ann")
        with guard.request("three"):
            type.__setattr__(module.Made, "shared", [1])
        told = [(leak.path, leak.kind) for leak in guard.leaks]
        assert log == []
        assert told[:2] == [(f"{NAME}.STATE", "appended"), (f"{NAME}.STATE[0].user", "attribute added")]
        assert told[2][1] == "attribute added"


def test_an_object_that_claims_to_equal_everything() -> None:
    source = """
class Equal:
    def __eq__(self, other):
        return True
    def __hash__(self):
        return 1
"""
    with watching(source) as (module, guard):
        module.STATE = [module.Equal()]
        with guard.request("baseline"):
            pass
        before = len(guard.leaks)
        with guard.request("r"):
            module.STATE[0] = "another"
        assert [leak.path for leak in guard.leaks[before:]] == [f"{NAME}.STATE[0]"]


def test_an_object_whose_equality_changes_the_state() -> None:
    source = """
class Acting:
    def __eq__(self, other):
        STATE.append('eq')
        return False
    __hash__ = None
STATE = [Acting()]
"""
    with watching(source) as (module, guard):
        with guard.request("r"):
            module.STATE.append(1)
        with guard.request("s"):
            module.STATE.insert(0, 2)
        assert len(module.STATE) == 3
        assert [leak.kind for leak in guard.leaks] == ["appended", "inserted"]


def test_names_that_are_no_strings_are_not_compared() -> None:
    source = """
log = []
class Name:
    def __eq__(self, other):
        log.append('eq')
        raise RuntimeError('compared')
    __hash__ = __str__ = __repr__ = __bool__ = __eq__
    def __format__(self, spec):
        log.append('format')
        raise RuntimeError('formatted')
import types
OTHER = types.ModuleType('other')
OTHER.__name__ = Name()
def function():
    yield
function.__module__ = Name()
class Own:
    pass
Own.__module__ = Name()
STATE = []
"""
    with watching(source) as (module, guard):
        with guard.request("r"):
            module.STATE.append(module.Own())
        assert f"{NAME}.STATE" in [leak.path for leak in guard.leaks]
        assert module.log == []


def test_classes_that_hold_themselves_and_each_other() -> None:
    source = """
class One:
    pass
class Other:
    one = One
One.me, One.other = One, Other
STATE = []
"""
    with watching(source) as (module, guard):
        with guard.request("r"):
            module.STATE.append(1)
        assert [leak.path for leak in guard.leaks] == [f"{NAME}.STATE"]


def test_reading_that_would_raise() -> None:
    source = """
class Unbound:
    __slots__ = ('__dict__',)
    def __getattribute__(self, name):
        raise RuntimeError('working outside of request context')
PROXY = Unbound()
STATE = {'proxy': PROXY, 'list': []}
"""
    with watching(source) as (module, guard):
        with guard.request("r"):
            module.STATE["list"].append(1)
        assert [leak.path for leak in guard.leaks] == [f"{NAME}.STATE['list']"]
        assert not guard.engine.failures


def test_a_finalizer_that_writes() -> None:
    source = """
class Noisy:
    def __del__(self):
        GRAVE.append('gone')
GRAVE = []
STATE = [Noisy(), Noisy()]
"""
    with watching(source) as (module, guard):
        with guard.request("r"):
            module.STATE.pop()
        with guard.request("s"):
            pass
        gc.collect()
        with guard.request("t"):
            pass
        assert module.GRAVE == ["gone"]
        assert f"{NAME}.STATE" in {leak.path for leak in guard.leaks}
        assert not guard.engine.failures


# -- shapes ----------------------------------------------------------------------------------------


def test_cycles() -> None:
    source = """
class Node:
    pass
A, B = Node(), Node()
A.other, B.other = B, A
RING = []
RING.append(RING)
TABLE = {}
TABLE['self'] = TABLE
PAIR = ([],)
PAIR[0].append(PAIR)
"""
    with watching(source) as (module, guard):
        with guard.request("r"):
            module.A.other.other.other.value = 1
            module.RING[0][0].append(1)
            module.TABLE["self"]["self"]["x"] = 1
            module.PAIR[0][0][0].append(2)
        assert {leak.path for leak in guard.leaks} == {
            f"{NAME}.B.value",
            f"{NAME}.RING",
            f"{NAME}.TABLE['x']",
            f"{NAME}.PAIR[0]",
        }


def test_a_cycle_that_is_let_go_dies() -> None:
    source = "class Node:\n    pass\nSTATE = []"
    with watching(source) as (module, guard):
        a, b = module.Node(), module.Node()
        a.other, b.other = b, a
        gone = weakref.ref(a)
        with guard.request("r"):
            module.STATE.append(a)
        with guard.request("s"):
            module.STATE.clear()
        del a, b
        with guard.request("t"):
            pass
        gc.collect()
        assert gone() is None


@pytest.mark.timeout(600)  # the baseline takes some ten microseconds per node, and machines are shared
def test_a_million_nodes() -> None:
    state = [[i] for i in range(1_000_000)]
    with watching(budget=1, STATE=state) as (module, guard):
        with guard.request("r"):
            module.STATE[765_432].append("x")
        assert [leak.path for leak in guard.leaks] == [f"{NAME}.STATE[765432]"]
        with guard.request("s"):
            module.STATE.append([1])
            module.STATE[3][0] = "y"
        assert {leak.path for leak in guard.leaks[1:]} == {f"{NAME}.STATE", f"{NAME}.STATE[3][0]"}
        with guard.request("t"):
            pass
        assert len(guard.leaks) == 3
        assert not guard.engine.failures


def test_a_chain_of_a_hundred_thousand() -> None:
    """No recursion: neither the walk nor the description of a change depends on the stack."""
    state: list[Any] = []
    inner = state
    for _ in range(100_000):
        inner.append([])
        inner = inner[0]
    with watching(budget=1, STATE=state) as (module, guard):
        with guard.request("r"):
            state.append("top")
        assert [(leak.path, leak.kind) for leak in guard.leaks] == [(f"{NAME}.STATE", "appended")]
        assert not guard.engine.failures
        while state:  # taken apart by hand: deallocating it would recurse
            state = state[0] if state and isinstance(state[0], list) else []


# -- others change it meanwhile --------------------------------------------------------------------


def test_state_that_other_threads_change_during_checks() -> None:
    """Requests go on, nothing raises, and in the end everything has been seen."""
    source = "STATE = {'list': [], 'dict': {}, 'set': set(), 'n': 0}"
    # On a slow machine the budget would put off the last look: with 1 there is a look after each request.
    with watching(source, budget=1) as (module, guard):
        stop = threading.Event()
        failures: list[BaseException] = []

        def outside() -> None:
            n = 0
            while not stop.is_set():
                n += 1
                state = module.STATE
                state["dict"][n % 500] = n
                state["list"].append(n)
                state["set"].add(n % 300)
                if n % 50 == 0:
                    state["list"].clear()
                    state["dict"].clear()
                    state["set"].clear()
                if n % 20 == 0:
                    time.sleep(0)

        def inside() -> None:
            try:
                for n in range(40):
                    with guard.request(f"r{n}"):
                        module.STATE["n"] = n
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=outside), *(threading.Thread(target=inside) for _ in range(4))]
        for thread in threads:
            thread.start()
        for thread in threads[1:]:
            thread.join(60)
        stop.set()
        threads[0].join(60)
        assert not any(thread.is_alive() for thread in threads)
        assert not failures
        assert not guard.engine.failures
        with guard.request("settled"):
            pass
        before = guard.leaks[-1]
        with guard.request("last"):
            module.STATE["list"].append("the end")
        last = guard.leaks[-1]
        assert last is not before
        assert last.path == f"{NAME}.STATE['list']"


# -- holding has no side effects -------------------------------------------------------------------


def test_a_removed_object_dies_by_the_next_check() -> None:
    source = "class Session:\n    pass\nSTATE = {}\nTABLE = []"
    with watching(source) as (module, guard):
        session = module.Session()
        gone = weakref.ref(session)
        with guard.request("r"):
            module.STATE["s"] = session
            module.TABLE.append(session)
        del session
        with guard.request("s"):
            del module.STATE["s"]
            module.TABLE.clear()
        with guard.request("t"):
            pass
        assert gone() is None


def test_a_replaced_object_dies_by_the_next_check() -> None:
    source = "class Session:\n    user = None\nSTATE = {'s': Session()}\nNAME = Session()\nLIST = [Session()]"
    with watching(source) as (module, guard):
        gone = []
        for n in range(3):
            made = [module.Session() for _ in range(4)]
            for session in made:
                session.user = f"user {n}"
            gone += [weakref.ref(session) for session in made]
            with guard.request("r"):
                module.STATE["s"], module.NAME, module.LIST[0], module.NAME.other = made
            del made, session
        with guard.request("s"):
            module.STATE["s"] = module.NAME = module.LIST[0] = None
        with guard.request("t"):
            pass
        gc.collect()
        assert [ref() for ref in gone] == [None] * 12


def test_changes_of_one_check_are_told_apart() -> None:
    """A node that changed before, alone, and others that now change with it."""
    with watching("A, B = ['a'], ['b', 'b']\nC = {'c': 1, 'd': 2, 'e': 3}") as (module, guard):
        with guard.request("first"):
            module.A.clear()
        with guard.request("second"):
            module.A.append("x")
            module.B.append("x")
            module.C["f"] = "x"
        sizes = {leak.path: leak.after.partition(" (")[0] for leak in guard.leaks[1:]}
        assert sizes[f"{NAME}.A"] == "list of 1 item"
        assert sizes[f"{NAME}.B"] == "list of 3 items"


def test_weak_containers_let_their_members_go() -> None:
    source = """
import weakref
class Session:
    pass
BY_ID = weakref.WeakValueDictionary()
OPEN = weakref.WeakSet()
"""
    with watching(source) as (module, guard):
        session = module.Session()
        with guard.request("r"):
            module.BY_ID["s"] = session
            module.OPEN.add(session)
        del session
        with guard.request("s"):
            pass
        gc.collect()
        assert len(module.BY_ID) == 0
        assert len(module.OPEN) == 0
        told = [(leak.path, leak.kind) for leak in guard.leaks if leak.request and leak.request.path == "t"]
        with guard.request("t"):
            pass
        assert not told


@pytest.mark.parametrize("refcheck", [True, False])
def test_numpy_arrays_may_be_resized(refcheck: bool) -> None:
    source = "import numpy as np\nBOX = [np.zeros(4)]"
    with watching(source) as (module, guard):
        with guard.request("r"):
            module.BOX[0].resize(8, refcheck=refcheck)
        with guard.request("s"):
            module.BOX[0].resize(2, refcheck=refcheck)
        assert [leak.path for leak in guard.leaks] == [f"{NAME}.BOX[0]"] * 2
        assert module.BOX[0].shape == (2,)


def test_a_numpy_array_that_moves_stays_watched() -> None:
    source = "import numpy as np\nA = {'x': np.zeros(4)}\nB = {}"
    with watching(source) as (module, guard):
        with guard.request("move"):
            module.B["y"] = module.A.pop("x")
        with guard.request("write"):
            module.B["y"][0] = 5
        assert guard.leaks[-1].path == f"{NAME}.B['y']"
        assert guard.leaks[-1].kind == "buffer changed"
        gone = weakref.ref(module.B["y"])
        with guard.request("drop"):
            module.B.clear()
        with guard.request("next"):
            pass
        assert gone() is None


def test_a_numpy_array_replaced_by_an_equal_one_is_no_change() -> None:
    source = "import numpy as np\nSTATE = np.arange(5)"
    with watching(source) as (module, guard):
        with guard.request("same"):
            module.STATE = np.arange(5)
        assert not guard.leaks
        with guard.request("other"):
            module.STATE = np.arange(5) + 1
        with guard.request("edited"):
            module.STATE[0] = 99
        assert [(leak.path, leak.kind) for leak in guard.leaks] == [
            (f"{NAME}.STATE", "rebound"),
            (f"{NAME}.STATE", "buffer changed"),
        ]


def test_bytearrays_may_be_resized_by_any_thread() -> None:
    with watching("STATE = bytearray(8)") as (module, guard):
        stop = threading.Event()
        errors: list[BaseException] = []

        def resize() -> None:
            try:
                while not stop.is_set():
                    module.STATE.extend(b"abc")
                    if len(module.STATE) > 4000:
                        module.STATE.clear()
                    time.sleep(0)
            except BaseException as error:  # BufferError: Existing exports of data
                errors.append(error)

        thread = threading.Thread(target=resize)
        thread.start()
        for n in range(200):
            with guard.request(f"r{n}"):
                pass
        stop.set()
        thread.join(30)
        assert not errors


def test_memoryviews_may_be_released_and_their_owners_resized() -> None:
    with watching("BASE = bytearray(8)\nVIEW = memoryview(BASE)") as (module, guard):
        with guard.request("write"):
            module.VIEW[0] = 1
        assert {leak.path for leak in guard.leaks} == {f"{NAME}.BASE"}
        with guard.request("release"):
            module.VIEW.release()
            module.BASE.extend(b"more")
        assert len(module.BASE) == 12
        assert not guard.engine.failures


def test_generators_and_iterators_are_not_advanced() -> None:
    with watching("STATE = {'g': (n for n in range(3)), 'i': iter([1, 2]), 'l': []}") as (module, guard):
        with guard.request("r"):
            module.STATE["l"].append(1)
        assert list(module.STATE["g"]) == [0, 1, 2]
        assert list(module.STATE["i"]) == [1, 2]


def test_reference_counts_are_restored_when_the_guard_closes() -> None:
    class Plain:
        pass

    kept = Plain()
    Plain.__module__ = NAME
    before = sys.getrefcount(kept)
    with watching(STATE=[kept]) as (module, guard):
        with guard.request("r"):
            module.STATE.append(kept)
        module.STATE.clear()
    del module
    gc.collect()
    assert sys.getrefcount(kept) <= before + 1


def test_a_root_that_fails_to_be_walked_fails_no_request() -> None:
    """Code replaced by something absurd: the module is no module of Python's any more."""
    with watching("STATE = []") as (module, guard):
        with guard.request("r"):
            sys.modules[NAME] = "not a module"
            module.STATE.append(1)
        with guard.request("s"):
            sys.modules[NAME] = module
        assert f"{NAME}.STATE" in {leak.path for leak in guard.leaks}
