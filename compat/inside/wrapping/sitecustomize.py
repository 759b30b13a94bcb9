"""Imported by every Python process of a wrapped run: waits for frameworks and servers, and guards them."""

from __future__ import annotations

import guard_everything

guard_everything.install()
