"""fastapi/fastapi#2892: an authentication middleware stores the caller on the application's state."""

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from tests.corpus.gate import hold_async


class Authenticate(BaseHTTPMiddleware):
    async def dispatch(self, request, call_next):
        user = request.query_params.get("user")
        if user:
            write(user)
        return await call_next(request)


async def me(request):
    await hold_async(request.headers["x-request-id"])
    return PlainTextResponse(f"you are {request.app.state.user}")


async def ping(request):
    await hold_async(request.headers["x-request-id"])
    return PlainTextResponse("pong")


app = Starlette(routes=[Route("/me", me), Route("/ping", ping)], middleware=[Middleware(Authenticate)])
app.state.user = None


def write(user):
    app.state.user = user  # LEAK
