"""Generated applications for the probe's benchmark: seeded races, leaks without any race, and clean twins.

Each is a module with ``handle(message)`` (plain or ``async``), what it keeps in ``STATE``, ``reset()``, and
``app``, which serves ``handle`` over ASGI or WSGI.
"""

from __future__ import annotations

import random
from pathlib import Path

HEAD = """
import asyncio
import json
import threading

LOCK = threading.Lock()


def fresh():
    return {"current": "", "claimed": "", "draft": "", "turns": []}


STATE = fresh()


def reset():
    STATE.clear()
    STATE.update(fresh())

"""

ASGI = """

async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    message = json.loads((await receive())["body"])["message"]
    text = await handle(message)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": text.encode()})
"""

WSGI = """

def app(environ, start_response):
    message = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))["message"]
    text = handle(message)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [text.encode()]
"""

KINDS = ("window", "claim", "overtake", "serial", "locked")
"""A window between writing and reading (one preemption), claim-check-publish (two), a queue that is right
as long as nobody overtakes (equal waits end in the order in which they began), and leaks without a race."""


def body(kind: str, threads: bool, clean: bool, draw: random.Random) -> str:
    """The source of ``handle``."""
    n = 0

    def noise(least: int, most: int) -> list[str]:
        nonlocal n
        lines = []
        for _ in range(draw.randint(least, most)):
            n += 1
            pause = draw.choice((0, 0, 0.001, 0.002))
            lines.append(f"step{n} = len(message) + {n}" if threads else f"await asyncio.sleep({pause})")
        return lines

    state = "fresh()" if clean else "STATE"
    lines = [f"state = {state}", *noise(0, 8)]
    if kind == "window":
        lines += ['state["current"] = message', *noise(1, 3), 'seen = state["current"]', *noise(0, 8)]
        lines += ['return f"you: {message} seen: {seen}"']
    elif kind == "claim":
        lines += [
            'state["claimed"] = message',
            *noise(1, 3),
            'mine = state["claimed"] == message',
            *noise(0, 4),
        ]
        lines += ['if not mine and state["draft"]:', "    return f\"you: {message} draft: {state['draft']}\""]
        lines += ['state["draft"] = message', *noise(1, 3), 'state["draft"] = ""', *noise(0, 4)]
        lines += ['return f"you: {message}"']
    elif kind == "overtake":
        wait = "step0 = len(message)" if threads else "await asyncio.sleep(0.002)"
        lines += [
            'state["turns"].append(message)',
            *[wait] * draw.randint(1, 3),
            'first = state["turns"].pop(0)',
        ]
        lines += [*noise(0, 4), 'return f"you: {message} first: {first}"']
    elif kind == "serial":
        lines += ['state["turns"].append(message)', *noise(0, 4), 'return " ".join(state["turns"])']
    else:
        lines += ["with LOCK:", '    state["turns"].append(message)', '    text = " ".join(state["turns"])']
        lines += [*noise(0, 4), "return text"]
    return f"{'' if threads else 'async '}def handle(message):\n    " + "\n    ".join(lines) + "\n"


def write(directory: Path, count: int, seed: int) -> list[dict[str, object]]:
    """Write ``count`` leaking modules, and a clean one for each kind and protocol; return what they are."""
    draw = random.Random(seed)
    made: list[dict[str, object]] = []
    plan = [(KINDS[i // 2 % len(KINDS)], i % 2 == 1, False) for i in range(count)]
    plan += [(kind, threads, True) for kind in KINDS for threads in (False, True)]
    for number, (kind, threads, clean) in enumerate(plan):
        name = f"{'wsgi' if threads else 'asgi'}_{kind}_{number}{'_clean' if clean else ''}"
        text = HEAD + body(kind, threads, clean, draw) + (WSGI if threads else ASGI)
        (directory / f"{name}.py").write_text(text)
        made.append({"name": name, "kind": kind, "threads": threads, "clean": clean})
    return made
