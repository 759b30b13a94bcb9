"""Django app: ``INSTALLED_APPS = ["stateguard.integrations.django", ...]`` guards every request.

``STATEGUARD = {"watch": ["myproject.*"]}`` in the settings holds the options of :class:`stateguard.Guard`,
and ``store``, ``session_id``, ``user_id``; the environment wins over it. Django's WSGI and ASGI handlers are
guarded where servers call them, so ``runserver``, ``wsgi.py`` and ``asgi.py`` stay as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stateguard.guard import Guard


def get_guard() -> Guard:
    """The guard of this process. Raises ``LookupError`` when the app is not installed or not ready."""
    from django.apps import apps

    guard: Guard | None = apps.get_app_config("stateguard").guard
    if guard is None:
        raise LookupError("stateguard is not ready: Django has not finished django.setup()")
    return guard
