"""bokeh/bokeh-fastapi PR #25: one handler instance for all websockets; a second connect takes it over."""

from tests.corpus.gate import hold_async
from tests.corpus.tiny import Asgi, Request, at_once


class SessionHandler:
    def __init__(self):
        self.socket = None
        self.user = None

    async def open(self, user, socket):
        self.user = user  # LEAK user
        self.socket = socket  # LEAK

    async def reply(self, text):
        await self.socket.say(f"{self.user}: {text}")


HANDLER = SessionHandler()
app = Asgi()


write = at_once(HANDLER.open, object)


@app.socket("/ws")
async def connect(request: Request, socket):
    await HANDLER.open(request.user, socket)
    await hold_async(request.id)
    while (text := await socket.hear()) is not None:
        await socket.say(text)


@app.route("/ping")
async def ping(request: Request):
    await hold_async(request.id)
    return "pong"
