"""Mirror of litellm#20983 in WSGI: a C function does the inserting into the list that was handed out."""

import bisect

from tests.corpus.gate import hold
from tests.corpus.tiny import Request, Wsgi

PRIORITIES = ["a-cost", "z-audit"]
app = Wsgi()


def combine(dynamic):
    return PRIORITIES + dynamic if dynamic else PRIORITIES


@app.route("/complete")
def complete(request: Request):
    callbacks = combine([])
    bisect.insort(callbacks, request.user)  # LEAK
    hold(request.id)
    return str(len(callbacks))


@app.route("/health")
def health(request: Request):
    hold(request.id)
    return str(len(combine([])))
