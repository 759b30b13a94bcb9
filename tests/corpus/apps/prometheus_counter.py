"""prometheus_client metrics.py: a counter per metric, and per label, incremented by every request."""

import threading

from tests.corpus.gate import hold_async
from tests.corpus.tiny import Asgi, Request


class MutexValue:
    def __init__(self):
        self._value = 0.0
        self._lock = threading.Lock()

    def inc(self, amount):
        with self._lock:
            self._value += amount


class Counter:
    def __init__(self):
        self._value = MutexValue()
        self._children = {}
        self._lock = threading.Lock()

    def labels(self, *values):
        with self._lock:
            if values not in self._children:
                self._children[values] = Counter()
            return self._children[values]

    def inc(self, amount=1.0):
        self._value.inc(amount)


REQUESTS = Counter()
app = Asgi()


@app.route("/a")
async def a(request: Request):
    REQUESTS.inc()
    REQUESTS.labels("GET", "/a").inc()
    await hold_async(request.id)
    return "a"


@app.route("/b")
async def b(request: Request):
    REQUESTS.labels("GET", "/b").inc()
    await hold_async(request.id)
    return "b"
