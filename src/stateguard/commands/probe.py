"""``stateguard probe``: options, live progress, output, exit code."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import click
from rich.console import Console
from rich.live import Live
from rich.text import Text

from stateguard.errors import ConfigError
from stateguard.guard import Guard
from stateguard.leak import Leak
from stateguard.probe.requests import parse
from stateguard.probe.run import Plan, Run, add_carriers
from stateguard.probe.sources import from_openapi, read_file
from stateguard.probe.targets import HTTPTarget, Target, app_target, protocol_of
from stateguard.probe.verdict import EXIT_CODES, Result

_COLOURS = {
    "LEAK": "bold red",
    "PASS": "bold green",
    "INCONCLUSIVE": "bold yellow",
    "INVALID": "bold magenta",
}


@click.command()
@click.argument("target")
@click.option("-r", "--request", "requests", multiple=True, metavar="'METHOD /path [BODY]'",
              help="A request; {canary} stands for a user's data. Repeatable: a conversation.")  # fmt: skip
@click.option("--login", "logins", multiple=True, metavar="'METHOD /path [BODY]'",
              help="A request that each user sends once, first; its cookies are kept.")  # fmt: skip
@click.option("--requests-file", type=click.Path(path_type=Path, dir_okay=False),
              help="Requests from YAML, JSON, HAR or OpenAPI.")  # fmt: skip
@click.option("--openapi", is_flag=True, help="In process: requests from the application's own schema.")
@click.option("--users", default=8, show_default=True, help="Users at the same time.")
@click.option("--max-requests", default=200, show_default=True, help="Requests in all.")
@click.option("--max-seconds", default=30.0, show_default=True, help="Time in all.")
@click.option("--shared", multiple=True, metavar="GLOB", help="Requests whose answer is meant for everybody.")
@click.option("--seed", default=0, show_default=True, help="Seed of the order in which users start.")
@click.option("--wsgi", "protocol", flag_value="wsgi", help="The application is WSGI.")
@click.option("--asgi", "protocol", flag_value="asgi", help="The application is ASGI.")
@click.option("--no-guard", is_flag=True, help="In process: do not run the guard, which names the carrier.")
@click.option("--allow-host", metavar="HOST", help="Send to this host although it is not this machine.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option("--junit", type=click.Path(path_type=Path, dir_okay=False), help="Write a JUnit report.")
def probe(
    target: str,
    requests: tuple[str, ...],
    logins: tuple[str, ...],
    requests_file: Path | None,
    openapi: bool,
    users: int,
    max_requests: int,
    max_seconds: float,
    shared: tuple[str, ...],
    seed: int,
    protocol: str | None,
    no_guard: bool,
    allow_host: str | None,
    as_json: bool,
    junit: Path | None,
) -> int:
    """Prove that one user's data reaches another: TARGET is http://127.0.0.1:8000 or myapp:app.

    Exit code: 0 PASS, 1 LEAK, 2 INVALID or a usage error, 3 INCONCLUSIVE.
    """
    templates = [parse(text, once=True) for text in logins] + [parse(text) for text in requests]
    if requests_file is not None:
        templates += read_file(requests_file)
    errors = Console(stderr=True, highlight=False)
    guard: Guard | None = None
    chosen: Target
    if target.startswith(("http://", "https://")):
        chosen = HTTPTarget(target, allow_host)
        if allow_host:
            errors.print(
                f"Sending up to {max_requests} requests as {users} users to {target} "
                f"within {max_seconds:g} seconds."
            )
    else:
        app = _load(target)
        if openapi:
            if not callable(getattr(app, "openapi", None)):
                raise ConfigError(f"{target} has no openapi(): only FastAPI applications have")
            templates += from_openapi(app.openapi())
        if not no_guard:
            guard = Guard(locate="always", on_leak=_quiet)
        kind = protocol or protocol_of(app)
        if guard is not None:
            app = guard.wsgi(app) if kind == "wsgi" else guard.asgi(app)
        chosen = app_target(app, kind)
    plan = Plan(
        templates=templates,
        users=users,
        requests=max_requests,
        seconds=max_seconds,
        shared=shared,
        seed=seed,
    )
    started = time.monotonic()
    with Live(console=errors, transient=True, auto_refresh=False) as live:

        def show(result: Result) -> None:
            if errors.is_terminal:
                live.update(_status(result, plan, time.monotonic() - started), refresh=result.sent % 10 == 0)

        try:
            result = asyncio.run(Run(chosen, plan, show).run())
        finally:
            if guard is not None:
                guard.close()
    if guard is not None:
        add_carriers(result, guard)
    if junit is not None:
        junit.write_text(_junit(target, result), "utf-8")
    if as_json:
        click.echo(json.dumps({"target": target, **result.to_dict()}, indent=2))
    else:
        _print(result, Console(highlight=False, soft_wrap=True))
    return EXIT_CODES[result.verdict]


def _quiet(leak: Leak) -> None:
    """Shared state that changes is only evidence here: the verdict is on what came back."""


def _load(target: str) -> Any:
    """The application that ``module:attribute`` names, or that calling it makes (``module:make_app()``)."""
    module, _, path = target.partition(":")
    if not module or not path:
        raise ConfigError(f"{target!r} is neither an address nor module:attribute, such as myapp:app")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found: Any = import_module(module)
        for name in path.removesuffix("()").split("."):
            found = getattr(found, name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"cannot load {target}: {error}") from error
    return found() if path.endswith("()") else found


def _status(result: Result, plan: Plan, seconds: float) -> Text:
    rate = result.sent / seconds if seconds else 0.0
    so_far = "LEAK" if result.bled else f"no bleed so far, {len(result.controlled)} of {plan.users} controls"
    return Text(f"{result.sent}/{plan.requests} requests  {rate:.0f}/s  {result.errors} errors  {so_far}")


def _print(result: Result, console: Console) -> None:
    console.print(Text(result.verdict, _COLOURS[result.verdict]), Text(result.reason))
    seen = set()
    for bleed in result.bleeds:
        kind = (bleed.owner_request, bleed.reader_request, bleed.where)
        if kind in seen:
            continue
        seen.add(kind)
        console.print(Text(f"  {bleed}"))
        for carrier in bleed.carriers:
            console.print(Text(f"    carried by {carrier}"))
    console.print(
        Text(f"{result.sent} requests, {result.errors} errors, {result.seconds:.1f} seconds", "dim")
    )


def _junit(target: str, result: Result) -> str:
    kind = "failure" if result.verdict == "LEAK" else "error"
    inside = ""
    if result.verdict != "PASS":
        text = escape("\n".join(map(str, result.bleeds)) or result.reason)
        text = "".join(c for c in text if c.isprintable() or c == "\n")
        inside = f"<{kind} message={quoteattr(f'{result.verdict}: {result.reason}')}>{text}</{kind}>"
    failures, wrong = int(kind == "failure"), int(bool(inside) and kind == "error")
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        f'<testsuite name="stateguard probe" tests="1" failures="{failures}" errors="{wrong}">'
        f'<testcase classname="stateguard.probe" name={quoteattr(target)} time="{result.seconds:.3f}">'
        f"{inside}</testcase></testsuite>\n"
    )
