"""Mirror of ray PR #49854 in WSGI: a dict as the default, written through an alias."""

from contextvars import ContextVar

from tests.corpus.gate import hold
from tests.corpus.tiny import Request, Wsgi

CONTEXT: ContextVar[dict] = ContextVar("context", default={})
app = Wsgi()


@app.route("/serve")
def serve(request: Request):
    here = CONTEXT.get()
    here["user"] = request.user  # LEAK
    hold(request.id)
    return str(here)


@app.route("/own")
def own(request: Request):
    token = CONTEXT.set({})
    try:
        CONTEXT.get()["user"] = "mine"
        hold(request.id)
        return str(CONTEXT.get())
    finally:
        CONTEXT.reset(token)
