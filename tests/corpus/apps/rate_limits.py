"""alisaifee/limits storage/memory.py: counters and expiry times, keyed by client."""

import time
from collections import Counter

from tests.corpus.gate import hold_async
from tests.corpus.tiny import Asgi, Request


class MemoryStorage:
    def __init__(self):
        self.storage = Counter()
        self.expirations = {}

    def incr(self, key, expiry):
        if self.expirations.get(key, 0) <= time.time():
            self.storage[key] = 0
            self.expirations[key] = time.time() + expiry
        self.storage[key] += 1
        return self.storage[key]


STORAGE = MemoryStorage()
app = Asgi()


@app.route("/call")
async def call(request: Request):
    used = STORAGE.incr(f"LIMITER/{request.user}/10/1/minute", 60)
    await hold_async(request.id)
    return "ok" if used <= 10 else "slow down"
