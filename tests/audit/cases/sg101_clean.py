"""Containers that requests do not leak through."""

import asyncio
from functools import lru_cache

from fastapi import FastAPI

app = FastAPI()

MODELS = ["small", "large"]
COUNTS = {"requests": 0}
CACHE = {}
TASKS = set()
REGISTRY = {}


def register(name):
    def decorate(fn):
        REGISTRY[name] = fn
        return fn

    return decorate


for _model in MODELS:
    REGISTRY[_model] = None


@register("echo")
def echo(text):
    return text


@app.get("/count")
def count():
    COUNTS["requests"] += 1
    COUNTS["seen"] = COUNTS.get("seen", 0) + 1
    return COUNTS


@app.get("/cached")
def cached(key: str):
    if key not in CACHE:
        CACHE[key] = key.upper()
    return CACHE[key]


@app.get("/cached-early")
def cached_early(key: str):
    if key in CACHE:
        return CACHE[key]
    value = key.upper()
    CACHE[key] = value
    return value


@app.get("/cached-get")
def cached_get(key: str):
    found = CACHE.get(key)
    if found is None:
        found = CACHE[key] = key.upper()
    return found


@app.get("/cached-try")
def cached_try(key: str):
    try:
        return CACHE[key]
    except KeyError:
        pass
    CACHE[key] = key.upper()
    return CACHE[key]


@app.get("/local")
def local(message: str):
    HISTORY = []
    HISTORY.append(message)
    models = list(MODELS)
    models.append(message)
    copy = MODELS.copy()
    copy.append(message)
    part = MODELS[:]
    part.append(message)
    return [*MODELS, message]


@app.get("/shadow")
def shadow(MODELS: list):
    MODELS.append(1)
    return MODELS


@lru_cache
def double(n: int) -> int:
    return n * 2


@app.on_event("startup")
def start():
    MODELS.append("added at start-up")


@app.get("/later")
async def later():
    task = asyncio.create_task(asyncio.sleep(1))
    TASKS.add(task)
    task.add_done_callback(TASKS.discard)
    double(2)


if __name__ == "__main__":
    MODELS.append("from the command line")
