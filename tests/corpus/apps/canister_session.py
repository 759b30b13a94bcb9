"""dagnelies/canister PR #8: a mutable default argument becomes the data of sessions made without any."""

from tests.corpus.gate import hold
from tests.corpus.tiny import Request, Wsgi


class Session:
    def __init__(self, sid, data={}):
        self.sid = sid
        self.data = data


app = Wsgi()


def write(user):
    session = Session("new")
    session.data["user"] = user  # LEAK
    return session


@app.route("/login")
def login(request: Request):
    session = write(request.user)
    hold(request.id)
    return str(session.data)


@app.route("/guest")
def guest(request: Request):
    session = Session(request.id, {})
    session.data["user"] = "guest"
    hold(request.id)
    return str(session.data)
