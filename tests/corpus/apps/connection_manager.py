"""FastAPI docs, 'WebSockets': a manager adds each connection to its list and removes it when it closes."""

from tests.corpus.gate import hold_async
from tests.corpus.tiny import Asgi, Request


class ConnectionManager:
    def __init__(self):
        self.active = []

    def connect(self, socket):
        self.active.append(socket)

    def disconnect(self, socket):
        self.active.remove(socket)

    async def broadcast(self, text):
        for socket in list(self.active):
            await socket.say(text)


MANAGER = ConnectionManager()
app = Asgi()


@app.socket("/ws")
async def talk(request: Request, socket):
    MANAGER.connect(socket)
    try:
        await hold_async(request.id)
        while (text := await socket.hear()) is not None:
            await MANAGER.broadcast(text)
    finally:
        MANAGER.disconnect(socket)


@app.route("/count")
async def count(request: Request):
    await hold_async(request.id)
    return str(len(MANAGER.active))
