"""Where the repaired services keep conversations: in a database, by customer, not in the process.

A module global is gone at the next deployment, is different in every worker process, and belongs to
everybody. A row belongs to one customer.
"""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from typing import Any

DATABASE = os.environ.get("CHAT_DB", "conversations.sqlite3")
_SCHEMA = "CREATE TABLE IF NOT EXISTS said (id INTEGER PRIMARY KEY, customer TEXT, kind TEXT, content TEXT)"


def load(customer: str, kind: str) -> list[Any]:
    """What was kept for ``customer`` under ``kind`` (``"message"`` or ``"note"``), oldest first."""
    with closing(_connect()) as database:
        query = "SELECT content FROM said WHERE customer = ? AND kind = ? ORDER BY id"
        return [json.loads(content) for (content,) in database.execute(query, (customer, kind))]


def keep(customer: str, kind: str, content: Any) -> None:
    """Keep one more item for ``customer``."""
    with closing(_connect()) as database, database:
        database.execute(
            "INSERT INTO said (customer, kind, content) VALUES (?, ?, ?)",
            (customer, kind, json.dumps(content)),
        )


def _connect() -> sqlite3.Connection:
    database = sqlite3.connect(DATABASE, timeout=10)
    database.execute(_SCHEMA)
    return database
