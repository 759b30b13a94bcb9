"""langroid/langroid#818, #787: a context manager flips a global flag, awaits and restores it."""

from contextlib import contextmanager

from tests.corpus.gate import hold_async
from tests.corpus.tiny import Asgi, Request


class Settings:
    def __init__(self):
        self.stream = True


settings = Settings()
app = Asgi()


@contextmanager
def quiet():
    before = settings.stream
    settings.stream = False  # LEAK
    try:
        yield
    finally:
        settings.stream = before  # LEAK


def write(user):
    with quiet():
        yield


@app.route("/quiet")
async def without_stream(request: Request):
    with quiet():
        await hold_async(request.id)
        return "quiet"


@app.route("/read")
async def read(request: Request):
    await hold_async(request.id)
    return f"stream={settings.stream}"
