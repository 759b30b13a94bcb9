"""Mirror of the connection pool in ASGI: a list as the pool, taken out and put back across an await."""

from tests.corpus.gate import hold_async
from tests.corpus.tiny import Asgi, Request


class Connection:
    def __init__(self, number):
        self.number = number


FREE = [Connection(1), Connection(2), Connection(3)]
app = Asgi()


@app.route("/ask")
async def ask(request: Request):
    connection = FREE.pop()
    try:
        await hold_async(request.id)
        return str(connection.number)
    finally:
        FREE.append(connection)
