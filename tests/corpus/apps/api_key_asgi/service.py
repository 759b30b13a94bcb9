"""The service: a child task configures the client."""

import asyncio

from tests.corpus.apps.api_key_asgi.somelib import options
from tests.corpus.gate import hold_async
from tests.corpus.tiny import Asgi, Request

app = Asgi()


async def configure(key):
    await asyncio.sleep(0)
    setattr(options, "api_key", key)  # LEAK


@app.route("/complete")
async def complete(request: Request):
    async with asyncio.TaskGroup() as group:
        group.create_task(configure("sk-" + request.user))
    await hold_async(request.id)
    return str(options.api_key)


@app.route("/models")
async def models(request: Request):
    await hold_async(request.id)
    return "small, large"
