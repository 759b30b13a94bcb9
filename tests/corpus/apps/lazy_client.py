"""pydantic/pydantic-ai#1209, falconry/falcon PR #1665: a client that is created by the first request."""

from tests.corpus.gate import hold_async
from tests.corpus.tiny import Asgi, Request


class Client:
    def __init__(self, base_url):
        self.base_url = base_url

    async def get(self, path):
        return self.base_url + path


_client = None
app = Asgi()


def client():
    global _client
    if _client is None:
        _client = Client("http://models.example")
    return _client


@app.route("/ask")
async def ask(request: Request):
    answer = await client().get("/v1")
    await hold_async(request.id)
    return answer


@app.route("/ping")
async def ping(request: Request):
    await hold_async(request.id)
    return "pong"
