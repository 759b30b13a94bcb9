"""The service: every user brings a key."""

from tests.corpus.apps.api_key import somelib
from tests.corpus.gate import hold
from tests.corpus.tiny import Request, Wsgi

app = Wsgi()


def write(user):
    somelib.api_key = "sk-" + user  # LEAK


@app.route("/complete")
def complete(request: Request):
    write(request.user)
    hold(request.id)
    return somelib.complete("hello")


@app.route("/models")
def models(request: Request):
    hold(request.id)
    return "small, large"
