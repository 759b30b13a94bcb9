"""Canaries: unguessable marks that say whose data this is, wherever it turns up."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass

_MARK = re.compile(rb"sgc([0-9a-f]{16})([0-9a-f]{4})")


@dataclass(frozen=True, slots=True)
class Found:
    """One canary in a piece of data: whose, from which of its requests, at which byte."""

    user: int
    request: int
    at: int


class Canaries:
    """The canaries of one run: 64 random bits per user, and the number of the user's request.

    Lower-case hexadecimal, so that quoting, JSON and a change of case leave them readable.
    """

    def __init__(self, users: int) -> None:
        self._secrets = [secrets.token_hex(8) for _ in range(users)]
        self._owner = {secret.encode(): user for user, secret in enumerate(self._secrets)}

    def of(self, user: int, request: int) -> str:
        """The canary of a user's request, counted from 0."""
        return f"sgc{self._secrets[user]}{request:04x}"

    def find(self, data: bytes) -> list[Found]:
        """Every canary of this run in ``data``."""
        found = []
        for match in _MARK.finditer(data.lower()):
            owner = self._owner.get(match[1])
            if owner is not None:
                found.append(Found(owner, int(match[2], 16), match.start()))
        return found
