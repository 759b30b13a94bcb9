"""mozilla/dxr PR #112: a global flag is set and never reset; a log tuple is rebound by ``+=``."""

from tests.corpus.gate import hold
from tests.corpus.tiny import Request, Wsgi

DEBUG = False
LOG = ()
app = Wsgi()


def note(line):
    global LOG
    LOG += (line,)  # LEAK


def write(user):
    global DEBUG
    DEBUG = True  # LEAK flag
    note(f"searched by {user}")


@app.route("/search")
def search(request: Request):
    write(request.user)
    hold(request.id)
    return str(LOG)


@app.route("/ping")
def ping(request: Request):
    hold(request.id)
    return f"debug={DEBUG}"
