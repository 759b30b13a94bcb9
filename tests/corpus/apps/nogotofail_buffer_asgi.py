"""Mirror of nogotofail PR #80 in a websocket: a memoryview of the class's buffer is written."""

from tests.corpus.gate import hold_async
from tests.corpus.tiny import Asgi, Request


class Connection:
    buffer = bytearray(64)


app = Asgi()


@app.socket("/send")
async def send(request: Request, socket):
    while (text := await socket.hear()) is not None:
        data = f"{request.user} {text}".encode()
        with memoryview(Connection.buffer) as window:
            window[: len(data)] = data  # LEAK
        await hold_async(request.id)
        await socket.say("received")


@app.route("/ping")
async def ping(request: Request):
    await hold_async(request.id)
    return "pong"
