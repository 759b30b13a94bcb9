"""BerriAI/litellm#20983: with nothing to combine, the combiner hands out the global callback list itself."""

from tests.corpus.gate import hold_async
from tests.corpus.tiny import Asgi, Request


def log_cost(event):
    return len(event)


CALLBACKS = [log_cost]
app = Asgi()


def combine(dynamic):
    if not dynamic:
        return CALLBACKS
    return CALLBACKS + dynamic


def write(user):
    callbacks = combine([])
    callbacks.append(lambda event: user)  # LEAK
    return callbacks


@app.route("/complete")
async def complete(request: Request):
    callbacks = write(request.user)
    await hold_async(request.id)
    return str([callback("event") for callback in callbacks])


@app.route("/health")
async def health(request: Request):
    await hold_async(request.id)
    return f"{len(combine([]))} callbacks"
