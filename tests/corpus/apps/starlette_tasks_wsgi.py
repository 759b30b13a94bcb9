"""Mirror of starlette PR #1173 in WSGI: the shared default is written when the server closes the body."""

from tests.corpus.gate import hold
from tests.corpus.tiny import Reply, Request, Wsgi

app = Wsgi()


def finish(user, done={}):
    done["last"] = user  # LEAK
    return done


@app.route("/order")
def order(request: Request):
    def close():
        finish(request.user)
        hold(request.id)

    return Reply("ordered", after=close)


@app.route("/ping")
def ping(request: Request):
    hold(request.id)
    return "pong"
