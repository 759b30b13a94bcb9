"""Factories whose handlers share variables."""

import functools

from fastapi import FastAPI


class Store:
    def __init__(self):
        self.items = []

    def add(self, thing):
        self.items.append(thing)  # finding: SG112


def create_app():
    app = FastAPI()
    history = []
    current = None
    hits = 0
    store = Store()

    @app.post("/chat")
    def chat(message: str):
        nonlocal current, hits
        history.append(message)  # finding: SG112
        current = message  # finding: SG112
        hits += 1
        store.add(message)
        return history

    @app.get("/local")
    def local():
        own = []

        def note(x):
            own.append(x)

        note(1)
        return own

    return app


def memo(fn):
    cache = {}

    @functools.wraps(fn)
    def wrapper(key):
        if key not in cache:
            cache[key] = fn(key)
        return cache[key]

    return wrapper


def recording(fn):
    calls = []

    @functools.wraps(fn)
    def wrapper(*args):
        calls.append(args)  # finding: SG112
        return fn(*args)

    return wrapper


@memo
def slow(key):
    return key


@recording
def traced(value):
    return value


def parse(text):
    found = []

    def visit(node):
        found.append(node)

    for part in text:
        visit(part)
    return found


app = create_app()
