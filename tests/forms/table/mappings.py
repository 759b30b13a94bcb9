"""Dicts, sets and their relatives."""

# ruff: noqa: E501 -- rows of a table

from __future__ import annotations

from tests.forms.table.rows import Rows

_form = Rows()

# -- dict --------------------------------------------------------------------------------------------


def _dict(name: str, change: str, kind: str, path: str, *, setup: str = "", said: str = "") -> None:
    _form("dict", name, setup or "STATE = {'a': 'A', 'b': 'B'}", change, (kind, path, said))


_dict("new key", "STATE['x'] = 'X'", "added", "app.STATE['x']", said="absent -> str of 1 character")
_dict("other value", "STATE['a'] = 'X'", "replaced", "app.STATE['a']")
_dict("augmented value", "STATE['a'] += 'X'", "replaced", "app.STATE['a']")
_dict("value to None", "STATE['a'] = None", "replaced", "app.STATE['a']", said="-> None")
_dict("setdefault", "STATE.setdefault('x', [])", "added", "app.STATE['x']")
_dict("update", "STATE.update({'x': 'X'})", "added", "app.STATE['x']")
_dict("update by keyword", "STATE.update(a='X')", "replaced", "app.STATE['a']")
_dict("update by pairs", "STATE.update([('x', 'X')])", "added", "app.STATE['x']")
_dict("|=", "global STATE; STATE |= {'x': 'X'}", "added", "app.STATE['x']")
_dict("pop", "STATE.pop('a')", "removed", "app.STATE['a']", said="-> absent")
_dict("popitem", "STATE.popitem()", "removed", "app.STATE['b']")
_dict("del", "del STATE['a']", "removed", "app.STATE['a']")
_dict("clear", "STATE.clear()", "cleared", "app.STATE", said="dict of 2 keys -> dict of 0 keys")
_dict("order only", "STATE['a'] = STATE.pop('a')", "reordered", "app.STATE")
_dict("dict.__setitem__", "dict.__setitem__(STATE, 'x', 'X')", "added", "app.STATE['x']")
_dict("dict.update", "dict.update(STATE, x='X')", "added", "app.STATE['x']")
_dict("operator.setitem", "import operator; operator.setitem(STATE, 'a', 'X')", "replaced", "app.STATE['a']")
_dict("operator.ior", "import operator; operator.ior(STATE, {'x': 1})", "added", "app.STATE['x']")
_dict("operator.delitem", "import operator; operator.delitem(STATE, 'a')", "removed", "app.STATE['a']")
_dict("__init__", "STATE.__init__(x='X')", "added", "app.STATE['x']")
_dict("for target", "for STATE['x'] in 'XY': pass", "added", "app.STATE['x']")
_dict("with target", "import io\nwith io.StringIO() as STATE['x']: pass", "added", "app.STATE['x']")
_dict("unpacking target", "STATE['x'], _ = 'XY'", "added", "app.STATE['x']")
_dict("integer key", "STATE[7] = 'X'", "added", "app.STATE[7]", setup="STATE = {1: 'A'}")
_dict("None as key", "STATE[None] = 'X'", "added", "app.STATE[None]")
_dict("tuple as key", "STATE['a', 1] = 'X'", "added", "app.STATE[('a', 1)]")
_dict("a key that looks like data", "STATE['ann@example.com'] = 1", "added", "app.STATE[<str #*>]")
_dict("an object as key", "STATE[object()] = 'X'", "added", "app.STATE[<object #*>]")
_dict("nested", "STATE['u']['m'][0]['t'] = 'X'", "replaced", "app.STATE['u']['m'][0]['t']",
      setup="STATE = {'u': {'m': [{'t': 'A'}]}}")  # fmt: skip
_dict(
    "a subclass",
    "STATE['x'] = 'X'",
    "added",
    "app.STATE['x']",
    setup="class D(dict):\n    pass\nSTATE = D(a=1)",
)
_dict(
    "many keys",
    "STATE.update((f'k{i}', i) for i in range(500))",
    "added",
    "app.STATE",
    said="dict of 502 keys",
)
_form("dict", "key renamed, same value", "STATE = {'ann': True}", "STATE.pop('ann'); STATE['bob'] = True",
      ("removed", "app.STATE['ann']"), ("added", "app.STATE['bob']"))  # fmt: skip
_form("dict", "values swapped", "STATE = {'a': 'A', 'b': 'B'}", "STATE['a'], STATE['b'] = STATE['b'], STATE['a']",
      ("replaced", "app.STATE['a']"), ("replaced", "app.STATE['b']"))  # fmt: skip
_form("dict", "keys swapped while the order of values stays", "STATE = {'a': 'A', 'b': 'B'}",
      "STATE.clear(); STATE['b'] = 'A'; STATE['a'] = 'B'",
      ("replaced", "app.STATE['a']"), ("replaced", "app.STATE['b']"))  # fmt: skip
_form("dict", "OrderedDict: move_to_end", "from collections import OrderedDict\nSTATE = OrderedDict(a=1, b=2)",
      "STATE.move_to_end('a')", ("reordered", "app.STATE"))  # fmt: skip
_form("dict", "OrderedDict: popitem", "from collections import OrderedDict\nSTATE = OrderedDict(a=1, b=2)",
      "STATE.popitem(last=False)", ("removed", "app.STATE['a']"))  # fmt: skip
_form("dict", "OrderedDict: item", "from collections import OrderedDict\nSTATE = OrderedDict(a=1, b=2)",
      "STATE['x'] = 3", ("added", "app.STATE['x']"))  # fmt: skip
_form("dict", "defaultdict: reading a missing key", "from collections import defaultdict\nSTATE = defaultdict(list)",
      "STATE['x']", ("added", "app.STATE['x']"))  # fmt: skip
_form("dict", "defaultdict: item of a present key",
      "from collections import defaultdict\nSTATE = defaultdict(list, a=[])",
      "STATE['a'].append(1)", ("appended", "app.STATE['a']"))  # fmt: skip
_form("dict", "Counter: +=", "from collections import Counter\nSTATE = Counter('aab')", "STATE['a'] += 1",
      ("replaced", "app.STATE['a']"))  # fmt: skip
_form("dict", "Counter: update", "from collections import Counter\nSTATE = Counter('aab')", "STATE.update('x')",
      ("added", "app.STATE['x']"))  # fmt: skip
_form("dict", "Counter: subtract", "from collections import Counter\nSTATE = Counter('aab')",
      "STATE.subtract('a')", ("replaced", "app.STATE['a']"))  # fmt: skip
_form("dict", "ChainMap: item", "from collections import ChainMap\nSTATE = ChainMap({}, {'a': 1})",
      "STATE['a'] = 2", ("added", "app.STATE.maps[0]['a']"))  # fmt: skip
_form("dict", "UserDict: item", "from collections import UserDict\nSTATE = UserDict(a=1)", "STATE['x'] = 2",
      ("added", "app.STATE.data['x']"))  # fmt: skip
_form("list", "UserList: append", "from collections import UserList\nSTATE = UserList('ab')",
      "STATE.append('x')", ("appended", "app.STATE.data"))  # fmt: skip
_form("dict", "behind a mappingproxy", "from types import MappingProxyType\nSTATE = MappingProxyType({'a': []})",
      "STATE['a'].append(1)", ("appended", "app.STATE['a']"))  # fmt: skip


# -- set ---------------------------------------------------------------------------------------------


def _set(name: str, change: str, kind: str, *, setup: str = "STATE = {'a', 'b'}", said: str = "") -> None:
    _form("set", name, setup, change, (kind, "app.STATE", said))


_set("add", "STATE.add('x')", "added", said="set of 2 items -> set of 3 items")
_set("update", "STATE.update('xy')", "added")
_set("|=", "global STATE; STATE |= {'x'}", "added")
_set("remove", "STATE.remove('a')", "removed", said="set of 1 item")
_set("discard", "STATE.discard('a')", "removed")
_set("pop", "STATE.pop()", "removed")
_set("clear", "STATE.clear()", "cleared")
_set("&=", "global STATE; STATE &= {'a'}", "removed")
_set("-=", "global STATE; STATE -= {'a'}", "removed")
_set("^=", "global STATE; STATE ^= {'a', 'x'}", "replaced")
_set("symmetric_difference_update", "STATE.symmetric_difference_update({'x'})", "added")
_set("one for another", "STATE.remove('a'); STATE.add('x')", "replaced")
_set("set.add", "set.add(STATE, 'x')", "added")
_set("grown past a resize", "STATE.update(map(str, range(100)))", "added", said="set of 102 items")
_set("a subclass", "STATE.add('x')", "added", setup="class S(set):\n    pass\nSTATE = S('ab')")


FORMS = tuple(_form.forms)
