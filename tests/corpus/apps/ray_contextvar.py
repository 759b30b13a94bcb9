"""ray-project/ray PR #49854 (ruff B039): the default of a context variable is one object for everybody."""

from contextvars import ContextVar

from tests.corpus.gate import hold_async
from tests.corpus.tiny import Asgi, Request


class ServeContext:
    def __init__(self):
        self.tags = []


CONTEXT = ContextVar("serve_context", default=ServeContext())
app = Asgi()


def write(user):
    CONTEXT.get().tags.append(user)  # LEAK


@app.route("/serve")
async def serve(request: Request):
    write(request.user)
    await hold_async(request.id)
    return str(CONTEXT.get().tags)


@app.route("/own")
async def own(request: Request):
    CONTEXT.set(ServeContext())
    CONTEXT.get().tags.append("mine")
    await hold_async(request.id)
    return str(CONTEXT.get().tags)
