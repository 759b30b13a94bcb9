"""The same for WSGI."""

import os

from tests.run.shop import state


def app(environ, start_response):
    state.HISTORY.append("a" * 20)
    body = str(os.getpid()).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
