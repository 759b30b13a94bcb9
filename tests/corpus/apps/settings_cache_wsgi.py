"""Mirror of the cached settings in WSGI: ``functools.cache`` around a pure method-like function."""

from functools import cache

from tests.corpus.gate import hold
from tests.corpus.tiny import Request, Wsgi

app = Wsgi()


@cache
def word_count(text):
    return {"words": len(text.split())}


@app.route("/count")
def count(request: Request):
    found = word_count(request.user)
    hold(request.id)
    return str(found["words"])
