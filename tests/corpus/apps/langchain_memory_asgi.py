"""Mirror of langchain#11650: the memory is reached through an alias, on a worker thread of an ASGI app."""

import asyncio

from tests.corpus.gate import hold_async
from tests.corpus.tiny import Asgi, Request


class ConversationChain:
    def __init__(self):
        self.memory = {"messages": []}


CHAIN = ConversationChain()
turns = CHAIN.memory["messages"]
app = Asgi()


def predict(text, remember):
    answer = text.upper()
    remember((text, answer))  # LEAK
    return answer


@app.route("/chat")
async def chat(request: Request):
    answer = await asyncio.to_thread(predict, request.user, turns.append)
    await hold_async(request.id)
    return answer


@app.route("/read")
async def read(request: Request):
    await hold_async(request.id)
    return str(len(turns))
