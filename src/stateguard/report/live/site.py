"""What each address of the live page answers: a form, the page, its data. Knows no protocol."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from http import HTTPStatus
from importlib.resources import files
from urllib.parse import parse_qs

from stateguard.errors import ConfigError
from stateguard.report.html import content_hash, render
from stateguard.report.live.entry import Entry
from stateguard.report.live.feed import Feed

logger = logging.getLogger("stateguard")

LONGEST_FORM = 10_000
"""Bytes of a form that are read."""

_HEADERS = (
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Robots-Tag", "noindex"),
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, as far as it matters. ``root`` is where the page is mounted, without a slash at its end."""

    method: str
    path: str
    root: str
    query: str
    authorization: str
    cookies: str
    secure: bool
    form: bytes = b""


@dataclass(frozen=True, slots=True)
class Answer:
    """A status, headers and a body."""

    status: HTTPStatus
    headers: list[tuple[str, str]]
    body: bytes


class Site:
    """The live page behind its token."""

    def __init__(self, entry: Entry, feed: Feed, title: str) -> None:
        self._entry = entry
        self._feed = feed
        self._title = title

    def answer(self, asked: Asked) -> Answer:
        """Answer a request. Never raises: what goes wrong is logged and is a 500."""
        try:
            return self._answer(asked)
        except ConfigError as error:  # a Redis that is away
            logger.warning("stateguard's live page: %s", error)
            return _text(HTTPStatus.SERVICE_UNAVAILABLE, "The place where leaks are kept does not answer.")
        except Exception:
            logger.exception("stateguard's live page has failed")
            return _text(HTTPStatus.INTERNAL_SERVER_ERROR, "The page has failed; the log says why.")

    def _answer(self, asked: Asked) -> Answer:
        page = asked.path.strip("/")
        if page == "enter" and asked.method == "POST":
            return self._enter(asked)
        if page not in ("", "data"):
            return _text(HTTPStatus.NOT_FOUND, "There is nothing here.")
        if asked.method not in ("GET", "HEAD"):
            return _text(HTTPStatus.METHOD_NOT_ALLOWED, "Only GET.", ("Allow", "GET, HEAD"))
        if not self._entry.knows(asked.authorization, asked.cookies):
            if page:
                return _text(HTTPStatus.UNAUTHORIZED, "The token is missing.", ("WWW-Authenticate", "Bearer"))
            return self._form(HTTPStatus.UNAUTHORIZED, asked)
        if page:
            since = parse_qs(asked.query).get("since", [""])[0]
            data = json.dumps(self._feed.since(since), ensure_ascii=True, separators=(",", ":"))
            return _made(HTTPStatus.OK, "application/json", data)
        if not asked.path.endswith("/"):  # the page's own addresses are relative to the one it has
            return _moved(f"{asked.root}/")
        return _made(HTTPStatus.OK, "text/html; charset=utf-8", render([], self._title, live=True))

    def _enter(self, asked: Asked) -> Answer:
        fields = parse_qs(asked.form.decode("utf-8", "replace"))
        if not self._entry.admits(fields.get("token", [""])[0].strip()):
            return self._form(HTTPStatus.FORBIDDEN, asked, "This is not the token.")
        moved = _moved(f"{asked.root}/")
        moved.headers.append(("Set-Cookie", self._entry.cookie(asked.root or "/", asked.secure)))
        return moved

    def _form(self, status: HTTPStatus, asked: Asked, says: str = "") -> Answer:
        from jinja2 import Environment
        from markupsafe import Markup

        def part(name: str) -> str:
            return files("stateguard.report").joinpath("templates", name).read_text("utf-8")

        style = part("enter.css")
        page = Environment(autoescape=True).from_string(part("enter.html"))
        body = page.render(
            title=self._title,
            says=says,
            action=f"{asked.root}/enter",
            style=Markup(style),
            style_hash=Markup(content_hash(style)),
        )
        return _made(status, "text/html; charset=utf-8", body)


def _made(status: HTTPStatus, kind: str, body: str, *more: tuple[str, str]) -> Answer:
    data = body.encode("utf-8", "backslashreplace")
    headers = [("Content-Type", kind), ("Content-Length", str(len(data))), *_HEADERS, *more]
    return Answer(status, headers, data)


def _text(status: HTTPStatus, words: str, *more: tuple[str, str]) -> Answer:
    return _made(status, "text/plain; charset=utf-8", words + "\n", *more)


def _moved(where: str) -> Answer:
    return _text(HTTPStatus.SEE_OTHER, "Go on.", ("Location", where))
