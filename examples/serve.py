"""Serve one of the example services until standard input closes, then write down what its guard found.

``python -m examples.serve examples.chat_starlette.leaking.app --findings found.json``: an ASGI application
runs under uvicorn, a WSGI application under waitress. The first line printed is the port the system chose.
"""

from __future__ import annotations

import _thread
import argparse
import importlib
import json
import logging
import signal
import socket
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import flask
import uvicorn
import waitress


def main() -> None:
    """Import the service, serve it, write the findings."""
    parser = argparse.ArgumentParser(description="Serve an example until standard input closes.")
    parser.add_argument("module", help="the module that holds `app` and `guard`")
    parser.add_argument("--findings", type=Path, help="where to write the guard's findings as JSON")
    options = parser.parse_args()
    # All that is needed to see the guard's reports: they are ordinary log messages.
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", level=logging.WARNING)
    module = importlib.import_module(options.module)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        serve(module.app, listener)
    if options.findings:
        leaks = [leak.to_dict() for leak in module.guard.leaks]
        options.findings.write_text(json.dumps({"leaks": leaks, "summary": module.guard.summary()}))


def serve(app: Any, listener: socket.socket, *, threads: int = 20) -> None:
    """Run the server that fits the application, in this thread, until standard input closes."""
    if isinstance(app, flask.Flask):
        serve_wsgi(app, listener, threads=threads)
    else:
        serve_asgi(app, listener)


def serve_wsgi(app: Any, listener: socket.socket, *, threads: int = 20) -> None:
    """Run waitress in this thread until standard input closes."""
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # it warns at each request that waits
    server = waitress.create_server(app, sockets=[listener], threads=threads)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts with `&` ignores it
    with suppress(KeyboardInterrupt):  # run() returns on that, once it has begun
        threading.Thread(target=_interrupt_at_end_of_input, daemon=True).start()
        server.run()


def serve_asgi(app: Any, listener: socket.socket) -> None:
    """Run uvicorn in this thread until standard input closes."""
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))
    threading.Thread(target=_exit_at_end_of_input, args=(server,), daemon=True).start()
    server.run(sockets=[listener])


def _exit_at_end_of_input(server: uvicorn.Server) -> None:
    sys.stdin.read()
    server.should_exit = True


def _interrupt_at_end_of_input() -> None:
    sys.stdin.read()
    _thread.interrupt_main()


if __name__ == "__main__":
    main()
