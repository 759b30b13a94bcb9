"""Instances, classes and functions."""

# ruff: noqa: E501 -- rows of a table

from __future__ import annotations

from tests.forms.table.rows import Rows

_form = Rows()

# -- instances ---------------------------------------------------------------------------------------

_AGENT = """
class Agent:
    def __init__(self):
        self.user = None
        self.memory = []
STATE = Agent()
"""


def _instance(name: str, change: str, kind: str, path: str, *, setup: str = _AGENT, said: str = "") -> None:
    _form("instance", name, setup, change, (kind, path, said))


_instance(
    "attribute", "STATE.user = 'ann'", "attribute set", "app.STATE.user", said="None -> str of 3 characters"
)
_instance("new attribute", "STATE.extra = 1", "attribute added", "app.STATE.extra", said="absent -> int")
_instance("attribute deleted", "del STATE.user", "attribute deleted", "app.STATE.user", said="None -> absent")
_instance("setattr", "setattr(STATE, 'user', 'ann')", "attribute set", "app.STATE.user")
_instance("object.__setattr__", "object.__setattr__(STATE, 'user', 'ann')", "attribute set", "app.STATE.user")
_instance("__dict__ item", "STATE.__dict__['user'] = 'ann'", "attribute set", "app.STATE.user")
_instance("__dict__ update", "STATE.__dict__.update(user='ann')", "attribute set", "app.STATE.user")
_instance("vars() update", "vars(STATE).update(extra=1)", "attribute added", "app.STATE.extra")
_instance("__dict__ replaced", "STATE.__dict__ = {'user': 'ann', 'memory': STATE.memory}", "attribute set",
          "app.STATE.user")  # fmt: skip
_instance("list attribute", "STATE.memory.append(1)", "appended", "app.STATE.memory")
_instance("through a bound method kept", "KEPT(1)", "appended", "app.STATE.memory",
          setup=_AGENT + "KEPT = STATE.memory.append")  # fmt: skip
_instance("through a method", "STATE.remember('x')", "appended", "app.STATE.memory",
          setup=_AGENT + "Agent.remember = lambda self, x: self.memory.append(x)")  # fmt: skip
_instance("through a property", "STATE.name = 'x'", "attribute set", "app.STATE._name", setup="""
class A:
    _name = None
    def __init__(self):
        self._name = 'a'
    @property
    def name(self):
        return self._name
    @name.setter
    def name(self, value):
        self._name = value
STATE = A()
""")  # fmt: skip
_instance("through its own __setattr__", "STATE.x = 1", "added", "app.STATE.values['x']", setup="""
class A:
    def __init__(self):
        object.__setattr__(self, 'values', {})
    def __setattr__(self, name, value):
        self.values[name] = value
STATE = A()
""")  # fmt: skip
_instance("class of the instance", "STATE.__class__ = Other", "*", "app.STATE*",
          setup=_AGENT + "class Other(Agent):\n    pass")  # fmt: skip
_instance("chain of attributes", "STATE.a.b.c.items.append(1)", "appended", "app.STATE.a.b.c.items", setup="""
class Node:
    pass
STATE = Node()
STATE.a = Node()
STATE.a.b = Node()
STATE.a.b.c = Node()
STATE.a.b.c.items = []
""")  # fmt: skip
_instance("in a list in a dict", "STATE['a'][0].user = 'x'", "attribute set", "app.STATE['a'][0].user",
          setup=_AGENT + "STATE = {'a': [Agent()]}")  # fmt: skip
_instance("in a set", "next(iter(STATE)).user = 'x'", "attribute set", "app.STATE{...}.user",
          setup=_AGENT + "STATE = {Agent()}")  # fmt: skip
_instance("as a key", "next(iter(STATE)).user = 'x'", "attribute set", "app.STATE*.user",
          setup=_AGENT + "STATE = {Agent(): 1}")  # fmt: skip
_instance("slots", "STATE.user = 'x'", "attribute set", "app.STATE.user",
          setup="class A:\n    __slots__ = ('user', 'late')\nSTATE = A()\nSTATE.user = 'a'")  # fmt: skip
_instance("empty slot filled", "STATE.late = 'x'", "attribute added", "app.STATE.late",
          setup="class A:\n    __slots__ = ('user', 'late')\nSTATE = A()\nSTATE.user = 'a'")  # fmt: skip
_instance("slot deleted", "del STATE.user", "attribute deleted", "app.STATE.user",
          setup="class A:\n    __slots__ = ('user',)\nSTATE = A()\nSTATE.user = 'a'")  # fmt: skip
_instance("list in a slot", "STATE.items.append(1)", "appended", "app.STATE.items",
          setup="class A:\n    __slots__ = ('items',)\nSTATE = A()\nSTATE.items = []")  # fmt: skip
_instance("private slot of a base class", "STATE.put(1)", "attribute set", "app.STATE.*items", setup="""
class Base:
    __slots__ = ('__items',)
    def __init__(self):
        self.__items = 0
    def put(self, value):
        self.__items = value
class A(Base):
    __slots__ = ()
STATE = A()
""")  # fmt: skip
_DATACLASS = "from dataclasses import dataclass, field\n"
_instance("dataclass field", "STATE.user = 'x'", "attribute set", "app.STATE.user",
          setup=_DATACLASS + "@dataclass\nclass A:\n    user: str = 'a'\nSTATE = A()")  # fmt: skip
_instance("dataclass list", "STATE.items.append(1)", "appended", "app.STATE.items",
          setup=_DATACLASS + "@dataclass\nclass A:\n    items: list = field(default_factory=list)\nSTATE = A()",
)  # fmt: skip
_instance("frozen dataclass, forced", "object.__setattr__(STATE, 'user', 'x')", "attribute set", "app.STATE.user",
          setup=_DATACLASS + "@dataclass(frozen=True)\nclass A:\n    user: str = 'a'\nSTATE = A()")  # fmt: skip
_instance("dataclass with slots", "STATE.user = 'x'", "attribute set", "app.STATE.user",
          setup=_DATACLASS + "@dataclass(slots=True)\nclass A:\n    user: str = 'a'\nSTATE = A()")  # fmt: skip
_instance("SimpleNamespace", "STATE.user = 'x'", "attribute set", "app.STATE.user",
          setup="from types import SimpleNamespace\nSTATE = SimpleNamespace(user='a')")  # fmt: skip
_instance("namedtuple contents", "STATE.items.append(1)", "appended", "app.STATE*",
          setup="from collections import namedtuple\nSTATE = namedtuple('P', 'name items')('a', [])")  # fmt: skip
_instance("pydantic field", "STATE.user = 'x'", "attribute set", "app.STATE.user",
          setup="import pydantic\nclass M(pydantic.BaseModel):\n    user: str = 'a'\nSTATE = M()")  # fmt: skip
_instance("pydantic list", "STATE.items.append(1)", "appended", "app.STATE.items",
          setup="import pydantic\nclass M(pydantic.BaseModel):\n    items: list = []\nSTATE = M()")  # fmt: skip
_instance("pydantic private attribute", "STATE._seen.append(1)", "appended", "app.STATE.*_seen*", setup="""
import pydantic
class M(pydantic.BaseModel):
    _seen: list = pydantic.PrivateAttr(default_factory=list)
STATE = M()
""")  # fmt: skip
_instance("attrs", "STATE.user = 'x'", "attribute set", "app.STATE.user",
          setup="import attrs\n@attrs.define\nclass A:\n    user: str = 'a'\nSTATE = A()")  # fmt: skip
_instance("attrs list", "STATE.items.append(1)", "appended", "app.STATE.items",
          setup="import attrs\n@attrs.define\nclass A:\n    items: list = attrs.Factory(list)\nSTATE = A()")  # fmt: skip
_instance("attrs frozen, forced", "object.__setattr__(STATE, 'user', 'x')", "attribute set", "app.STATE.user",
          setup="import attrs\n@attrs.frozen\nclass A:\n    user: str = 'a'\nSTATE = A()")  # fmt: skip
_instance("enum member's attribute", "Color.RED.seen = 1", "attribute added", "app.Color*.seen",
          setup="import enum\nclass Color(enum.Enum):\n    RED = 1")  # fmt: skip
_form("instance", "alias in two places is told once", _AGENT + "OTHER = {'agent': STATE}",
      "OTHER['agent'].memory.append(1)", ("appended", "app.STATE.memory"))  # fmt: skip


# -- classes -----------------------------------------------------------------------------------------

_CLASS = """
class Agent:
    user = None
    memory = []
    config = {'a': 1}
    def run(self):
        return 1
"""


def _class(name: str, change: str, kind: str, path: str, *, setup: str = _CLASS) -> None:
    _form("class", name, setup, change, (kind, path))


_class("attribute", "Agent.user = 'x'", "attribute set", "app.Agent.user")
_class("new attribute", "Agent.extra = 'x'", "attribute added", "app.Agent.extra")
_class("attribute deleted", "del Agent.user", "attribute deleted", "app.Agent.user")
_class("setattr", "setattr(Agent, 'user', 'x')", "attribute set", "app.Agent.user")
_class("type.__setattr__", "type.__setattr__(Agent, 'user', 'x')", "attribute set", "app.Agent.user")
_class("list through the class", "Agent.memory.append(1)", "appended", "app.Agent.memory")
_class("list through an instance", "Agent().memory.append(1)", "appended", "app.Agent.memory")
_class("+= through the class", "Agent.memory += [1]", "appended", "app.Agent.memory")
_class("dict", "Agent.config['b'] = 2", "added", "app.Agent.config['b']")
_class("method replaced", "Agent.run = lambda self: 2", "attribute set", "app.Agent.run")
_class("on a subclass", "Sub.user = 'x'", "attribute added", "app.Sub.user",
       setup=_CLASS + "class Sub(Agent):\n    pass")  # fmt: skip
_class("by a classmethod", "Agent.become('x')", "attribute set", "app.Agent.user",
       setup=_CLASS + "    @classmethod\n    def become(cls, user):\n        cls.user = user")  # fmt: skip
_class("of an instance's class", "type(STATE).user = 'x'", "attribute set", "app.Agent.user",
       setup=_CLASS + "STATE = Agent()")  # fmt: skip
_class("nested class", "Agent.Meta.seen.add(1)", "added", "app.Agent.Meta.seen",
       setup=_CLASS + "    class Meta:\n        seen = set()")  # fmt: skip
_class("attribute of the metaclass", "Meta.registry['a'] = 1", "added", "app.Meta.registry['a']",
       setup="class Meta(type):\n    registry = {}\nclass Agent(metaclass=Meta):\n    pass")  # fmt: skip
_class("counter of a class", "Agent.count += 1", "attribute set", "app.Agent.count",
       setup=_CLASS + "    count = 0")  # fmt: skip


# -- functions ---------------------------------------------------------------------------------------


def _function(name: str, setup: str, change: str, kind: str, path: str) -> None:
    _form("function", name, setup, change, (kind, path))


_function("mutable default", "def f(x, seen=[]):\n    seen.append(x)", "f(1)", "appended", "app.f(seen=)")
_function("mutable keyword-only default", "def f(x, *, seen={}):\n    seen['k'] = x", "f(1)", "added",
          "app.f(seen=)['k']")  # fmt: skip
_function("mutable default of a method", "class A:\n    def __init__(self, d=[]):\n        self.d = d",
          "A().d.append(1)", "appended", "app.A.__init__(d=)")  # fmt: skip
_function("mutable default of a coroutine function", "async def f(x, seen=set()):\n    seen.add(x)",
          "import asyncio; asyncio.run(f(1))", "added", "app.f(seen=)")  # fmt: skip
_function("mutable default of a lambda", "f = lambda x, seen=[]: seen.append(x)", "f(1)", "appended",
          "app.*(seen=)")  # fmt: skip
_function("mutable default of a wrapped function", """
from functools import wraps
def deco(g):
    @wraps(g)
    def inner(*args):
        return g(*args)
    return inner
@deco
def f(x, seen=[]):
    seen.append(x)
""", "f(1)", "appended", "app.f(seen=)")  # fmt: skip
_function("new attribute", "def f(): pass", "f.calls = 1", "attribute added", "app.f.calls")
_function("attribute", "def f(): pass\nf.calls = 0", "f.calls += 1", "attribute set", "app.f.calls")
_function("cache in an attribute", "def f(): pass\nf.cache = {}", "f.cache['k'] = 1", "added",
          "app.f.cache['k']")  # fmt: skip
_function("closure's list", "def make():\n    seen = []\n    return lambda x: seen.append(x)\nf = make()", "f(1)",
          "appended", "app.*(nonlocal seen)")  # fmt: skip
_function("closure's nonlocal", """
def make():
    user = None
    def become(x):
        nonlocal user
        user = x
    return become
f = make()
""", "f('x')", "rebound", "app.*(nonlocal user)")  # fmt: skip
_function("closure of a decorator", """
def remember(g):
    seen = {}
    def inner(x):
        seen[x] = g(x)
        return seen[x]
    return inner
@remember
def f(x):
    return [x]
""", "f('k')", "added", "app.*(nonlocal seen)['k']")  # fmt: skip
_function("defaults replaced", "def f(x=1): pass", "f.__defaults__ = (2,)", "rebound|attribute set",
          "app.f*")  # fmt: skip
_function("keyword defaults edited", "def f(*, x=1): pass", "f.__kwdefaults__['x'] = 2", "replaced|attribute set",
          "app.f(x=)")  # fmt: skip
_function("code replaced", "def f(): return 1\ndef g(): return 2", "f.__code__ = g.__code__", "*", "app.f*")
_function("partial's list", "from functools import partial\nf = partial(list.append, [])", "f(1)", "appended",
          "app.f*")  # fmt: skip
_function("partial's keywords", "from functools import partial\nf = partial(dict, a=1)", "f.keywords['b'] = 2",
          "added", "app.f*['b']")  # fmt: skip
_function("cached result edited", "from functools import lru_cache\n@lru_cache\ndef f(x):\n    return [x]\nf(1)",
          "f(1).append(2)", "appended", "app.f*")  # fmt: skip
_function("cached dict edited", "from functools import lru_cache\n@lru_cache\ndef f(x):\n    return {'a': x}\nf(1)",
          "f(1)['b'] = 2", "added", "app.f*['b']")  # fmt: skip
_function("cached dict edited, nested",
          "from functools import lru_cache\n@lru_cache\ndef f(x):\n    return {'a': [x]}\nf(1); f(2)",
          "f(2)['a'].append(2)", "appended", "app.f*['a']")  # fmt: skip
_function("cached result edited, nested",
          "from functools import cache\n@cache\ndef f(x):\n    return {'a': [x]}\nf(1)", "f(1)['a'] += [2]",
          "appended", "app.f*['a']")  # fmt: skip


FORMS = tuple(_form.forms)
