"""One Messages API client for the whole process: its connection pool is worth sharing."""

from __future__ import annotations

import os

from anthropic import AsyncAnthropic, DefaultAsyncHttpxClient

MODEL = os.environ.get("CHAT_MODEL", "claude-haiku-4-5")

# FAULT: the requests write the signed-in customer into the headers that all of them share.
HTTP = DefaultAsyncHttpxClient()
CLIENT = AsyncAnthropic(http_client=HTTP)
