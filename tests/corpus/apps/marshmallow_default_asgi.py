"""Mirror of marshmallow#2114 in ASGI: the default is extended while the response is streamed."""

from tests.corpus.gate import hold_async
from tests.corpus.tiny import Asgi, Request


class Field:
    def __init__(self, default):
        self.default = default


FIELDS = {"tags": Field(default={"new"})}
app = Asgi()


@app.route("/search")
async def search(request: Request):
    tags = FIELDS["tags"].default

    async def parts():
        yield "tags: "
        tags.add(request.user)  # LEAK
        await hold_async(request.id)
        yield str(len(tags))

    return parts()


@app.route("/ping")
async def ping(request: Request):
    await hold_async(request.id)
    return "pong"
