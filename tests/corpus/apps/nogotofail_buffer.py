"""google/nogotofail PR #80: the receive buffer is an attribute of the class, written by slice assignment."""

from tests.corpus.gate import hold
from tests.corpus.tiny import Request, Wsgi


class Connection:
    buffer = bytearray(64)

    def receive(self, data):
        self.buffer[: len(data)] = data  # LEAK
        return bytes(self.buffer[: len(data)])


app = Wsgi()


def write(user):
    return Connection().receive(user.encode())


@app.route("/send")
def send(request: Request):
    received = write(request.user)
    hold(request.id)
    return received.decode()


@app.route("/ping")
def ping(request: Request):
    hold(request.id)
    return "pong"
