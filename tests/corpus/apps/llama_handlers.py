"""run-llama/create-llama#479: each open stream attaches its handler to the shared engine, then removes it."""

from tests.corpus.gate import hold_async
from tests.corpus.tiny import Asgi, Request


class Engine:
    def __init__(self):
        self.handlers = []

    async def query(self, text):
        for handler in self.handlers:
            handler(text)


ENGINE = Engine()
app = Asgi()


def write(user):
    heard = []
    handler = heard.append
    ENGINE.handlers.append(handler)  # LEAK
    try:
        yield heard
    finally:
        ENGINE.handlers.remove(handler)  # LEAK


@app.route("/stream")
async def stream(request: Request):
    async def parts():
        attached = write(request.user)
        heard = next(attached)
        try:
            yield "begin "
            await hold_async(request.id)
            await ENGINE.query(request.user)
            yield str(heard)
        finally:
            attached.close()

    return parts()


@app.route("/ping")
async def ping(request: Request):
    await hold_async(request.id)
    return "pong"
