"""What is never shown, not even by a guard that shows values: credentials, known by name or by form."""

from __future__ import annotations

import re
from functools import cache

HIDDEN = "<redacted>"
"""Stands for a credential."""

_NAMES = (
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "api_key",
    "apikey",
    "access_key",
    "private_key",
    "authorization",
    "cookie",
    "credential",
    "session_key",
)

_WORDS = frozenset(
    {"auth", "pwd", "pin", "otp", "cvv", "ssn", "sid", "session_id", "sessionid", "jwt", "bearer"}
)

_PART = r"[A-Za-z0-9_-]+"

_FORM = (
    r"(?i:\b(?:bearer|basic|token)\s+[A-Za-z0-9+/=_.~-]{8,})"  # as in an Authorization header
    r"|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}"  # JSON web token
    r"|\b(?:sk|pk|rk)[-_][A-Za-z0-9_-]{16,}"  # OpenAI, Anthropic, Stripe
    r"|\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_\w{20,}|\bglpat-[\w-]{16,}"
    r"|\bxox[abeprs]-[\w-]{10,}"  # Slack
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"  # AWS
    r"|\bAIza[\w-]{30,}"  # Google
    r"|-----BEGIN [A-Z ]*PRIVATE KEY"
    r"|://[^\s/:@]+:[^\s/@]+@"  # an address with its password
    r"|(?i:(?:password|passwd|secret|api_?key|token)\s*[=:]\s*\S)"
)

EXAMINED = 4096
"""Characters of a text that are looked at for the form of a credential."""


def is_secret_name(name: object) -> bool:
    """Whether a key or attribute name says that its value is a credential."""
    if type(name) is bytes:
        name = name.decode("latin-1")
    if type(name) is not str:
        return False
    plain = name[:200].lower().replace("-", "_")
    return any(word in plain for word in _NAMES) or plain in _WORDS


def names_a_secret(path: str) -> bool:
    """Whether a part of a path, such as ``app.CLIENT.headers['Authorization']``, is such a name."""
    return any(map(is_secret_name, re.findall(_PART, path)))


@cache
def _form() -> re.Pattern[str]:
    return re.compile(_FORM)  # not before there is something to show: it takes longer than all else in here


def looks_like_credential(text: str | bytes) -> bool:
    """Whether a text has the form of a credential, or holds one."""
    start = text[:EXAMINED]
    return _form().search(start.decode("latin-1") if isinstance(start, bytes) else start) is not None


def concealed(preview: str) -> str:
    """A preview of what may be a credential."""
    return preview if preview in ("absent", "None") else HIDDEN


def without(text: str, credentials: frozenset[str]) -> str:
    """``text`` in which the given credentials, or the beginnings of long ones, are hidden."""
    for secret in sorted(credentials, key=len, reverse=True):
        for form in {secret, repr(secret)[1:-1]}:
            text = text.replace(form, HIDDEN)
            if len(form) > 24 and form[:24] in text:
                text = re.sub(re.escape(form[:24]) + r"[^\s'\"]*", HIDDEN, text)
    return text
