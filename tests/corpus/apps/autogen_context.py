"""microsoft/autogen#6088: each agent's context object is made once, inside a module-level table of agents."""

from tests.corpus.gate import hold_async
from tests.corpus.tiny import Asgi, Request


class ChatContext:
    def __init__(self):
        self.messages = []

    def add(self, message):
        self.messages.append(message)  # LEAK


ASSISTANTS = {
    "writer": {"model": "small", "context": ChatContext()},
    "critic": {"model": "small", "context": ChatContext()},
}
app = Asgi()


def write(user):
    context = ASSISTANTS["writer"]["context"]
    context.add({"role": "user", "content": user})
    return f"written after {len(context.messages)} messages"


@app.route("/write")
async def answer(request: Request):
    written = write(request.user)
    await hold_async(request.id)
    return written


@app.route("/agents")
async def agents(request: Request):
    await hold_async(request.id)
    return ", ".join(f"{name}: {entry['model']}" for name, entry in ASSISTANTS.items())
