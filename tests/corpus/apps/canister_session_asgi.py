"""Mirror of canister PR #8: the default argument is filled by a Starlette background task."""

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from tests.corpus.gate import hold_async


def remember(user, *, seen=[]):
    seen.append(user)  # LEAK
    return seen


async def after(user, request_id):
    remember(user)
    await hold_async(request_id)


async def login(request):
    work = BackgroundTask(after, request.query_params["user"], request.headers["x-request-id"])
    return PlainTextResponse("welcome", background=work)


async def guest(request):
    await hold_async(request.headers["x-request-id"])
    return PlainTextResponse("hello")


app = Starlette(routes=[Route("/login", login), Route("/guest", guest)])
