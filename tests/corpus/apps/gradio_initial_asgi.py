"""Mirror of gradio#4558 in a websocket: all sockets start from the same state object."""

from tests.corpus.gate import hold_async
from tests.corpus.tiny import Asgi, Request

INITIAL = {"turns": []}
app = Asgi()


@app.socket("/chat")
async def chat(request: Request, socket):
    state = INITIAL
    while (text := await socket.hear()) is not None:
        state["turns"].insert(0, f"{request.user}: {text}")  # LEAK
        await hold_async(request.id)
        await socket.say(str(len(state["turns"])))


@app.route("/read")
async def read(request: Request):
    await hold_async(request.id)
    return "ready"
