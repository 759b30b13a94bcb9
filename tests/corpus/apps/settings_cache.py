"""FastAPI docs, 'Settings and Environment Variables': ``lru_cache`` around a pure function."""

from functools import lru_cache

from tests.corpus.gate import hold_async
from tests.corpus.tiny import Asgi, Request

app = Asgi()


class Settings:
    def __init__(self):
        self.name = "service"
        self.limits = {"users": 50}


@lru_cache
def get_settings():
    return Settings()


@lru_cache(maxsize=4)
def shout(text):
    return text.upper()


@app.route("/info")
async def info(request: Request):
    await hold_async(request.id)
    return get_settings().name + shout(request.user)


@app.route("/limits")
async def limits(request: Request):
    await hold_async(request.id)
    return str(get_settings().limits["users"]) + shout(request.user)
