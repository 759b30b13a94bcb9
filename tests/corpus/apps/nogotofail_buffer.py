"""google/nogotofail PR #80: the receive buffer is an attribute of the class, written by slice assignment."""

from tests.corpus.gate import hold
from tests.corpus.tiny import Request, Wsgi


class Connection:
    buffer = bytearray(64)

    def receive(self, data):
        self.buffer[: len(data)] = data  # LEAK
        return bytes(self.buffer[: len(data)])


app = Wsgi()


@app.route("/send")
def send(request: Request):
    received = Connection().receive(request.user.encode())
    hold(request.id)
    return received.decode()


@app.route("/ping")
def ping(request: Request):
    hold(request.id)
    return "pong"
