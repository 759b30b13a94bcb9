"""Races that need luck under load: one order among many, or one line among many, shows the bleed."""

from __future__ import annotations

import asyncio
import json
import threading
import time

from fastapi import FastAPI, Request
from pydantic import BaseModel

# -- asyncio -----------------------------------------------------------------------------------------


class Turn(BaseModel):
    message: str


site = FastAPI()
DRAFT = {"text": "", "ready": False}
CURRENT = {"user": "", "claimed": ""}


@site.post("/narrow")
async def narrow(turn: Turn):
    """Two requests must overlap in one of a dozen suspensions."""
    for _ in range(6):
        await asyncio.sleep(0)
    CURRENT["user"] = turn.message
    await asyncio.sleep(0)
    seen = CURRENT["user"]
    for _ in range(6):
        await asyncio.sleep(0)
    return {"you": turn.message, "seen": seen}


@site.post("/deep")
async def deep(turn: Turn):
    """A must stop between claiming and checking, B between writing and clearing: two preemptions."""
    CURRENT["claimed"] = turn.message
    await asyncio.sleep(0.01)
    mine = CURRENT["claimed"] == turn.message
    await asyncio.sleep(0.01)
    if not mine and DRAFT["ready"]:
        return {"you": turn.message, "draft": DRAFT["text"]}
    DRAFT.update(text=turn.message, ready=True)
    await asyncio.sleep(0.01)
    DRAFT.update(text="", ready=False)
    return {"you": turn.message}


@site.post("/deep-clean")
async def deep_clean(turn: Turn):
    draft = {"text": turn.message}
    await asyncio.sleep(0.01)
    return {"you": turn.message, "draft": draft["text"]}


@site.post("/waits")
async def waits(turn: Turn):
    """Library-internal suspensions below one await differ between Python versions."""
    for _ in range(2):
        await asyncio.wait_for(asyncio.sleep(0.01), 5)
    CURRENT["user"] = turn.message
    await asyncio.wait_for(asyncio.sleep(0.01), 5)
    return {"you": turn.message, "seen": CURRENT["user"]}


THREADED: dict[str, str] = {}


@site.post("/sync")
def sync(turn: Turn):
    """On a worker thread: between the two lines anybody may come."""
    THREADED["user"] = turn.message
    you = f"you are {turn.message}"
    return {"you": you, "seen": THREADED["user"]}


lock = threading.Lock()


@site.post("/sync-clean")
def sync_clean(turn: Turn):
    with lock:
        THREADED["user"] = turn.message
        time.sleep(0.001)
        seen = THREADED["user"]
    return {"seen": seen}


@site.post("/whoami")
async def whoami(request: Request):
    return {"you": (await request.json())["message"]}


# -- threads -----------------------------------------------------------------------------------------

LAST = [""]
wsgi_lock = threading.Lock()


def _message(environ):
    return json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))["message"]


def wsgi_race(environ, start_response):
    message = _message(environ)
    LAST[0] = message
    parts = [part.strip() for part in ("you", "are", message)]
    text = " ".join(parts)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{text} {LAST[0]}".encode()]


def wsgi_locked_clean(environ, start_response):
    """Blocks on a real lock while another thread is held inside it."""
    message = _message(environ)
    with wsgi_lock:
        LAST[0] = message
        text = f"you are {LAST[0]}"
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [text.encode()]


def wsgi_half_locked(environ, start_response):
    """The lock is let go between writing and reading."""
    message = _message(environ)
    with wsgi_lock:
        LAST[0] = message
    prefix = f"you are {message}"
    with wsgi_lock:
        seen = LAST[0]
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{prefix}, {seen}".encode()]
