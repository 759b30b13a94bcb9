"""Class attributes."""

from dataclasses import dataclass, field
from enum import Enum

from pydantic import BaseModel
from starlette.endpoints import HTTPEndpoint


class Cart:
    items = []
    owner = None
    hits = 0
    by_id: dict = {}

    def add(self, thing):
        self.items.append(thing)  # finding: SG104

    def become(self, user):
        type(self).owner = user  # finding: SG104

    def count(self):
        self.hits += 1
        Cart.hits += 1

    @classmethod
    def reset_to(cls, user):
        cls.by_id = {"user": user}  # finding: SG104


class Own:
    items = []

    def __init__(self):
        self.items = []

    def add(self, thing):
        self.items.append(thing)


@dataclass
class Record:
    tags: list[str] = field(default_factory=list)
    shared = []

    def tag(self, name):
        self.tags.append(name)

    def share(self, name):
        self.shared.append(name)  # finding: SG104


class Model(BaseModel):
    items: list[str] = []

    def add(self, thing):
        self.items.append(thing)


class Color(Enum):
    RED = []


class Plugin:
    registry = {}

    def __init_subclass__(cls):
        Plugin.registry[cls.__name__] = cls


class Base:
    seen = set()


class Child(Base):
    def note(self, user):
        self.seen.add(user)  # finding: SG104
        self.__class__.latest = user  # finding: SG104


class Field:
    def __init__(self):
        self.context = None


class Serializer:
    name = Field()

    def __init__(self, request):
        self.name.context = request  # finding: SG104


class Endpoint(HTTPEndpoint):
    async def get(self, request):
        self.user = request.user
        return self.user
