"""The main job: a leaking chat service under load with the guard on, then its repaired twin.

``python -m examples`` runs the Starlette service under uvicorn; ``python -m examples flask`` runs the Flask
service under waitress. Exits with 0 when every fault was found in the first and nothing bled in the second.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from contextlib import ExitStack

import httpx
from rich.console import Console

from examples import show
from examples.load import Reply, converse
from examples.messages_api import MessagesAPI
from examples.outcome import Outcome
from examples.service import Service, ServiceError

SERVICES = {
    "starlette": ("examples.chat_starlette.leaking.app", "examples.chat_starlette.repaired.app"),
    "flask": ("examples.chat_flask.leaking", "examples.chat_flask.repaired"),
}
SERVERS = {"starlette": "uvicorn", "flask": "waitress, 20 threads"}


def main(arguments: list[str] | None = None) -> int:
    """Run both services and show what happened; the exit code says whether it was as expected."""
    parser = argparse.ArgumentParser(prog="python -m examples", description=__doc__.partition("\n")[0])
    parser.add_argument("service", nargs="?", choices=SERVICES, default="starlette")
    options = parser.parse_args(arguments)
    console = Console(highlight=False)
    try:
        return show_both(console, options.service)
    except (ServiceError, TimeoutError, httpx.HTTPError) as error:
        console.print(
            f"✘ The services could not be run: {error or type(error).__name__}",
            style="bold red",
            markup=False,
        )
        return 1


def show_both(console: Console, service: str) -> int:
    """The leaking service, then its repaired twin; 0 if both did as expected."""
    leaking, repaired = SERVICES[service]
    started = time.monotonic()
    with ExitStack() as stack:
        if os.environ.get("ANTHROPIC_API_KEY"):
            api, environment = None, {}
        else:
            api = stack.enter_context(MessagesAPI())
            environment = {"ANTHROPIC_BASE_URL": api.url, "ANTHROPIC_API_KEY": "local"}
        show.opening(console, service, SERVERS[service], api.url if api else None)
        before = run(console, leaking, environment, api)
        show.bleeding(console, before)
        show.reports(console, before)
        show.leaks(console, before)
        console.rule("[bold]2 · the repaired twin[/]", align="left")
        after = run(console, repaired, environment, api)
    good = before.bled and before.all_faults_found and after.clean
    show.verdict(console, before, after, good, time.monotonic() - started)
    return 0 if good else 1


def run(console: Console, module: str, environment: dict[str, str], api: MessagesAPI | None) -> Outcome:
    """Serve ``module``, hold the conversations, and return what came of it."""
    if api is not None:
        api.received.clear()
    with show.progress(console) as on_reply, Service(module, environment) as service:
        replies: list[Reply] = asyncio.run(converse(service.url, on_reply))
    received = () if api is None else tuple(api.received)
    return Outcome(module, tuple(replies), service.findings, service.log, received)


if __name__ == "__main__":
    sys.exit(main())
