"""Where the documentation explains a message. Short enough to stand at the end of it.

The page is ``docs/messages.md``; the tests see to it that every anchor which is pointed to is there.
"""

from __future__ import annotations

PAGE = "https://stateguard.readthedocs.io/messages"


def see(slug: str) -> str:
    """The address of what is said about ``slug``: a kind of leak, an error, a message of the guard."""
    return f"{PAGE}/#{slug.lower().replace(' ', '-')}"
