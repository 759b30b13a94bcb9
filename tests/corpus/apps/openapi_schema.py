"""fastapi/applications.py ``FastAPI.openapi()``: the schema is built on first use and kept."""

from tests.corpus.gate import hold_async
from tests.corpus.tiny import Asgi, Request


class Api(Asgi):
    def __init__(self):
        super().__init__()
        self.openapi_schema = None

    def openapi(self):
        if self.openapi_schema is None:
            self.openapi_schema = {"paths": {path: {"get": {}} for path in self.routes}}
        return self.openapi_schema


app = Api()


@app.route("/openapi.json")
async def schema(request: Request):
    found = app.openapi()
    await hold_async(request.id)
    return str(found)


@app.route("/ping")
async def ping(request: Request):
    await hold_async(request.id)
    return "pong"
