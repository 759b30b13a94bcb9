"""What to send, and the bounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from stateguard.errors import ConfigError
from stateguard.probe.requests import Template

LONGEST = 86_400.0
"""Seconds that a probe may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """``shared`` lists requests whose answers and data are meant for everybody (globs); ``headers`` are added
    to every request; ``requests`` and ``seconds`` bound everything.
    """

    templates: Sequence[Template]
    users: int = 8
    requests: int = 200
    seconds: float = 30.0
    answer_seconds: float = 10.0
    shared: Sequence[str] = ()
    headers: Sequence[tuple[str, str]] = ()
    seed: int = 0

    def ready(self) -> Plan:
        """The plan with everything applied to its templates, logins first.

        Raises :class:`~stateguard.errors.ConfigError` for a plan that can prove nothing.
        """
        if self.users < 2:
            raise ConfigError("a bleed needs two users: --users 2 or more")
        if not 0 <= self.seconds <= LONGEST:
            raise ConfigError(f"--max-seconds {self.seconds:g} is not between 0 and {LONGEST:g}")
        if not self.templates:
            raise ConfigError('no requests: give --request \'POST /chat {"message": "{canary}"}\'')
        templates = [
            replace(
                template,
                headers=(*template.headers, *self.headers),
                shared=template.shared or any(template.matches(glob) for glob in self.shared),
            )
            for template in sorted(self.templates, key=lambda template: not template.once)
        ]
        if not any(template.marked for template in templates):
            raise ConfigError("no request carries a canary: write {canary} where a user's data goes")
        for glob in self.shared:
            if not any(template.matches(glob) for template in templates):
                raise ConfigError(f"--shared {glob!r} matches none of the requests")
        if self.requests < self.users * len(templates):
            raise ConfigError(
                f"{self.requests} requests are too few for {self.users} users and {len(templates)} "
                f"requests each: allow {self.users * len(templates)}, or fewer --users"
            )
        return replace(self, templates=tuple(templates), headers=(), shared=())

    def notes(self) -> list[str]:
        """What a reader of the verdict should know of the plan."""
        names = dict.fromkeys(template.credentials for template in self.templates if template.credentials)
        return [
            f"every user sends the same {name} header: where it says who somebody is, all users are one, and "
            "seeing each other's data is no bleed. Give each its own: {user}, --login, or --save"
            for name in names
        ]
