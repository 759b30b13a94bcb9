"""gradio-app/gradio#4558: a table keyed by user is fine, one initial value shared by all sessions is not."""

from tests.corpus.gate import hold
from tests.corpus.tiny import Request, Wsgi

INITIAL = []
SESSIONS = {}
app = Wsgi()


def state_of(user):
    if user not in SESSIONS:
        SESSIONS[user] = {"value": INITIAL}
    return SESSIONS[user]


def write(user):
    history = state_of(user)["value"]
    history.append([user, "hello"])  # LEAK
    return history


@app.route("/chat")
def chat(request: Request):
    history = write(request.user)
    hold(request.id)
    return str(history)


@app.route("/read")
def read(request: Request):
    hold(request.id)
    return f"{len(SESSIONS)} sessions"
