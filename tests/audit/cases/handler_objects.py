"""Objects that serve: resources, callable handlers, bound methods, generators, context managers."""

import contextlib
import functools

import falcon
from fastapi import FastAPI
from starlette.routing import Route

HISTORY = []
OPENED = []
KEPT = []
DISPATCHED = []
PAIRS = [[], []]
REQUESTED = []


class Chat:
    def __init__(self):
        self.history = []
        self.hits = 0

    def on_post(self, req, resp):
        self.history.append(req.media)  # finding: SG107
        self.hits += 1
        resp.media = {}


class Stateless:
    def __init__(self, limit):
        self.limit = limit

    def on_get(self, req, resp):
        found = []
        found.append(req.params)
        resp.media = found


class Callable:
    def __init__(self, store):
        self.store = store
        self.last = None

    async def __call__(self, scope, receive, send):
        self.store.append(scope["path"])  # finding: SG101
        self.last = scope["path"]  # finding: SG107


class Service:
    def __init__(self):
        self.users = []

    async def handle(self, user: str):
        self.users.append(user)  # finding: SG106


service = Service()
api = falcon.App()
api.add_route("/chat", Chat())
api.add_route("/stateless", Stateless(3))
routes = [Route("/callable", Callable(HISTORY))]
app = FastAPI()
app.add_api_route("/handle", service.handle, methods=["POST"])


@contextlib.contextmanager
def opened(user):
    OPENED.append(user)  # finding: SG101
    try:
        yield user
    finally:
        OPENED.remove(user)


@contextlib.asynccontextmanager
async def kept(user):
    KEPT.append(user)  # finding: SG101
    yield KEPT


@app.post("/contexts")
async def contexts(user: str):
    with opened(user):
        async with kept(user) as names:
            names.append(user)


@functools.singledispatch
def dispatch(value):
    return value


@dispatch.register
def _(value: str):
    DISPATCHED.append(value)  # finding: SG101
    return value


@app.post("/dispatch")
def dispatched(user: str):
    return dispatch(user)


@app.post("/pairs")
def pairs(user: str):
    first, second = PAIRS
    first.append(user)  # finding: SG101
    for one in second:
        one = user
    return one


async def numbers(user):
    for _ in range(3):
        yield user


@app.post("/generated")
async def generated(user: str):
    async for one in numbers(user):
        REQUESTED.append(one)  # finding: SG101
    mine = [one async for one in numbers(user)]
    mine.append(user)
    return mine


class Descriptor:
    def __set_name__(self, owner, name):
        self.name = name

    def __get__(self, instance, owner):
        return instance.__dict__.get(self.name)

    def __set__(self, instance, value):
        self.value = value


class Form:
    name = Descriptor()


@app.post("/form")
def form(user: str):
    one = Form()
    one.name = user
    return one


def build(store, label="x"):
    def handler(user: str):
        store.append(user)  # finding: SG101
        return label

    return handler


BUILT = []
app.add_api_route("/built", build(BUILT), methods=["POST"])
app.add_api_route("/fresh", build([]), methods=["POST"])
