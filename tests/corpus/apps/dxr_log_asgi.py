"""Mirror of dxr PR #112 in ASGI: a task that outlives its request rebinds the log."""

import asyncio

from tests.corpus.gate import hold_async
from tests.corpus.tiny import Asgi, Request, spawn

LOG = ""
app = Asgi()


async def note(user):
    global LOG
    await asyncio.sleep(0.02)
    LOG += f"searched by {user}\n"  # LEAK


@app.route("/search")
async def search(request: Request):
    spawn(note(request.user))
    await hold_async(request.id)
    return "found nothing"


@app.route("/ping")
async def ping(request: Request):
    await hold_async(request.id)
    await asyncio.sleep(0.05)
    return "pong"
