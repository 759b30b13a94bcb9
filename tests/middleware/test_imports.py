"""What importing a middleware imports, and when the rest comes: names, not times."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import stateguard

SOURCES = str(Path(stateguard.__file__).parents[1])

LATER = {
    "asyncio",
    "concurrent.futures",
    "difflib",
    "locale",
    "pathlib",
    "signal",
    "sysconfig",
    "tomllib",
    "stateguard.containment",
    "stateguard.context",
    "stateguard.frozen_module",
    "stateguard.options",
    "stateguard.prices",
    "stateguard.report.destinations",
    "stateguard.report.jsonl",
    "stateguard.report.sink",
    "stateguard.report.text",
    "stateguard.sessions",
    "stateguard.stats",
}
"""What some programs need, once they need it."""


def fresh(code: str, folder: Path | None = None) -> list[str]:
    """What ``code`` calls ``said`` in an interpreter that has loaded nothing, not even ``site``."""
    start = f"import sys; sys.path.insert(0, {SOURCES!r})\n"
    end = "\nimport json; print(json.dumps(sorted(said)))"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", start + code + end],
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=60,
    )
    assert not done.returncode, done.stderr
    found: list[str] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("middleware", ["stateguard.asgi", "stateguard.wsgi"])
def test_what_few_need_is_not_imported(middleware: str) -> None:
    assert LATER.isdisjoint(
        fresh(f"before = set(sys.modules); import {middleware}; said = set(sys.modules) - before")
    )


def test_guards_that_do_not_watch_do_not_load_what_reports_need(tmp_path: Path) -> None:
    loaded = fresh(
        "from stateguard import Guard\n"
        "for mode in ('off', 'scope-only'): Guard(mode=mode)\n"
        "said = set(sys.modules)",
        tmp_path,
    )
    assert {"concurrent.futures", "pathlib", "stateguard.report.text"}.isdisjoint(loaded)


def test_nothing_is_left_in_the_context_that_imports_it(tmp_path: Path) -> None:
    # Each request would inherit it, and a context that holds something takes longer to set a variable in.
    code = (
        "import contextvars, stateguard\n"
        "from stateguard import *\n"
        "for mode in ('scope-only', 'on'): Guard(mode=mode, watch=['json']).start()\n"
        "said = [variable.name for variable in contextvars.copy_context()]"
    )
    assert fresh(code, tmp_path) == []


LEAKING = """
import logging, types
from stateguard import Guard

logging.basicConfig(stream=open("log", "w"))
shop = sys.modules["shop"] = types.ModuleType("shop")
exec("CART = []\\ndef buy(what): CART.append(what)", vars(shop))
guard = Guard(watch=["shop"], on_leak=ON_LEAK)
guard.start()
before = set(sys.modules)
try:
    with guard.request("one"):
        shop.buy("tea")
except Exception as error:
    assert type(error).__name__ == "SharedStateMutated", error
assert [leak.path for leak in guard.leaks] == ["shop.CART"], guard.leaks
said = {name for name in set(sys.modules) - before if name.startswith("stateguard")}
"""


@pytest.mark.parametrize("on_leak", ["log", "raise", "restore"])
def test_a_leak_loads_nothing_more_of_the_package(on_leak: str, tmp_path: Path) -> None:
    # Files may have been replaced by then, or be out of reach.
    assert fresh(LEAKING.replace("ON_LEAK", repr(on_leak)), tmp_path) == []
    assert (tmp_path / "log").read_text("utf-8") or on_leak == "raise"


def test_every_public_name_is_there_whatever_was_imported_first() -> None:
    modules = [path.stem for path in Path(stateguard.__file__).parent.glob("[a-z]*.py")]
    assert {"carry", "freeze", "scoped"} <= {*modules}
    first = "\n".join(
        f"import stateguard.{name}" for name in ("frozen_module", "freeze", "carry", "scoped", "guard")
    )
    check = (
        "said = [name for name in stateguard.__all__ if not callable(getattr(stateguard, name))]\n"
        "assert set(stateguard.__all__) <= set(dir(stateguard))\n"
        "from stateguard import *\n"
        "assert Guard is stateguard.Guard and scoped is stateguard.scoped"
    )
    assert fresh(f"{first}\n{check}") == ["__version__"]
    assert fresh(f"import stateguard\n{check}") == ["__version__"]


def test_no_name_that_is_loaded_later_is_a_module() -> None:
    # Whoever imports such a module puts it in the place of what has the name.
    for name in stateguard._LATER:
        assert name in stateguard.__all__
        assert find_spec(f"stateguard.{name}") is None


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="module 'stateguard' has no attribute 'Gaurd'"):
        _ = stateguard.Gaurd  # type: ignore[attr-defined]
    with pytest.raises(ImportError):
        from stateguard import Gaurd  # noqa: F401


def test_a_guard_that_can_load_no_more_still_watches(tmp_path: Path) -> None:
    broken = "class Refusing:\n    def find_spec(self, name, path=None, target=None):\n"
    broken += "        if name == 'stateguard.report.text': raise OSError('out of reach')\n"
    broken += "sys.meta_path.insert(0, Refusing())\n"
    code = LEAKING.replace("ON_LEAK", "'log'").replace("guard.start()", f"{broken}guard.start()")
    fresh(code, tmp_path)
    log = (tmp_path / "log").read_text("utf-8")
    assert log.count("stateguard failed while loading what reports need") == 1
    assert log.count("stateguard failed while reporting a leak") == 1
