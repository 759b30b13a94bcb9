"""The same faults on Flask."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from flask import Flask, Response, jsonify, request, stream_with_context

from stateguard import Guard, session
from stateguard.wsgi import StateGuardMiddleware
from tests.servers import state

# The endpoints do next to nothing, so looking takes more than its usual share; here it must look in full.
guard = Guard(watch=["tests.servers.state"], on_leak=os.environ["ON_LEAK"], budget=1.0)
app = Flask(__name__)
app.wsgi_app = StateGuardMiddleware(app.wsgi_app, guard=guard)


@app.get("/guilty")
def guilty() -> str:
    name = request.args["name"]
    time.sleep(0.005)
    state.HISTORY.append(name)
    time.sleep(0.005)
    return f"hello {name}"


@app.get("/innocent")
def innocent() -> str:
    for _ in range(5):
        time.sleep(0.002)
        state.TABLE["first"] + state.TABLE["second"]
    return "hello"


@app.get("/stream")
def stream() -> Response:
    def body() -> Iterator[str]:
        for number in range(5):
            time.sleep(0.002)
            if number == 3:
                state.STREAMED.append(request.args["name"])
            yield f"part {number}\n"

    return Response(stream_with_context(body()), mimetype="text/plain")


@app.get("/scope")
def scope() -> Response:
    found = dict(session().metadata)
    session().metadata["name"] = request.args["name"]
    time.sleep(0.005)
    return jsonify({"found": found, "kept": dict(session().metadata)})


@app.get("/leaks")
def leaks() -> Response:
    return jsonify([leak.to_dict() for leak in guard.leaks])
