"""One route per leak, one for the harmless writes, two that write into the other module from here."""

from tests.corpus.apps.eight import state
from tests.corpus.gate import hold_async
from tests.corpus.tiny import Asgi, Request

app = Asgi()


def assign(user):
    state.CURRENT = user  # LEAK global-from-outside


def append(user):
    state.HISTORY.append(user)  # LEAK list-from-outside


WRITERS = {
    "list": state.add_to_list,
    "dict": state.write_key,
    "set": state.see,
    "global": state.become,
    "class-list": state.Registry().join,
    "class-rebound": state.Registry.activate,
    "instance": state.AGENT.remember,
    "default": state.collect,
    "list-from-outside": append,
    "global-from-outside": assign,
}


def _route(name, writer):
    @app.route(f"/{name}")
    async def handle(request: Request):
        writer(request.user)
        await hold_async(request.id)
        return name


for _name, _writer in WRITERS.items():
    _route(_name, _writer)


@app.route("/harmless")
async def harmless(request: Request):
    state.count()
    state.client()
    found = state.plan("small")
    await hold_async(request.id)
    return found


@app.route("/read")
async def read(request: Request):
    await hold_async(request.id)
    return str(len(state.HISTORY))
