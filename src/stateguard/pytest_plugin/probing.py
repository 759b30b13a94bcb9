"""The probe inside of a test."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from stateguard.probe.explore import Explorer
from stateguard.probe.openapi import from_openapi
from stateguard.probe.plan import Plan
from stateguard.probe.requests import Template, header, parse, saved
from stateguard.probe.sources import read_file
from stateguard.probe.switches import from_token
from stateguard.probe.telling import tell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stateguard.probe.verdict import Result


def probe(
    app: Any,
    *requests: str | Template,
    login: Sequence[str] = (),
    save: Sequence[str] = (),
    headers: Sequence[str] = (),
    requests_file: str | Path | None = None,
    openapi: bool = False,
    replay: str | None = None,
    protocol: str | None = None,
    guarded: bool = True,
    check: bool = True,
    **options: Any,
) -> Result:
    """Probe an ASGI or WSGI application; fail the test unless the verdict is ``PASS``.

    ``login``, ``save``, ``headers``, ``requests_file`` and ``openapi`` are what the options of the command of
    the same names are, ``replay`` repeats one interleaving; ``users``, ``max_requests``, ``max_seconds``,
    ``shared`` and ``seed`` are those of the command as well. The application runs in forked children where
    there is ``fork``: what it does there, the test does not see. ``check=False`` returns the result instead.
    """
    for name in ("requests", "seconds"):
        if f"max_{name}" in options:
            options[name] = options.pop(f"max_{name}")
    keep = tuple(saved(text) for text in save)
    templates = [replace(parse(text, once=True), save=keep) for text in login]
    templates += [parse(each) if isinstance(each, str) else each for each in requests]
    if requests_file is not None:
        templates += read_file(Path(requests_file))
    if openapi:
        templates += from_openapi(app.openapi())
    plan = Plan(templates=templates, headers=[header(text) for text in headers], **options)
    explorer = Explorer(app, plan, protocol=protocol, guarded=guarded)
    script = None if replay is None else from_token(replay, explorer.fingerprint)
    result = explorer.run() if script is None else explorer.replay(script)
    if check and result.verdict != "PASS":
        lines = tell(result, lambda token: f'stateguard_probe(..., replay="{token}")')
        pytest.fail("\n".join([f"{result.verdict}: {result.reason}", *lines]), pytrace=False)
    return result
