"""Mirror of django-multitenant PR #173: the tenant stays on a worker thread that the event loop borrowed."""

import asyncio
import threading

from tests.corpus.gate import hold_async
from tests.corpus.tiny import Asgi, Request

LOCAL = threading.local()
app = Asgi()


def query(tenant):
    LOCAL.tenant = tenant  # LEAK
    return f"rows of {LOCAL.tenant}"


@app.route("/tenant")
async def tenant(request: Request):
    found = await asyncio.to_thread(query, request.user)
    await hold_async(request.id)
    return found


@app.route("/rows")
async def rows(request: Request):
    await hold_async(request.id)
    return await asyncio.to_thread(lambda: f"rows of {getattr(LOCAL, 'tenant', None)}")
