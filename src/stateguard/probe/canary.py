"""Canaries: unguessable marks that say whose data this is, wherever it turns up."""

from __future__ import annotations

import base64
import re
import secrets
from dataclasses import dataclass

_MARK = re.compile(rb"sgc([0-9a-f]{16})([0-9a-f]{4})?")
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]+")

LENGTH = 23
"""Characters of a canary."""


@dataclass(frozen=True, slots=True)
class Found:
    """One canary in a piece of data: whose, from which of its requests (-1: cut off), at which byte.

    ``form`` is ``""``, or the encoding in which it was found.
    """

    user: int
    request: int
    at: int
    form: str = ""


class Canaries:
    """The canaries of one run: 64 random bits per user, and the number of the user's request.

    Lower-case hexadecimal, so that quoting, JSON, HTML and a change of case leave them readable. A text that
    was cut off after the random bits still says whose it is. Base64 (a token, a cookie) and hexadecimal are
    read as well.
    """

    def __init__(self, users: int) -> None:
        self._secrets = [secrets.token_hex(8) for _ in range(users)]
        self._owner = {secret.encode(): user for user, secret in enumerate(self._secrets)}
        # What base64 makes of the constant part, at each of the three ways it can be aligned, less the ends
        # that depend on what stands beside it.
        self._encoded: list[tuple[int, int, bytes, str]] = []
        for user, secret in enumerate(self._secrets):
            fixed = f"sgc{secret}".encode()
            for shift in range(3):
                whole = base64.b64encode(b"\0" * shift + fixed)
                self._encoded.append(
                    (user, shift, whole[-(-8 * shift // 6) : len(whole) // 4 * 4 - 4], "base64")
                )
            self._encoded.append((user, 0, fixed.hex().encode(), "hexadecimal"))

    def of(self, user: int, request: int) -> str:
        """The canary of a user's request, counted from 0."""
        return f"sgc{self._secrets[user]}{request & 0xFFFF:04x}"

    def find(self, data: bytes) -> list[Found]:
        """Every canary of this run in ``data``."""
        found = []
        for match in _MARK.finditer(data.lower()):
            owner = self._owner.get(match[1])
            if owner is not None:
                found.append(Found(owner, int(match[2], 16) if match[2] else -1, match.start()))
        for user, shift, needle, form in self._encoded:
            at = data.find(needle)
            while at >= 0:
                found.append(Found(user, _number(data, at, shift, form), at, form))
                at = data.find(needle, at + 1)
        return found


def _number(data: bytes, at: int, shift: int, form: str) -> int:
    """Which request an encoded canary is of, if the rest of it is there; -1 if not."""
    if form == "hexadecimal":
        try:
            return int(bytes.fromhex(data[at + 38 : at + 46].decode("ascii")), 16)
        except ValueError:
            return -1
    # The needle leaves out the characters that share bits with what stands before: on to the next group,
    # which begins `lost` characters into the canary.
    skip, lost = ((0, 0), (2, 2), (1, 1))[shift]
    run = _BASE64.match(data[at + skip : at + skip + 36])
    if run is None:
        return -1
    text = run[0].replace(b"-", b"+").replace(b"_", b"/")
    try:
        plain = base64.b64decode(text + b"=" * (-len(text) % 4))
        return int(plain[19 - lost : 23 - lost].decode("ascii"), 16)
    except ValueError:
        return -1
