"""Mirror of cherrypy#61 in ASGI: parameters become class attributes by ``setattr`` in a child task."""

import asyncio

from tests.corpus.gate import hold_async
from tests.corpus.tiny import Asgi, Request


class Page:
    title = "untitled"


app = Asgi()


async def fill(params):
    for name, value in params.items():
        setattr(Page, name, value)  # LEAK


@app.route("/page")
async def page(request: Request):
    await asyncio.create_task(fill(request.query))
    await hold_async(request.id)
    return Page.title


@app.route("/ping")
async def ping(request: Request):
    await hold_async(request.id)
    return "pong"
