"""Mirror of the locks in WSGI: a re-entrant lock, a semaphore and a condition."""

import threading

from tests.corpus.gate import hold
from tests.corpus.tiny import Request, Wsgi

LOCK = threading.RLock()
SLOTS = threading.BoundedSemaphore(3)
CHANGED = threading.Condition()
app = Wsgi()


@app.route("/locked")
def locked(request: Request):
    with LOCK, LOCK, CHANGED:
        CHANGED.notify_all()
        hold(request.id)
        return "locked"


@app.route("/slot")
def slot(request: Request):
    with SLOTS:
        hold(request.id)
        return "slot"
