"""``stateguard probe``: options, and what is done with them."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import shlex
import sys
from pathlib import Path

import click
from rich.console import Console

from stateguard.commands.loading import load
from stateguard.commands.probe_output import LiveStatus, show, to_html, to_junit
from stateguard.errors import ConfigError, StateGuardError
from stateguard.probe.carriers import carriers
from stateguard.probe.explore import Explorer
from stateguard.probe.openapi import from_openapi
from stateguard.probe.plan import Plan
from stateguard.probe.requests import header, parse, saved
from stateguard.probe.run import Run
from stateguard.probe.service import HTTPTarget
from stateguard.probe.sources import read_file
from stateguard.probe.switches import from_token
from stateguard.probe.verdict import EXIT_CODES, Result
from stateguard.report.merge import read_leaks


@click.command(short_help="Prove that one user's data reaches another.")
@click.argument("target")
@click.option("-r", "--request", "requests", multiple=True, metavar="'METHOD /path [BODY]'",
              help="A request; {canary} stands for a user's data. Repeatable: a conversation.")  # fmt: skip
@click.option("--login", "logins", multiple=True, metavar="'METHOD /path [BODY]'",
              help="A request that each user sends once, first; its cookies are kept.")  # fmt: skip
@click.option("-H", "--header", "headers", multiple=True, metavar="'NAME: VALUE'",
              help="A header of every request; {canary} and {user} may stand in it.")  # fmt: skip
@click.option("--save", "saves", multiple=True, metavar="NAME=PATH",
              help="Keep a value of the logins' JSON answers (or 'header X') as {NAME}.")  # fmt: skip
@click.option("--requests-file", type=click.Path(path_type=Path, dir_okay=False),
              help="Requests from YAML, JSON, HAR or OpenAPI.")  # fmt: skip
@click.option("--openapi", is_flag=True, help="Requests from the application's own schema, or /openapi.json.")
@click.option("--users", default=8, show_default=True, help="Users at the same time.")
@click.option("--max-requests", default=200, show_default=True, help="Requests in all.")
@click.option("--max-seconds", default=30.0, show_default=True, help="Time in all.")
@click.option("--shared", multiple=True, metavar="GLOB",
              help="Requests whose data and answers are meant for everybody.")  # fmt: skip
@click.option("--seed", default=0, show_default=True, help="Seed of the interleavings.")
@click.option("--replay", metavar="TOKEN", help="In process: repeat the interleaving that a report gave.")
@click.option("--wsgi", "protocol", flag_value="wsgi", help="The application is WSGI.")
@click.option("--asgi", "protocol", flag_value="asgi", help="The application is ASGI.")
@click.option("--no-guard", is_flag=True, help="In process: do not run the guard, which names the carrier.")
@click.option("--leaks", metavar="DIRECTORY",
              help="Of a running service: where its guard reports to, to name the carrier.")  # fmt: skip
@click.option("--allow-host", metavar="HOST", help="Send to this host although it is not this machine.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option("--junit", type=click.Path(path_type=Path, dir_okay=False), help="Write a JUnit report.")
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False),
              help="Write a page that shows the bleed, users in lanes.")  # fmt: skip
def probe(
    target: str,
    requests: tuple[str, ...],
    logins: tuple[str, ...],
    headers: tuple[str, ...],
    saves: tuple[str, ...],
    requests_file: Path | None,
    openapi: bool,
    users: int,
    max_requests: int,
    max_seconds: float,
    shared: tuple[str, ...],
    seed: int,
    replay: str | None,
    protocol: str | None,
    no_guard: bool,
    leaks: str | None,
    allow_host: str | None,
    as_json: bool,
    junit: Path | None,
    html: Path | None,
) -> int:
    """Prove that one user's data reaches another: TARGET is http://127.0.0.1:8000 or myapp:app.

    Exit code: 0 PASS, 1 LEAK, 2 INVALID or a usage error, 3 INCONCLUSIVE.
    """
    keep = tuple(saved(text) for text in saves)
    templates = [dataclasses.replace(parse(text, once=True), save=keep) for text in logins]
    templates += [parse(text) for text in requests]
    if requests_file is not None:
        templates += read_file(requests_file)
    service = "://" in target
    if service and replay:
        raise ConfigError("--replay repeats an interleaving in process: a running service decides for itself")
    if leaks is not None and not service:
        raise ConfigError("--leaks is for a running service: in process, the guard is part of the probe")
    plan = Plan(
        templates=templates,
        users=users,
        requests=max_requests,
        seconds=max_seconds,
        shared=shared,
        headers=[header(text) for text in headers],
        seed=seed,
    )
    errors = Console(stderr=True, highlight=False)
    live = LiveStatus(errors, plan)
    if service:
        where = HTTPTarget(target, allow_host)
        if openapi:
            plan = dataclasses.replace(plan, templates=[*templates, *from_openapi(where.schema())])
        if allow_host:
            errors.print(
                f"Sending up to {max_requests} requests as {users} users to {target} "
                f"within {max_seconds:g} seconds."
            )
        run = Run(where, plan, live.show)
        with live:
            result = asyncio.run(run.run())
        if leaks is not None:
            _name_carriers(result, leaks)
    else:
        app = load(target)
        if openapi:
            if not callable(getattr(app, "openapi", None)):
                raise ConfigError(f"{target} has no openapi(): only FastAPI applications have")
            plan = dataclasses.replace(plan, templates=[*templates, *from_openapi(app.openapi())])
        explorer = Explorer(app, plan, protocol=protocol, guarded=not no_guard, progress=live.show)
        if replay:
            result = explorer.replay(from_token(replay, explorer.fingerprint))
        else:
            with live:
                result = explorer.run()
    again = _command(target)
    if as_json:
        click.echo(json.dumps({"target": target, **result.to_dict()}, indent=2))
    else:
        show(result, again, Console(highlight=False, soft_wrap=True))
    for file, page in ((junit, to_junit), (html, to_html)):
        if file is not None:
            _write(file, page(target, result, again))
    return EXIT_CODES[result.verdict]


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, "utf-8")
    except OSError as error:
        raise StateGuardError(f"cannot write {file}: {error.strerror or error}") from error


def _name_carriers(result: Result, place: str) -> None:
    """Say with each bleed what the guard inside of the service saw its owner write."""
    seen = [leak for each in read_leaks([place]).leaks.values() for leak in (each.leak, *each.occurrences)]
    result.bleeds = [
        dataclasses.replace(bleed, carriers=carriers(seen, bleed.owner, bleed.owner_number))
        for bleed in result.bleeds
    ]


def _command(target: str) -> str:
    """The command line less its ``--replay``: what goes before the token to repeat an interleaving."""
    words, left_out = [], False
    for word in sys.argv[sys.argv.index("probe") + 1 :] if "probe" in sys.argv else [target]:
        if left_out:
            left_out = False
        elif word in ("--replay", "--html", "--junit"):
            left_out = True
        elif not word.startswith(("--replay=", "--html=", "--junit=")) and word != "--json":
            words.append(word)
    return shlex.join(["stateguard", "probe", *words])
