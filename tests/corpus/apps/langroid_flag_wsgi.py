"""Mirror of langroid#818 in threads: a global is flipped, other requests run, it is restored."""

from tests.corpus.gate import hold
from tests.corpus.tiny import Request, Wsgi

CACHING = True
app = Wsgi()


@app.route("/quiet")
def quiet(request: Request):
    global CACHING
    CACHING = False  # LEAK
    try:
        hold(request.id)
        return "quiet"
    finally:
        CACHING = True  # LEAK


@app.route("/read")
def read(request: Request):
    hold(request.id)
    return f"caching={CACHING}"
