"""cherrypy/cherrypy#61: request parameters become names of the module that no source mentions."""

from tests.corpus.gate import hold
from tests.corpus.tiny import Request, Wsgi

app = Wsgi()


def write(nickname):
    globals().update({"nickname": nickname})  # LEAK


@app.route("/page")
def page(request: Request):
    write(**request.query)
    hold(request.id)
    return "page"


@app.route("/ping")
def ping(request: Request):
    hold(request.id)
    return "pong"
