"""The shared state that the applications of these tests write to; nothing else is watched."""

HISTORY: list[str] = []
STREAMED: list[str] = []
LATER: list[str] = []
SOCKETS: list[str] = []
TABLE = {"first": ["constant"], "second": ["constant"]}
