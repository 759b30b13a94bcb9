"""What leaves the content as it was."""

# ruff: noqa: E501 -- rows of a table

from __future__ import annotations

_MIXED = """
import copy, json, sys, io, itertools
from collections import deque, OrderedDict, Counter
class Agent:
    kind = 'chat'
    def __init__(self):
        self.memory = ['a', {'b': {1, 2}}]
        self.name = 'n'
    @property
    def size(self):
        return len(self.memory)
STATE = {'list': [3, 1, 2], 'set': {1, 2}, 'deque': deque([1, 2], 5), 'agent': Agent(), 'buffer': bytearray(b'ab')}
ORDERED = OrderedDict(a=1, b=2)
USER = 'ann'
NUMBERS = [1, 2, 3]
def f(x, seen=()):
    return x
"""

HARMLESS: tuple[tuple[str, str, str], ...] = (
    ("nothing at all", _MIXED, "pass"),
    ("reading every item", _MIXED, "[STATE[k] for k in STATE]; len(STATE); 'x' in STATE; STATE.get('x')"),
    ("iterating", _MIXED, "for value in NUMBERS: pass\nlist(STATE.items()); list(reversed(NUMBERS))"),
    ("sorted", _MIXED, "sorted(STATE['list']); sorted(STATE); min(NUMBERS); sum(NUMBERS)"),
    ("copying", _MIXED, "copy.copy(STATE); NUMBERS[:]; dict(STATE); STATE.copy()"),
    (
        "deep copying and changing the copy",
        _MIXED,
        "mine = copy.deepcopy(STATE); mine['list'].append(1); mine.clear()",
    ),
    ("a list made from it", _MIXED, "mine = [*NUMBERS, 4]; mine += NUMBERS; mine.sort()"),
    ("vars() and dir()", _MIXED, "vars(STATE['agent']); dir(STATE['agent']); STATE['agent'].__dict__"),
    (
        "properties and attributes",
        _MIXED,
        "STATE['agent'].size; STATE['agent'].kind; getattr(STATE['agent'], 'x', 0)",
    ),
    (
        "repr, str, hash, comparison",
        _MIXED,
        "repr(STATE); str(NUMBERS); hash(USER); NUMBERS == [1]; NUMBERS < [2]",
    ),
    ("json", _MIXED, "json.dumps(NUMBERS)"),
    ("a set element that is there", _MIXED, "STATE['set'].add(1); STATE['set'] |= {2}"),
    ("a dict value that is there", _MIXED, "STATE['list'] = STATE['list']; STATE.update(STATE)"),
    ("an attribute that is there", _MIXED, "STATE['agent'].name = STATE['agent'].name"),
    ("a global that is there", _MIXED, "global USER; USER = USER"),
    ("an equal string", _MIXED, "global USER; USER = ''.join(['a', 'nn'])"),
    ("an equal list", _MIXED, "global NUMBERS; NUMBERS = [1, 2, 3]"),
    ("an equal nested value", _MIXED, "STATE['agent'].memory = ['a', {'b': {2, 1}}]"),
    ("an equal instance", _MIXED, "STATE['agent'] = Agent()"),
    ("an equal buffer", _MIXED, "STATE['buffer'] = bytearray(b'ab'); STATE['buffer'][0] = 97"),
    ("append and pop", _MIXED, "NUMBERS.append(4); NUMBERS.pop()"),
    ("add and discard", _MIXED, "STATE['set'].add(9); STATE['set'].discard(9)"),
    ("set and delete a key", _MIXED, "STATE['x'] = 1; del STATE['x']"),
    ("set and delete an attribute", _MIXED, "STATE['agent'].x = 1; del STATE['agent'].x"),
    ("equal elements change places", "STATE = [[], [], 'a']", "STATE[0], STATE[1] = STATE[1], STATE[0]"),
    ("reverse twice", _MIXED, "NUMBERS.reverse(); NUMBERS.reverse()"),
    ("move to the end and back", _MIXED, "ORDERED.move_to_end('a'); ORDERED.move_to_end('b')"),
    ("list grown and shrunk", _MIXED, "NUMBERS.extend(range(10000)); del NUMBERS[3:]"),
    (
        "set table resized",
        _MIXED,
        "STATE['set'].update(range(5000)); STATE['set'].intersection_update({1, 2})",
    ),
    (
        "dict table resized",
        _MIXED,
        "STATE.update((i, i) for i in range(5000))\nfor i in range(5000): del STATE[i]",
    ),  # fmt: skip
    ("rotate all the way round", _MIXED, "STATE['deque'].rotate(2)"),
    ("calling a function", _MIXED, "f(1); f(2)"),
    ("local names", _MIXED, "USER = 'bob'; NUMBERS = [9]; STATE = {}"),
    ("a comprehension's variable", _MIXED, "[USER for USER in 'ab']"),
    ("importing a module", _MIXED, "import string, textwrap"),
    ("a new class of its own", _MIXED, "class Local:\n    items = []\nLocal.items.append(1)"),
    ("an instance of its own", _MIXED, "mine = Agent(); mine.memory.append(1); mine.name = 'x'"),
    ("a closure of its own", _MIXED, "seen = []\n(lambda: seen.append(1))()"),
    ("a sort that is stable already", "STATE = [1, 2, 3]", "STATE.sort()"),
    ("slices assigned to themselves", "STATE = [1, 2, 3]", "STATE[:] = STATE[:]; STATE[1:2] = [2]"),
    (
        "filling a cache",
        "from functools import lru_cache\n@lru_cache\ndef f(x):\n    return [x]",
        "f(1); f(2); f(1)",
    ),
    (
        "clearing a cache",
        "from functools import cache\n@cache\ndef f(x):\n    return [x]\nf(1)",
        "f.cache_clear()",
    ),
    (
        "setting a context variable",
        "from contextvars import ContextVar\nV = ContextVar('v', default=[])",
        "token = V.set([1]); V.get().append(2); V.reset(token)",
    ),  # fmt: skip
    ("a thread-local that is cleared", "import threading\nL = threading.local()", "L.user = 1; del L.user"),
    ("a lock taken and given back", "import threading\nLOCK = threading.Lock()", "with LOCK: pass"),
    ("a random number", "import random\nRNG = random.Random(1)", "RNG.random(); random.random()"),
    (
        "logging",
        "import logging\nLOGGER = logging.getLogger('form.quiet')",
        "LOGGER.debug('x'); LOGGER.isEnabledFor(10)",
    ),
    ("reading the environment", "import os", "os.environ.get('HOME'); os.environ.copy(); os.getcwd()"),
    ("weak references", "import weakref\nclass A: pass\nSTATE = A()", "weakref.ref(STATE)"),
    (
        "a numpy computation",
        "import numpy as np\nSTATE = np.arange(6)",
        "STATE + 1; STATE[1:3].copy().fill(1); STATE.sum()",
    ),
    ("numpy, the same values", "import numpy as np\nSTATE = np.arange(6)", "STATE[0] = 0; STATE.__iadd__(0)"),
    ("a generator that is advanced", "STATE = [1]\nG = iter([1, 2, 3])", "list(STATE)"),
    ("catching an exception", _MIXED, "try:\n    NUMBERS[99]\nexcept IndexError as error:\n    pass"),
    ("pickling", "import pickle\nSTATE = {'a': [1]}", "pickle.loads(pickle.dumps(STATE))['a'].append(2)"),
    (
        "dataclasses.replace",
        "import dataclasses\n@dataclasses.dataclass\nclass A:\n    x: int = 1\nSTATE = A()",
        "dataclasses.replace(STATE, x=2); dataclasses.asdict(STATE)",
    ),  # fmt: skip
    (
        "pydantic model_copy",
        "import pydantic\nclass M(pydantic.BaseModel):\n    x: list = []\nSTATE = M()",
        "STATE.model_copy(deep=True).x.append(1); STATE.model_dump()",
    ),  # fmt: skip
)
"""Name, set-up, and something that leaves the content as it was: no change may be reported."""
