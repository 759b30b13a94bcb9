"""Mirror of django-easy-audit#6: a pure ASGI middleware keeps the current user on its one instance."""

from tests.corpus.gate import hold_async
from tests.corpus.tiny import Asgi, Request


class AuditMiddleware:
    def __init__(self, app):
        self.app = app
        self.user = None

    async def __call__(self, scope, receive, send):
        query = scope["query_string"].decode()
        if query.startswith("user="):
            self.user = query.removeprefix("user=")  # LEAK
        await self.app(scope, receive, send)


inner = Asgi()
app = AuditMiddleware(inner)


@inner.route("/save")
async def save(request: Request):
    await hold_async(request.id)
    return f"saved by {app.user}"


@inner.route("/ping")
async def ping(request: Request):
    await hold_async(request.id)
    return "pong"
