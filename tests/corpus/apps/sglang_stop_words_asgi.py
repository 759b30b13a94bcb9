"""Mirror of sglang#26173 in ASGI: the cached value is nested, and a child task edits it."""

import asyncio
from functools import lru_cache

from tests.corpus.gate import hold_async
from tests.corpus.tiny import Asgi, Request

app = Asgi()


@lru_cache
def sampling(model):
    return {"stop": ["</s>"], "model": model}


async def extend(user):
    sampling("small")["stop"].extend([user, user.upper()])  # LEAK


@app.route("/generate")
async def generate(request: Request):
    await asyncio.gather(extend(request.user), asyncio.sleep(0))
    await hold_async(request.id)
    return str(sampling("small"))


@app.route("/read")
async def read(request: Request):
    await hold_async(request.id)
    return str(sampling("small")["model"])
