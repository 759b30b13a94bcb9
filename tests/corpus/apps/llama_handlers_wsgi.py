"""Mirror of create-llama#479 in WSGI: attached while the body is iterated, removed when it is closed."""

from tests.corpus.gate import hold
from tests.corpus.tiny import Request, Wsgi


class Engine:
    def __init__(self):
        self.handlers = {}


ENGINE = Engine()
app = Wsgi()


@app.route("/stream")
def stream(request: Request):
    def parts():
        ENGINE.handlers[request.user] = request.id.upper  # LEAK
        try:
            yield "begin "
            hold(request.id)
            yield str([handler() for handler in list(ENGINE.handlers.values())])
        finally:
            del ENGINE.handlers[request.user]  # LEAK

    return parts()


@app.route("/ping")
def ping(request: Request):
    hold(request.id)
    return "pong"
