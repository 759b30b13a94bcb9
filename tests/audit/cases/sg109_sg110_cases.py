"""Cached functions."""

from contextvars import ContextVar
from functools import cache, lru_cache

from flask import session

USER = ContextVar("USER")


@lru_cache
def defaults():
    return {"model": "small"}


@cache
def names(n):
    found = [str(i) for i in range(n)]
    return found


@lru_cache(maxsize=None)
def untouched():  # finding: SG109
    return [1, 2]


@lru_cache
def only_read():
    return {"a": 1}


def reader():
    table = only_read()
    return table["a"], sorted(only_read()), len(table)


def handed_on():
    return untouched()


@lru_cache
def double(n):
    return n * 2


@lru_cache
def frozen():
    return tuple([1, 2])


class Settings:
    debug = False


@lru_cache
def get_settings():
    return Settings()


def handle(model):
    options = defaults()
    options["model"] = model  # finding: SG109
    listed = names(3)
    listed += [model]  # finding: SG109
    mine = dict(only_read())
    mine["a"] = 1
    return options, get_settings().debug, double(2), frozen()


@lru_cache
def orders(page):  # finding: SG110
    return f"{USER.get()} {page}"


@cache
def greeting():  # finding: SG110
    return f"hello {_user()}"


def _user():
    return session["user"]


@cache
def by_user(user, page):
    return f"{user} {page}"
