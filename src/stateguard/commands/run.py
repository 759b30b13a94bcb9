"""``stateguard run``: options, then the command itself."""

from __future__ import annotations

import os

import click

from stateguard.config import load_config
from stateguard.leak import SEVERITIES
from stateguard.report.destinations import LIBRARIES, is_redis
from stateguard.run.launch import launch

MODES = ("off", "scope-only", "log", "raise", "restore")


@click.command(
    short_help="Start a server with a guard around its application.",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.option(
    "--watch", "-w", multiple=True, metavar="MODULE",
    help="A module or package to watch, with everything in it [default: all first-party modules].",
)  # fmt: skip
@click.option("--mode", type=click.Choice(MODES), help="What to do [default: $STATEGUARD_MODE, or log].")
@click.option("--allow", multiple=True, metavar="PATH", help="State that requests may change; with globs.")
@click.option("--threshold", type=click.Choice(SEVERITIES), help="Alarm from this severity on.")
@click.option("--warm-up", metavar="N|Ns", help="Say nothing of each worker's first N requests or seconds.")
@click.option(
    "--report-to", multiple=True, metavar="PLACE",
    help="Where every leak goes: a directory, redis://..., otel, prometheus, sentry. Repeatable.",
)  # fmt: skip
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(
    watch: tuple[str, ...],
    mode: str | None,
    allow: tuple[str, ...],
    threshold: str | None,
    warm_up: str | None,
    report_to: tuple[str, ...],
    command: tuple[str, ...],
) -> None:
    """Start COMMAND with a guard around the application that it serves, in every worker.

    No change to the application's code is needed:

        stateguard run --watch myapp -- uvicorn myapp:app --workers 4

    Works with uvicorn, hypercorn, gunicorn, flask run, manage.py runserver, waitress-serve, gevent's
    pywsgi, and any Python program that starts one of these.
    """
    given = {
        "watch": ",".join(watch),
        "mode": mode or "",
        "allow": ",".join(allow),
        "threshold": threshold or "",
        "warm_up": warm_up or "",
        "report_to": ",".join(map(_absolute, report_to)),
    }
    options = {name: value for name, value in given.items() if value}
    _check(options)
    launch(command, options)


def _absolute(place: str) -> str:
    """A directory as workers find it, wherever they are."""
    return place if is_redis(place) or place in LIBRARIES else os.path.abspath(place)


def _check(options: dict[str, str]) -> None:
    """Refuse now what every worker would refuse later. Raises ``ConfigError``."""
    before = dict(os.environ)
    os.environ.update({f"STATEGUARD_{name.upper()}": value for name, value in options.items()})
    try:
        load_config({})
    finally:
        os.environ.clear()
        os.environ.update(before)
