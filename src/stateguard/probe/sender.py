"""One user of the probe: sends its steps one after the other, and keeps what a browser would keep."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stateguard.probe.answer import Answer
    from stateguard.probe.canary import Canaries
    from stateguard.probe.requests import Template


class Sender:
    """A user: its number, its cookies, what it has saved and what it has sent."""

    def __init__(self, user: int, canaries: Canaries) -> None:
        self.user = user
        self._canaries = canaries
        self._cookies: dict[str, str] = {}
        self._saved: dict[str, str] = {}
        self._templates: list[Template] = []

    def prepare(self, template: Template) -> tuple[Template, list[tuple[str, str]], int]:
        """The next request, with its headers and its number."""
        number = len(self._templates)
        self._templates.append(template)
        values = {
            "canary": self._canaries.of(self.user, number),
            "user": f"user{self.user}",
            **self._saved,
        }
        request = template.fill(values)
        own = dict(self._cookies)
        headers = [("x-request-id", request_id(self.user, number))]
        for name, value in request.headers:
            if name == "cookie":
                own.update(pair.strip().partition("=")[::2] for pair in value.split(";") if pair.strip())
            else:
                headers.append((name, value))
        if own:
            headers.append(("cookie", "; ".join(f"{name}={value}" for name, value in own.items())))
        return request, headers, number

    def sent(self, number: int) -> tuple[str, bool]:
        """What a request was, by its number, and whether its data is meant for everybody."""
        if 0 <= number < len(self._templates):
            return self._templates[number].name, self._templates[number].shared
        return "one of its requests", False

    def take(self, template: Template, answer: Answer) -> None:
        """Keep what the answer gives the user."""
        answer.update_cookies(self._cookies)
        for name, path in template.save:
            value = answer.value(path)
            if value is not None:
                self._saved[name] = value


def request_id(user: int, number: int) -> str:
    """The ``X-Request-ID`` of a user's request: what the guard calls it."""
    return f"probe-user{user}-{number}"
