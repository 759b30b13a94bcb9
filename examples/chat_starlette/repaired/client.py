"""One Messages API client for the whole process: its connection pool is worth sharing."""

from __future__ import annotations

import os

from anthropic import AsyncAnthropic

MODEL = os.environ.get("CHAT_MODEL", "claude-haiku-4-5")

# REPAIRED: nobody writes to the shared client; what belongs to one call goes with that call (extra_headers).
CLIENT = AsyncAnthropic()
