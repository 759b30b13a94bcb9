"""Mirror of autogen#6088: the shared context grows while a WSGI response is being streamed."""

from tests.corpus.gate import hold
from tests.corpus.tiny import Request, Wsgi


class ChatContext:
    def __init__(self):
        self.messages = []


ASSISTANTS = {"writer": {"context": ChatContext()}}
app = Wsgi()


@app.route("/write")
def write(request: Request):
    def parts():
        messages = ASSISTANTS["writer"]["context"].messages
        yield "so: "
        messages += [request.user]  # LEAK
        hold(request.id)
        yield str(len(messages))

    return parts()


@app.route("/agents")
def agents(request: Request):
    hold(request.id)
    return ", ".join(ASSISTANTS)
