"""CPython asyncio/locks.py: a lock and a semaphore, taken and released across an await."""

import asyncio

from tests.corpus.gate import hold_async
from tests.corpus.tiny import Asgi, Request


class Service:
    def __init__(self):
        self.lock = asyncio.Lock()
        self.slots = asyncio.Semaphore(3)


SERVICE = Service()
READY = asyncio.Event()
app = Asgi()


@app.route("/locked")
async def locked(request: Request):
    READY.set()
    async with SERVICE.lock:
        await hold_async(request.id)
        return "locked"


@app.route("/slot")
async def slot(request: Request):
    async with SERVICE.slots:
        await hold_async(request.id)
        return "slot"
