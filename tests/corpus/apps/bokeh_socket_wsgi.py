"""Mirror of bokeh-fastapi PR #25 in WSGI: one handler instance keeps the current request's reply function."""

from tests.corpus.gate import hold
from tests.corpus.tiny import Request, Wsgi


class Handler:
    __slots__ = ("reply",)

    def __init__(self):
        self.reply = None


HANDLER = Handler()
app = Wsgi()


@app.route("/events")
def events(request: Request):
    sent = []

    def reply(text):
        sent.append(f"{request.user}: {text}")

    HANDLER.reply = reply  # LEAK
    hold(request.id)
    HANDLER.reply("done")
    return str(sent)


@app.route("/ping")
def ping(request: Request):
    hold(request.id)
    return "pong"
