"""Mirror of the counters in WSGI: a dict, a ``Counter``, a rebound global, ``itertools.count``."""

from collections import Counter
from itertools import count

from tests.corpus.gate import hold
from tests.corpus.tiny import Request, Wsgi

HITS = {"total": 0}
BY_PATH = Counter()
SERVED = 0
NUMBERS = count()
app = Wsgi()


@app.route("/a")
def a(request: Request):
    global SERVED
    SERVED += 1
    HITS["total"] += 1
    BY_PATH[request.path] += 1
    next(NUMBERS)
    hold(request.id)
    return "a"
