"""Mirror of the rate limiter in WSGI: a moving window, time stamps per client."""

import time

from tests.corpus.gate import hold
from tests.corpus.tiny import Request, Wsgi

WINDOW = {}
app = Wsgi()


def acquire(client, limit, seconds):
    now = time.monotonic()
    kept = [stamp for stamp in WINDOW.get(client, ()) if stamp > now - seconds]
    if len(kept) >= limit:
        return False
    WINDOW[client] = [*kept, now]
    return True


@app.route("/call")
def call(request: Request):
    allowed = acquire(request.client, 10, 60)
    hold(request.id)
    return "ok" if allowed else "slow down"
