"""Classes: singletons, dataclasses, nested classes, properties, descriptors, inheritance, metaclasses."""

from dataclasses import dataclass, field
from enum import Enum
from typing import ClassVar, NamedTuple

from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route, WebSocketRoute


@dataclass
class Turn:
    text: str
    tags: list = field(default_factory=list)
    shared: ClassVar[list] = []

    def tag(self, tag):
        self.tags.append(tag)

    def share(self, tag):
        self.shared.append(tag)  # finding: SG104


class Model(BaseModel):
    items: list = []

    def add(self, item):
        self.items.append(item)


class Point(NamedTuple):
    x: int
    seen: list = []


class Colour(Enum):
    RED = 1


class Singleton:
    _instance = None

    def __new__(cls):
        if cls._instance is None:
            cls._instance = super().__new__(cls)
            cls._instance.messages = []
        return cls._instance


class Base:
    registry: dict = {}
    log = []

    def remember(self, text):
        self.log.append(text)  # finding: SG104


class Child(Base):
    def __init__(self):
        self.own = []

    def keep(self, text):
        self.own.append(text)


class Shadowing(Base):
    def __init__(self):
        self.log = []


class Meta(type):
    def note(cls, text):
        cls.last = text


class WithMeta(metaclass=Meta):
    pass


class Lazy:
    def __init__(self):
        self._parts = None

    @property
    def parts(self):
        if self._parts is None:
            self._parts = []
        return self._parts

    def add(self, part):
        self.parts.append(part)  # finding: SG106


class Counter:
    total = 0
    names: set = set()

    @classmethod
    def count(cls):
        cls.total += 1

    @classmethod
    def name(cls, name):
        cls.names.add(name)  # finding: SG104

    @staticmethod
    def last(name):
        Counter.newest = name  # finding: SG104


class Slots:
    __slots__ = ("user",)

    def __init__(self):
        self.user = None


class Chain:
    def __init__(self, memory):
        self.memory = memory

    def ask(self, text):
        self.memory.store(text)


class Memory:
    def __init__(self):
        self.turns = []

    def store(self, text):
        self.turns.append(text)  # finding: SG106


class Owner:
    class Inner:
        held = []

        def hold(self, text):
            self.held.append(text)  # finding: SG104


lazy = Lazy()
slots = Slots()
chain = Chain(Memory())


async def turn(request: Request):
    one = Turn(request.query_params["q"])
    one.tag("new")
    one.share(request.query_params["q"])
    model = Model()
    model.add(request.query_params["q"])
    return JSONResponse({})


async def singleton(request: Request):
    Singleton().messages.append(request.query_params["q"])  # finding: SG104
    return JSONResponse({})


async def inherited(request: Request):
    child = Child()
    child.remember(request.query_params["q"])
    child.keep(request.query_params["q"])
    Shadowing().log.append(request.query_params["q"])
    Owner.Inner().hold(request.query_params["q"])
    return JSONResponse({})


async def parts(request: Request):
    lazy.add(request.query_params["q"])
    slots.user = request.query_params["user"]  # finding: SG106
    chain.ask(request.query_params["q"])
    mine = Chain(Memory())
    mine.ask(request.query_params["q"])
    return JSONResponse({})


async def counted(request: Request):
    Counter.count()
    Counter.name(request.query_params["q"])
    Counter.last(request.query_params["q"])
    WithMeta.kept = request.query_params["q"]  # finding: SG104
    Base.registry["last"] = request.query_params["q"]  # finding: SG104
    return JSONResponse({})


class Endpoint(HTTPEndpoint):
    seen = []

    async def get(self, request: Request):
        self.user = request.query_params["user"]  # a new endpoint object for each request
        self.seen.append(self.user)  # finding: SG104
        return JSONResponse({})


def factory():
    class Local:
        kept = []

        def keep(self, text):
            self.kept.append(text)

    local = Local()
    local.keep("x")
    return local


async def made(request: Request):
    return JSONResponse(factory().kept)


app = Starlette(
    routes=[
        Route("/turn", turn),
        Route("/singleton", singleton),
        Route("/counted", counted),
        Mount("/more", routes=[Route("/parts", parts), Route("/inherited", inherited), Route("/made", made)]),
        Route("/endpoint", Endpoint),
    ]
)
