"""Models and containers of the libraries that everybody uses, at module level."""

import contextvars
import logging
import sys
import threading
import types
from collections import ChainMap, UserDict, namedtuple
from dataclasses import dataclass, field

import attrs
import pydantic


class Settings(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    user: str | None = None
    tags: list[str] = []
    _trace: list = pydantic.PrivateAttr(default_factory=list)


SETTINGS = Settings()


def pydantic_field(user):
    SETTINGS.user = user  # LEAK field


def pydantic_list(user):
    SETTINGS.tags.append(user)  # LEAK list


def pydantic_extra(user):
    SETTINGS.nickname = user  # LEAK extra


def pydantic_private(user):
    SETTINGS._trace.append(user)  # LEAK private


@attrs.define
class Basket:
    items: list = attrs.Factory(list)


BASKET = Basket()


def attrs_list(user):
    BASKET.items.append(user)  # LEAK attrs


@dataclass(frozen=True)
class Defaults:
    options: dict = field(default_factory=lambda: {"user": None})


DEFAULTS = Defaults()


def frozen_dataclass(user):
    DEFAULTS.options["user"] = user  # LEAK frozen


Route = namedtuple("Route", "name log")
ROUTE = Route("chat", [])


def named_tuple(user):
    ROUTE.log.append(user)  # LEAK tuple


LAYERS = ChainMap({"user": None}, {"debug": False})


def chain_map(user):
    LAYERS["user"] = user  # LEAK chain


class Table(UserDict):
    pass


TABLE = Table(user=None)


def user_dict(user):
    TABLE["user"] = user  # LEAK table


class Bag(dict):
    __getattr__ = dict.__getitem__
    __setattr__ = dict.__setitem__


BAG = Bag(user=None)


def attribute_dict(user):
    BAG.user = user  # LEAK bag


CONTEXT = contextvars.ContextVar("context")
CONTEXT.set({"user": None})


def inherited_context(user):
    CONTEXT.get()["user"] = user  # LEAK context


class Local(threading.local):
    def __init__(self):
        self.user = None


LOCAL = Local()


def initialised_local(user):
    LOCAL.user = user  # LEAK local


def counter():
    last = None

    def put(value):
        nonlocal last
        last = value  # LEAK closure

    return put


PUT = counter()


def closure(user):
    PUT(user)


LOGGER = logging.LoggerAdapter(logging.getLogger("shapes"), {"user": None})


def logger_adapter(user):
    LOGGER.extra["user"] = user  # LEAK adapter


_values = {"current": types.SimpleNamespace(user=None)}


def __getattr__(name):
    try:
        return _values[name]
    except KeyError:
        raise AttributeError(name) from None


def module_getattr(user):
    sys.modules[__name__].current.user = user  # LEAK getattr
