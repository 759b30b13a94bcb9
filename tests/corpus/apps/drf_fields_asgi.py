"""Mirror of django-rest-framework#1870: the constructor runs in Starlette's threadpool."""

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from tests.corpus.gate import hold


class Field:
    def __init__(self):
        self.context = {}


class UserSerializer:
    name = Field()

    def __init__(self, context):
        self.name.context.update(context)  # LEAK


def user(request):
    UserSerializer(context={"user": request.query_params["user"]})
    hold(request.headers["x-request-id"])
    return PlainTextResponse(str(UserSerializer.name.context))


def fields(request):
    hold(request.headers["x-request-id"])
    return PlainTextResponse("name")


app = Starlette(routes=[Route("/user", user), Route("/fields", fields)])
