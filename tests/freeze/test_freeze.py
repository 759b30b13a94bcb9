"""freeze() and freeze_module(): equal, immutable at any depth, and honest about what it could not do."""

from __future__ import annotations

import copy
import dataclasses
import datetime
import enum
import functools
import io
import json
import logging
import pickle
import sys
import threading
import types
from collections import Counter, OrderedDict, defaultdict, namedtuple
from decimal import Decimal
from pathlib import Path

import anthropic
import attrs
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stateguard import freeze, freeze_module
from stateguard.errors import ConfigError, FreezeError
from tests.messages_api import Api

TOOL_DEFINITIONS = [
    {
        "name": "search",
        "description": "Search the web",
        "input_schema": {
            "type": "object",
            "properties": {"q": {"type": "string", "enum": ["a", "b"]}},
            "required": ["q"],
        },
    }
]


@dataclasses.dataclass
class Tool:
    name: str
    tags: list[str] = dataclasses.field(default_factory=list)
    parent: Tool | None = None

    def title(self) -> str:
        return self.name.title()


@dataclasses.dataclass(slots=True)
class Slotted:
    items: dict


@dataclasses.dataclass(frozen=True)
class HalfFrozen:
    items: list


@attrs.define
class Attr:
    items: list


class Plain:
    def __init__(self):
        self.items = [1]
        self.__secret = {"a": [1]}

    def secret(self):
        return self.__secret


class WithSlots:
    __slots__ = ("__hidden", "items")

    def __init__(self):
        self.items = [1]
        self.__hidden = [2]

    def hidden(self):
        return self.__hidden


class Color(enum.Enum):
    RED = 1


Point = namedtuple("Point", "x y")

LIST_WRITES = [
    lambda x: x.append(1),
    lambda x: x.extend([1]),
    lambda x: x.insert(0, 1),
    lambda x: x.pop(),
    lambda x: x.remove(1),
    lambda x: x.clear(),
    lambda x: x.sort(),
    lambda x: x.reverse(),
    lambda x: x.__setitem__(0, 1),
    lambda x: x.__setitem__(slice(0, 1), []),
    lambda x: x.__delitem__(0),
    lambda x: x.__iadd__([1]),
    lambda x: x.__imul__(2),
]
DICT_WRITES = [
    lambda x: x.update(a=1),
    lambda x: x.setdefault("b", 1),
    lambda x: x.pop("a"),
    lambda x: x.popitem(),
    lambda x: x.clear(),
    lambda x: x.__setitem__("a", 1),
    lambda x: x.__delitem__("a"),
    lambda x: x.__ior__({"b": 1}),
]


@pytest.mark.parametrize("write", LIST_WRITES)
def test_lists_refuse_every_write(write):
    frozen = freeze([3, 1, 2])
    with pytest.raises(FreezeError, match="was frozen"):
        write(frozen)
    assert frozen == [3, 1, 2]
    deep = freeze({"a": ([3, 1, 2],)})
    with pytest.raises(FreezeError):
        write(deep["a"][0])


@pytest.mark.parametrize("write", DICT_WRITES)
def test_dicts_refuse_every_write(write):
    frozen = freeze([{"a": 1}])
    with pytest.raises(FreezeError, match="was frozen"):
        write(frozen[0])
    assert frozen == [{"a": 1}]


def test_every_method_of_list_and_dict_is_either_refused_or_a_reader():
    """A new Python version that adds a method must not open a hole."""
    readers = {"copy", "count", "index", "get", "items", "keys", "values", "fromkeys"}
    for base in (list, dict):
        frozen = type(freeze(base()))
        writers = {name for name in vars(base) if not name.startswith("_")} - readers
        assert writers <= vars(frozen).keys()


def test_the_original_is_left_alone_and_may_change():
    original = {"a": [1]}
    frozen = freeze(original)
    original["a"].append(2)
    assert frozen == {"a": [1]}


def test_tool_definitions_pass_through_json_and_pydantic_unchanged():
    frozen = freeze(TOOL_DEFINITIONS)
    assert frozen == TOOL_DEFINITIONS
    assert json.dumps(frozen) == json.dumps(TOOL_DEFINITIONS)
    assert json.dumps(frozen, indent=1, sort_keys=True) == json.dumps(
        TOOL_DEFINITIONS, indent=1, sort_keys=True
    )
    assert pydantic.TypeAdapter(list[dict]).validate_python(frozen) == TOOL_DEFINITIONS
    assert [*frozen] + [1] == [*TOOL_DEFINITIONS, 1]
    assert {**frozen[0]} == TOOL_DEFINITIONS[0]


def test_the_real_anthropic_client_sends_frozen_tools(messages_api):
    history = freeze([{"role": "user", "content": [{"type": "text", "text": "hi"}]}])
    with anthropic.Anthropic(base_url=messages_api, api_key="none", max_retries=0) as client:
        client.messages.create(model="m", max_tokens=10, messages=history, tools=freeze(TOOL_DEFINITIONS))
    assert Api.asked[0]["tools"] == TOOL_DEFINITIONS
    assert Api.asked[0]["messages"] == history


def test_copies():
    frozen = freeze(TOOL_DEFINITIONS)
    assert copy.copy(frozen) is frozen
    assert copy.deepcopy(frozen) == TOOL_DEFINITIONS
    assert type(copy.deepcopy(frozen)[0]) is dict
    assert type(frozen.copy()) is list
    thawed = pickle.loads(pickle.dumps(frozen))
    assert thawed == frozen
    with pytest.raises(FreezeError):
        thawed[0]["input_schema"].clear()
    assert freeze(frozen) is frozen


def test_frozen_values_are_hashable():
    assert len({freeze([{"a": [1]}]), freeze([{"a": [1]}])}) == 1


@pytest.mark.parametrize(
    "value", [Tool("a", ["x"], Tool("b")), Slotted({"a": [1]}), HalfFrozen([1]), Attr([1])]
)
def test_dataclasses_and_attrs(value):
    frozen = freeze(value)
    assert isinstance(frozen, type(value))
    if dataclasses.is_dataclass(value):
        assert frozen == value
        assert dataclasses.asdict(frozen) == dataclasses.asdict(value)
        assert dataclasses.is_dataclass(frozen)
    field = next(iter(dataclasses.asdict(value))) if dataclasses.is_dataclass(value) else "items"
    with pytest.raises((FreezeError, AttributeError)):
        setattr(frozen, field, 1)
    with pytest.raises((FreezeError, AttributeError)):
        delattr(frozen, field)
    again = pickle.loads(pickle.dumps(frozen))
    with pytest.raises((FreezeError, AttributeError)):
        setattr(again, field, 1)


def test_nested_content_of_instances_is_frozen():
    frozen = freeze(Tool("a", ["x"], Tool("b", ["y"])))
    assert frozen.title() == "A"
    for write in (frozen.tags.append, frozen.parent.tags.append):
        with pytest.raises(FreezeError):
            write("z")
    with pytest.raises(FreezeError):
        frozen.parent.name = "c"
    for value in (HalfFrozen([1]), Attr([1]), Plain(), WithSlots()):
        with pytest.raises(FreezeError):
            freeze(value).items.append(1)
    with pytest.raises(FreezeError):
        freeze(Plain()).secret()["a"].append(1)
    with pytest.raises(FreezeError):
        freeze(WithSlots()).hidden().append(1)
    with pytest.raises(FreezeError):
        freeze(Plain()).new = 1


def test_pydantic_model():
    class Config(pydantic.BaseModel):
        names: list[str]
        limits: dict[str, int] = {}

    frozen = freeze(Config(names=["a"], limits={"x": 1}))
    assert isinstance(frozen, Config)
    assert frozen.model_dump() == {"names": ["a"], "limits": {"x": 1}}
    assert frozen.model_dump_json() == '{"names":["a"],"limits":{"x":1}}'
    for write in (
        lambda: frozen.names.append("b"),
        lambda: setattr(frozen, "names", []),
        frozen.limits.clear,
    ):
        with pytest.raises(FreezeError):
            write()


def test_other_containers():
    frozen = freeze(
        {
            "set": {1, 2},
            "tuple": ([1],),
            "point": Point([1], 2),
            "bytes": bytearray(b"x"),
            "default": defaultdict(list, a=[1]),
            "ordered": OrderedDict(b=1, a=2),
            "proxy": types.MappingProxyType({"a": [1]}),
            "partial": functools.partial(sorted, key=len),
            "when": datetime.date(2026, 1, 1),
            "money": Decimal("1.1"),
            "path": Path("/tmp"),
            "color": Color.RED,
            "class": Plain,
            "function": len,
        }
    )
    assert frozen["set"] == frozenset({1, 2})
    assert isinstance(frozen["set"], frozenset)
    assert frozen["tuple"] == ([1],)
    assert frozen["point"].x == [1]
    assert frozen["bytes"] == b"x"
    assert list(frozen["ordered"]) == ["b", "a"]
    assert frozen["default"].get("missing") is None
    with pytest.raises(KeyError):
        frozen["default"]["missing"]
    for inner in (frozen["tuple"][0], frozen["point"].x, frozen["default"]["a"], frozen["proxy"]["a"]):
        with pytest.raises(FreezeError):
            inner.append(1)
    assert frozen["partial"](["bb", "a"]) == ["a", "bb"]
    assert frozen["class"] is Plain


def test_strict_makes_what_not_even_the_base_class_changes():
    frozen = freeze({"a": [1, {"b": {2}}]}, strict=True)
    assert isinstance(frozen, types.MappingProxyType)
    assert frozen["a"] == (1, {"b": {2}})
    assert isinstance(frozen["a"], tuple)
    assert isinstance(frozen["a"][1], types.MappingProxyType)
    with pytest.raises(TypeError):
        dict.__setitem__(frozen, "a", 1)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (threading.Lock, "state is not in attributes"),
        (threading.Event, "exists to change"),
        (lambda: iter([1]), "iterator"),
        (lambda: (n for n in [1]), "iterator"),
        (io.StringIO, "iterator"),
        (lambda: memoryview(bytearray(1)), "state is not in attributes"),
    ],
)
def test_what_can_not_be_frozen_is_named_with_place_and_reason(make, why, caplog):
    value = {"ok": [1], "deep": [{"here": make()}]}
    with pytest.raises(FreezeError, match=rf"value\['deep'\]\[0\]\['here'\].*{why}"):
        freeze(value)
    with caplog.at_level(logging.WARNING, "stateguard.freeze"):
        kept = freeze(value, on_unfreezable="keep")
    assert "['here']" in caplog.text
    with pytest.raises(FreezeError):
        kept["deep"].append(1)


def test_all_places_are_listed_and_cycles_are_no_endless_loop():
    circle = [1]
    circle.append(circle)
    with pytest.raises(FreezeError) as caught:
        freeze({"a": circle, "b": threading.Lock()})
    assert "value['a'][1]: contains itself" in str(caught.value)
    assert "value['b']" in str(caught.value)


def test_what_is_shared_inside_stays_shared():
    part = [1]
    frozen = freeze([part, part])
    assert frozen[0] is frozen[1]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=15,
)


@given(json_values)
def test_frozen_json_is_equal_and_prints_the_same(value):
    frozen = freeze(value)
    assert frozen == value
    assert json.dumps(frozen) == json.dumps(value)
    assert pickle.loads(pickle.dumps(frozen)) == value


@pytest.fixture
def config():
    module = types.ModuleType("frozen_config")
    exec(
        "MODELS = {'fast': ['a']}\nLIMIT = 5\nlock = None\n"
        "class Thing: pass\n"
        "def rebind():\n    global LIMIT\n    LIMIT = 6\n",
        vars(module),
    )
    sys.modules["frozen_config"] = module
    yield module
    del sys.modules["frozen_config"]


def test_a_frozen_module_refuses_writes_from_outside_with_the_place(config):
    handle = freeze_module("frozen_config")
    assert handle.names == {"MODELS", "LIMIT"}
    with pytest.raises(FreezeError):
        config.MODELS["fast"].append("b")
    with pytest.raises(
        FreezeError, match=r"frozen_config.LIMIT was rebound at .*test_freeze.py:\d+ in test_a_frozen"
    ):
        config.LIMIT = 7
    with pytest.raises(FreezeError, match="deleted"):
        del config.LIMIT
    config.lock = object()
    config.NEW = 1
    assert (config.LIMIT, handle.check()) == (5, [])
    config.rebind()
    assert handle.check() == ["frozen_config.LIMIT was rebound; code that does so: <string>:7 in rebind"]
    handle.thaw()
    config.LIMIT = 8
    config.MODELS["fast"].append("b")
    assert type(config) is types.ModuleType


def test_places_of_rebinding_are_found_wherever_they_stand(config):
    exec(
        "import functools\n"
        "class Admin:\n"
        "    def raise_limit(self):\n"
        "        def now():\n"
        "            global LIMIT\n"
        "            LIMIT = 7\n"
        "        now()\n"
        "    @functools.lru_cache\n"
        "    def drop(self):\n"
        "        global MODELS\n"
        "        del MODELS\n",
        vars(config),
    )
    handle = freeze_module("frozen_config", names=["LIMIT", "MODELS"])
    assert handle.check() == []
    admin = config.Admin()
    admin.raise_limit()
    admin.drop()
    limit, models = handle.check()
    assert "<string>:6 in Admin.raise_limit.<locals>.now" in limit
    assert "<string>:7 in rebind" in limit
    assert models == "frozen_config.MODELS was deleted; code that does so: <string>:11 in Admin.drop"
    handle.thaw()
    config.OTHER = []
    handle = freeze_module("frozen_config", names=["OTHER"])
    vars(config)["OTHER"] = []
    (other,) = handle.check()
    assert other.endswith("went through the module's __dict__")
    handle.thaw()


def test_after_startup_and_log(config, caplog):
    start = freeze_module("frozen_config", names=["MODELS", "L*"], after="startup", on_write="log")
    config.MODELS["slow"] = ["loaded at startup"]
    handle = start()
    with pytest.raises(FreezeError):
        config.MODELS["x"] = 1
    config.LIMIT = 9
    assert "frozen_config.LIMIT was rebound" in caplog.text
    assert config.LIMIT == 9
    handle.thaw()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("no.such.module",), "imported"),
        (("frozen_config", "NOPE*"), "NOPE"),
        (("frozen_config", "*", "later"), "after='later'"),
    ],
)
def test_wrong_use(config, arguments, message):
    options = dict(zip(("names", "after"), arguments[1:], strict=False))
    with pytest.raises(ConfigError, match=message):
        freeze_module(arguments[0], **options)


class Basket(list):
    def __init__(self, *items):
        super().__init__(items)
        self.owner = ["ada"]

    def total(self):
        return sum(self)


class Defaults(dict):
    def __missing__(self, key):
        return f"no {key}"


def test_own_lists_and_dicts_keep_their_methods():
    basket = freeze(Basket(1, 2))
    assert (basket.total(), isinstance(basket, Basket), basket == [1, 2]) == (3, True, True)
    for write in (
        lambda: basket.append(3),
        lambda: basket.owner.append("x"),
        lambda: setattr(basket, "a", 1),
    ):
        with pytest.raises(FreezeError):
            write()
    assert json.dumps(basket) == "[1, 2]"
    assert freeze(Defaults(a=1))["b"] == "no b"
    counts = freeze(Counter("aab"))
    assert (counts.most_common(1), counts["z"], counts + Counter("z")) == ([("a", 2)], 0, Counter("aabz"))
    with pytest.raises(FreezeError):
        counts["a"] += 1
    for value in (basket, counts):
        assert freeze(value) is value
        copied = copy.deepcopy(value)
        assert copied == value
        copied.clear()
        assert pickle.loads(pickle.dumps(value)) == value


class Simple:
    def __init__(self):
        self.names = ["a"]


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_a_copy_of_an_instance_can_be_changed_and_the_frozen_one_stays(copied):
    for frozen in (freeze(Simple()), freeze(Limits(["a"]))):
        mine = copied(frozen)
        mine.names = ["b"]
        assert mine.names == ["b"]
        assert frozen.names == ["a"]
        with pytest.raises(FreezeError):
            frozen.names = []
    deep = copy.deepcopy(freeze(Simple()))
    deep.names.append("b")
    assert (deep.names, type(deep)) == (["a", "b"], Simple)


@dataclasses.dataclass
class Limits:
    names: list[str]


class Settings(pydantic.BaseModel):
    names: list[str] = ["a"]
    limit: int = 1


def test_a_changed_copy_of_a_pydantic_model():
    frozen = freeze(Settings(limit=2))
    mine = frozen.model_copy(update={"names": ["b"]})
    assert (mine.names, frozen.names, frozen.limit) == (["b"], ["a"], 2)
    assert frozen.model_dump(exclude_unset=True) == {"limit": 2}
    mine.limit = 3
    assert frozen.limit == 2


def test_texts_with_attributes_and_bottomless_nesting_are_named():
    class Text(str):
        pass

    text = Text("x")
    assert freeze(text) is text
    text.tags = []
    with pytest.raises(FreezeError, match="attributes of its own"):
        freeze({"a": text})
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(FreezeError, match="too deeply"):
        freeze(deep)
    while deep:  # taken apart from outside, or the interpreter recurses
        deep = deep.pop()
    assert freeze([slice(1, 2)]) == [slice(1, 2)]
    assert freeze({"a": 1}).fromkeys("ab") == {"a": None, "b": None}
