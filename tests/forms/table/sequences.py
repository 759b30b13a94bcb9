"""Lists, deques and buffers."""

# ruff: noqa: E501 -- rows of a table

from __future__ import annotations

from tests.forms.table.rows import Rows

_form = Rows()

# -- list --------------------------------------------------------------------------------------------


def _list(
    name: str, change: str, kind: str, path: str = "app.STATE", *, setup: str = "", said: str = ""
) -> None:
    _form("list", name, setup or "STATE = ['a', 'b', 'c', 'd']", change, (kind, path, said))


_list("append", "STATE.append('x')", "appended", said="list of 4 items -> list of 5 items")
_list("extend", "STATE.extend(['x', 'y'])", "appended", said="list of 6 items")
_list("extend by a generator", "STATE.extend(c for c in 'xy')", "appended")
_list("+=", "global STATE; STATE += ['x']", "appended")
_list("+= through an alias", "alias = STATE; alias += ['x']", "appended")
_list("*= 2", "global STATE; STATE *= 2", "appended")
_list("*= 0", "global STATE; STATE *= 0", "cleared")
_list("insert at the front", "STATE.insert(0, 'x')", "inserted")
_list("insert in the middle", "STATE.insert(2, 'x')", "inserted")
_list("item assignment", "STATE[1] = 'x'", "replaced", "app.STATE[1]")
_list("item assignment from the end", "STATE[-1] = 'x'", "replaced", "app.STATE[3]")
_list("augmented item", "STATE[0] += 'x'", "replaced", "app.STATE[0]")
_list("slice assignment, same length", "STATE[1:2] = ['x']", "replaced", "app.STATE[1]")
_list("slice assignment, grown", "STATE[1:1] = ['x', 'y']", "inserted")
_list("slice assignment, shrunk", "STATE[1:3] = ['x']", "replaced")
_list("slice assignment at the end", "STATE[len(STATE):] = ['x']", "appended")
_list("slice assignment of nothing", "STATE[:] = []", "cleared")
_list("extended slice assignment", "STATE[::2] = ['x', 'y']", "replaced", "app.STATE*")
_list("pop", "STATE.pop()", "removed", said="list of 3 items")
_list("pop from the front", "STATE.pop(0)", "removed")
_list("remove", "STATE.remove('b')", "removed")
_list("del item", "del STATE[2]", "removed")
_list("del slice", "del STATE[1:3]", "removed")
_list("del extended slice", "del STATE[::2]", "removed")
_list("clear", "STATE.clear()", "cleared", said="list of 4 items -> list of 0 items")
_list("sort", "STATE.sort(reverse=True)", "reordered")
_list("reverse", "STATE.reverse()", "reordered")
_list("swap", "STATE[0], STATE[1] = STATE[1], STATE[0]", "reordered")
_list("random.shuffle", "import random; random.Random(3).shuffle(STATE)", "reordered")
_list("heapq.heappush", "import heapq; heapq.heappush(STATE, 'z')", "appended")
_list("heapq.heappop", "import heapq; heapq.heappop(STATE)", "replaced|removed", "app.STATE*")
_list("heapq.heapify of a list", "import heapq; heapq.heapify(STATE)", "reordered", setup="STATE = [3, 2, 1]")
_list("heapq.heapreplace", "import heapq; heapq.heapreplace(STATE, 'bb')", "replaced|reordered", "app.STATE*")
_list("bisect.insort", "import bisect; bisect.insort(STATE, 'bb')", "inserted")
_list("operator.setitem", "import operator; operator.setitem(STATE, 0, 'x')", "replaced", "app.STATE[0]")
_list("operator.delitem", "import operator; operator.delitem(STATE, 0)", "removed")
_list("operator.iadd", "import operator; operator.iadd(STATE, ['x'])", "appended")
_list("operator.methodcaller", "import operator; operator.methodcaller('append', 'x')(STATE)", "appended")
_list("list.append", "list.append(STATE, 'x')", "appended")
_list("list.__iadd__", "list.__iadd__(STATE, ['x'])", "appended")
_list("list.__setitem__", "list.__setitem__(STATE, 0, 'x')", "replaced", "app.STATE[0]")
_list("list.__init__", "STATE.__init__(['x'])", "replaced", "app.STATE*")
_list("map consumed by deque", "from collections import deque; deque(map(STATE.append, 'xy'), 0)", "appended")
_list("functools.partial", "from functools import partial; partial(STATE.append, 'x')()", "appended")
_list("comprehension for its effect", "[STATE.append(c) for c in 'xy']", "appended")
_list("many items", "STATE.extend(map(str, range(1000)))", "appended", said="list of 1,004 items")
_list("many replaced", "STATE[:] = map(str, range(40))", "replaced", setup="STATE = [None] * 40")
_list("equal but other type", "STATE[0] = True", "replaced", "app.STATE[0]", setup="STATE = [1, 2]")
_list(
    "nested", "STATE[0][1][0].append('x')", "appended", "app.STATE[0][1][0]", setup="STATE = [[0, [['a']]]]"
)
_list(
    "nested to a depth of 100",
    "inner = STATE\nwhile inner:\n    inner = inner[0]\ninner.append('x')",
    "appended",
    "app.STATE*",
    setup="STATE = []\nfor _ in range(100):\n    STATE = [STATE]",
)
_list("in a tuple", "STATE[1].append('x')", "appended", "app.STATE[1]", setup="STATE = ('a', [])")
_list("that holds itself", "STATE.append('x')", "appended", setup="STATE = ['a']\nSTATE.append(STATE)")
_list("a subclass", "STATE.append('x')", "appended", setup="class L(list):\n    pass\nSTATE = L('ab')")
_list(
    "attribute of a subclass",
    "STATE.owner = 'x'",
    "attribute set",
    "app.STATE.owner",
    setup="class L(list):\n    owner = None\nSTATE = L('ab')\nSTATE.owner = 'a'",
)


# -- deque -------------------------------------------------------------------------------------------


def _deque(name: str, change: str, kind: str, path: str = "app.STATE", *, setup: str = "") -> None:
    made = setup or "from collections import deque\nSTATE = deque('abcd')"
    _form("deque", name, made, change, (kind, path))


_deque("append", "STATE.append('x')", "appended")
_deque("appendleft", "STATE.appendleft('x')", "inserted")
_deque("extend", "STATE.extend('xy')", "appended")
_deque("extendleft", "STATE.extendleft('xy')", "inserted")
_deque("insert", "STATE.insert(2, 'x')", "inserted")
_deque("pop", "STATE.pop()", "removed")
_deque("popleft", "STATE.popleft()", "removed")
_deque("remove", "STATE.remove('b')", "removed")
_deque("del", "del STATE[1]", "removed")
_deque("item assignment", "STATE[1] = 'x'", "replaced", "app.STATE[1]")
_deque("rotate", "STATE.rotate(1)", "reordered")
_deque("reverse", "STATE.reverse()", "reordered")
_deque("clear", "STATE.clear()", "cleared")
_deque("+=", "global STATE; STATE += 'x'", "appended")
_deque("append to a full one", "STATE.append('x')", "replaced|appended", "app.STATE*",
       setup="from collections import deque\nSTATE = deque('abcd', 4)")  # fmt: skip


# -- buffers -----------------------------------------------------------------------------------------


def _buffer(name: str, setup: str, change: str, path: str = "app.STATE", undo: str = "") -> None:
    _form("buffer", name, setup, change, ("buffer changed", path), undo=undo)


_BYTES = "STATE = bytearray(b'abcd')"
_buffer("bytearray: item", _BYTES, "STATE[0] = 120")
_buffer("bytearray: slice", _BYTES, "STATE[1:3] = b'xy'")
_buffer("bytearray: slice that grows", _BYTES, "STATE[1:3] = b'xyz'")
_buffer("bytearray: append", _BYTES, "STATE.append(120)")
_buffer("bytearray: extend", _BYTES, "STATE.extend(b'xy')")
_buffer("bytearray: +=", _BYTES, "global STATE; STATE += b'x'")
_buffer("bytearray: *=", _BYTES, "global STATE; STATE *= 2")
_buffer("bytearray: pop", _BYTES, "STATE.pop()")
_buffer("bytearray: del", _BYTES, "del STATE[0]")
_buffer("bytearray: clear", _BYTES, "STATE.clear()")
_buffer("bytearray: reverse", _BYTES, "STATE.reverse()")
_buffer("bytearray: memoryview", _BYTES, "with memoryview(STATE) as view:\n    view[0] = 120")
_buffer("bytearray: struct.pack_into", _BYTES, "import struct; struct.pack_into('<H', STATE, 1, 7)")
_buffer("bytearray: readinto", _BYTES, "import io; io.BytesIO(b'xy').readinto(STATE)")
_ARRAY = "from array import array\nSTATE = array('i', [1, 2, 3])"
_buffer("array: item", _ARRAY, "STATE[0] = 9")
_buffer("array: append", _ARRAY, "STATE.append(9)")
_buffer("array: extend", _ARRAY, "STATE.extend([9, 9])")
_buffer("array: byteswap", _ARRAY, "STATE.byteswap()")
_buffer("array: pop", _ARRAY, "STATE.pop()")
_buffer("array: memoryview", _ARRAY, "with memoryview(STATE) as view:\n    view[1] = 9")
_NUMPY = "import numpy as np\nSTATE = np.arange(6)"
_buffer("numpy: item", _NUMPY, "STATE[0] = 9")
_buffer("numpy: slice", _NUMPY, "STATE[1:3] = 9")
_buffer("numpy: mask", _NUMPY, "STATE[STATE > 3] = 0")
_buffer("numpy: +=", _NUMPY, "global STATE; STATE += 1")
_buffer("numpy: fill", _NUMPY, "STATE.fill(9)")
_buffer("numpy: sort", _NUMPY + "[::-1].copy()", "STATE.sort()")
_buffer("numpy: out=", _NUMPY, "np.add(STATE, 1, out=STATE)")
_buffer("numpy: ufunc.at", _NUMPY, "np.add.at(STATE, [0], 5)")
_buffer("numpy: copyto", _NUMPY, "np.copyto(STATE, 7)")
_buffer("numpy: put", _NUMPY, "np.put(STATE, [0], 9)")
_buffer("numpy: flat", _NUMPY, "STATE.flat[2] = 9")
_buffer("numpy: a view that the request makes", _NUMPY, "view = STATE[1:3]; view[:] = 9")
_buffer("numpy: shape", _NUMPY, "STATE.resize((2, 3), refcheck=False)")
_buffer("numpy: resize", _NUMPY + ".copy()", "STATE.resize(8, refcheck=False)")
_buffer("numpy: transposed", "import numpy as np\nSTATE = np.zeros((2, 3))", "STATE.T[0, 1] = 9")
_buffer("numpy: record", "import numpy as np\nSTATE = np.zeros(2, dtype=[('a', 'i4'), ('b', 'f8')])",
        "STATE['b'][1] = 2.5")  # fmt: skip
_buffer("numpy: not contiguous", "import numpy as np\nBASE = np.zeros(8)\nSTATE = BASE[::2]\ndel BASE",
        "STATE[1] = 9")  # fmt: skip
_buffer("numpy: array of no dimension", "import numpy as np\nSTATE = np.array(1.0)", "STATE[...] = 2.0")
_buffer("numpy: masked by NaN", "import numpy as np\nSTATE = np.array([1.0, np.nan])", "STATE[0] = np.nan")
_form("buffer", "numpy: item of an object array", "import numpy as np\nSTATE = np.array(['a', None], dtype=object)",
      "STATE[0] = 'x'", ("buffer changed|replaced", "app.STATE*"))  # fmt: skip
_form("buffer", "numpy: inside an object array",
      "import numpy as np\nSTATE = np.empty(2, dtype=object)\nSTATE[0] = []",
      "STATE[0].append('x')", ("appended", "app.STATE[0]"))  # fmt: skip
_form("buffer", "in an instance in a list",
      "class A:\n    def __init__(self):\n        self.data = bytearray(4)\nSTATE = [A()]",
      "STATE[0].data[0] = 1", ("buffer changed", "app.STATE[0].data"))  # fmt: skip


FORMS = tuple(_form.forms)
