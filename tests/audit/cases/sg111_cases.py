"""Thread-locals."""

import threading
from threading import local

from fastapi import FastAPI

app = FastAPI()

_tenant = threading.local()
_user = local()
_conn = threading.local()
_clean = threading.local()


class State(threading.local):
    name = None


_state = State()


def set_tenant(tenant):
    _tenant.value = tenant  # finding: SG111


@app.get("/async")
async def in_async(user: str):
    _user.name = user  # finding: SG111
    _state.name = user  # finding: SG111
    return connection()


def connection():
    if not hasattr(_conn, "db"):
        _conn.db = object()
    return _conn.db


def set_clean(value):
    _clean.value = value


def clear():
    del _clean.value


@app.get("/sync")
def in_sync(tenant: str):
    set_tenant(tenant)
    set_clean(tenant)
    try:
        return tenant
    finally:
        clear()
