"""Modules, and what belongs to the context, the thread or the process."""

# ruff: noqa: E501 -- rows of a table

from __future__ import annotations

from tests.forms.table.rows import Rows

_form = Rows()

# -- modules -----------------------------------------------------------------------------------------


def _module(name: str, setup: str, change: str, kind: str, path: str, said: str = "") -> None:
    _form("module", name, setup, change, (kind, path, said))


_module(
    "global", "USER = None", "global USER; USER = 'ann'", "rebound", "app.USER", "None -> str of 3 characters"
)
_module("global to another list", "USERS = []", "global USERS; USERS = ['ann']", "rebound", "app.USERS",
        "list of 0 items -> list of 1 item")  # fmt: skip
_module("global, number", "N = 0", "global N; N += 1", "rebound", "app.N")
_module("tuple +=", "LOG = ()", "global LOG; LOG += ('x',)", "rebound", "app.LOG", "tuple of 1 item")
_module("str +=", "LOG = ''", "global LOG; LOG += 'x'", "rebound", "app.LOG")
_module("frozenset |=", "SEEN = frozenset()", "global SEEN; SEEN |= {'x'}", "rebound", "app.SEEN")
_module("new global", "", "global USER; USER = 'ann'", "defined", "app.USER", "absent -> str")
_module("global deleted", "USER = 'ann'", "global USER; del USER", "deleted", "app.USER", "-> absent")
_module(
    "setattr", "USER = None", "import sys; setattr(sys.modules['app'], 'USER', 'x')", "rebound", "app.USER"
)
_module(
    "attribute of the module",
    "USER = None",
    "import sys; sys.modules['app'].USER = 'x'",
    "rebound",
    "app.USER",
)
_module("delattr", "USER = None", "import sys; delattr(sys.modules['app'], 'USER')", "deleted", "app.USER")
_module("globals() item", "USER = None", "globals()['USER'] = 'x'", "rebound", "app.USER")
_module("globals() update", "USER = None", "globals().update(extra='x')", "defined", "app.extra")
_module("vars() of the module", "USER = None", "import sys; vars(sys.modules['app'])['USER'] = 'x'", "rebound",
        "app.USER")  # fmt: skip
_module("exec", "USER = None", "exec('USER = 1', globals())", "rebound", "app.USER")
_module("loop variable", "LAST = None", "global LAST\nfor LAST in 'ab': pass", "rebound", "app.LAST")
_module("walrus", "LAST = None", "global LAST\n(LAST := 'x')", "rebound", "app.LAST")
_module("except target", "", "global E\nexec('try:\\n 1/0\\nexcept Exception as err:\\n E = err', globals())", "defined",
        "app.E")  # fmt: skip
_module("function replaced", "def f(): return 1\ndef g(): return 2", "global f; f = g", "rebound", "app.f")
_module("class replaced", "class A: pass\nclass B: pass", "global A; A = B", "rebound", "app.A")
_module("rebound to an alias of its own", "A = ['a']\nB = ['b']", "global A; A = B", "rebound", "app.A")


# -- what belongs to the context, the thread, the process --------------------------------------------


def _process(name: str, setup: str, change: str, kind: str, path: str, undo: str = "") -> None:
    _form("process", name, setup, change, (kind, path), undo=undo)


_process("ContextVar default, list", "from contextvars import ContextVar\nVAR = ContextVar('v', default=[])",
         "VAR.get().append(1)", "appended", "app.VAR(default=)")  # fmt: skip
_process("ContextVar default, attribute",
         "from contextvars import ContextVar\nclass C: user = None\nVAR = ContextVar('v', default=C())",
         "VAR.get().user = 'x'", "attribute added", "app.VAR(default=).user")  # fmt: skip
_process("threading.local residue", "import threading\nLOCAL = threading.local()", "LOCAL.user = 'x'",
         "left behind", "app.LOCAL.user")  # fmt: skip
_process("threading.local subclass", "import threading\nclass L(threading.local):\n    user = None\nLOCAL = L()",
         "LOCAL.user = 'x'", "left behind", "app.LOCAL.user")  # fmt: skip
_process("itertools.count", "from itertools import count\nIDS = count()", "next(IDS)", "*", "app.IDS")
_ENV = "import os\nos.environ['FORM_A'] = 'a'\nos.environ.pop('FORM_X', None)"
_UNENV = "os.environ.pop('FORM_A', None); os.environ.pop('FORM_X', None)"
_process("os.environ: new", _ENV, "os.environ['FORM_X'] = 'x'", "added|setting changed", "os.environ['FORM_X']",
         _UNENV)  # fmt: skip
_process("os.environ: other value", _ENV, "os.environ['FORM_A'] = 'x'", "replaced|setting changed",
         "os.environ['FORM_A']", _UNENV)  # fmt: skip
_process("os.environ: deleted", _ENV, "del os.environ['FORM_A']", "removed|setting changed",
         "os.environ['FORM_A']", _UNENV)  # fmt: skip
_process("os.environ: update", _ENV, "os.environ.update(FORM_X='x')", "added|setting changed",
         "os.environ['FORM_X']", _UNENV)  # fmt: skip
_process("sys.path: append", "import sys", "sys.path.append('/nowhere')", "appended|setting changed", "sys.path",
         "sys.path.remove('/nowhere')")  # fmt: skip
_process("sys.path: insert", "import sys", "sys.path.insert(0, '/nowhere')", "inserted|setting changed", "sys.path",
         "sys.path.remove('/nowhere')")  # fmt: skip
_process("sys.path: rebound", "import sys\nBEFORE = sys.path", "sys.path = [*sys.path, '/nowhere']",
         "rebound|setting changed|attribute set", "sys.path", "sys.path = BEFORE")  # fmt: skip
_process("sys.stdout replaced", "import sys, io\nBEFORE = sys.stdout", "sys.stdout = io.StringIO()",
         "rebound|setting changed|attribute set", "sys.stdout", "sys.stdout = BEFORE")  # fmt: skip
_process("working directory", "import os\nBEFORE = os.getcwd()", "os.chdir('/')", "setting changed", "os.getcwd()",
         "os.chdir(BEFORE)")  # fmt: skip
_LOG = "import logging\nLOGGER = logging.getLogger('form.logger')\nLOGGER.setLevel(logging.INFO)"
_process("logging level", _LOG, "LOGGER.setLevel(logging.DEBUG)", "*",
         "logging.getLogger('form.logger').level")  # fmt: skip
_process("logging level of the root", "import logging\nBEFORE = logging.root.level",
         "logging.getLogger().setLevel(5)", "*", "logging.root.level",
         "logging.getLogger().setLevel(BEFORE)")  # fmt: skip
_process("logging handler added", _LOG + "\nHANDLER = logging.NullHandler()", "LOGGER.addHandler(HANDLER)",
         "appended|setting changed", "logging.getLogger('form.logger').handlers",
         "LOGGER.removeHandler(HANDLER)")  # fmt: skip
_process("logging filter added", _LOG, "LOGGER.addFilter(lambda record: True)", "appended|setting changed",
         "logging.getLogger('form.logger').filters", "LOGGER.filters.clear()")  # fmt: skip
_process("warnings filter", "import warnings\nBEFORE = warnings.filters[:]",
         "warnings.simplefilter('ignore', BytesWarning)", "*", "warnings.filters*",
         "warnings.filters[:] = BEFORE")  # fmt: skip
_process("signal handler", "import signal\nBEFORE = signal.getsignal(signal.SIGUSR1)",
         "signal.signal(signal.SIGUSR1, lambda *_: None)", "setting changed", "signal.getsignal(*)",
         "signal.signal(signal.SIGUSR1, BEFORE)")  # fmt: skip
_process("locale", "import locale\nBEFORE = locale.setlocale(locale.LC_ALL)",
         "locale.setlocale(locale.LC_ALL, 'C.UTF-8' if BEFORE == 'C' else 'C')", "setting changed", "locale*",
         "locale.setlocale(locale.LC_ALL, BEFORE)")  # fmt: skip


FORMS = tuple(_form.forms)
