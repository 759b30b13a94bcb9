"""Greenlets: each needs a process of its own, since monkey-patching can not be undone."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

PROGRAM = """
{first}
{second}
import contextvars, threading
import gevent
from stateguard.errors import NoActiveScope

def request(number, results):
    with open_scope(carrier={carrier!r}):
        session().user_id = number
        for _ in range(3):
            gevent.sleep(0.001)
            assert session().user_id == number, (session().user_id, number)
        results.append(number)

def serve(number, results):
    # A server's greenlet starts with an empty context.
    contextvars.Context().run(request, number, results)

results = []
gevent.joinall([gevent.spawn(serve, n, results) for n in range(20)], raise_error=True, timeout=20)
assert sorted(results) == list(range(20)), results

def bare():
    try:
        session()
    except NoActiveScope as error:
        results.append(str(error))

def carried():
    results.append(session().user_id)

with open_scope(carrier={carrier!r}):
    session().user_id = "ada"
    results.clear()
    thread = threading.Thread(target=bare)
    thread.start()
    thread.join(10)
    assert "stateguard.carry(fn)" in results[0], results
    thread = threading.Thread(target=carry(carried))
    thread.start()
    thread.join(10)
    assert results[1:] == ["ada"], results
print("ok")
"""

PATCH = "from gevent import monkey; monkey.patch_all()"
IMPORT = "from stateguard import carry, open_scope, session"
WARM = IMPORT + "\nwith open_scope(carrier='thread-local'): session()"


@pytest.mark.parametrize("carrier", ["contextvar", "thread-local"])
@pytest.mark.parametrize(
    ("first", "second"),
    [(PATCH, IMPORT), (IMPORT, PATCH), (WARM, PATCH)],
    ids=["patched first", "imported first", "used first"],
)
def test_greenlets_do_not_share_a_scope(carrier, first, second):
    program = PROGRAM.format(first=first, second=second, carrier=carrier)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "ok\n", done.stderr
