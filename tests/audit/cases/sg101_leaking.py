"""Module-level containers changed by request code."""

import collections
import heapq
from collections import defaultdict, deque
from typing import Any

from fastapi import FastAPI

app = FastAPI()

HISTORY = []
LAST: dict[str, Any] = {}
RECENT = deque(maxlen=100)
BY_TOPIC = defaultdict(list)
QUEUE = []
TAGS = set()
ORDERED = collections.OrderedDict()
NESTED = {"default": {"messages": []}}
BUFFER = bytearray(16)
LOADED: list[str] = open("x").read().split()


@app.post("/chat")
async def chat(message: str):
    HISTORY.append(message)  # finding: SG101
    LAST["message"] = message  # finding: SG101
    return HISTORY


@app.get("/recent")
def recent(query: str):
    RECENT.appendleft(query)  # finding: SG101
    BY_TOPIC["all"].append(query)  # finding: SG101
    return list(RECENT)


@app.post("/jobs")
def job(payload: dict):
    heapq.heappush(QUEUE, payload)  # finding: SG101
    TAGS.update(payload)  # finding: SG101
    return len(QUEUE)


@app.get("/ordered")
def ordered(name: str):
    ORDERED.update(last=name)  # finding: SG101
    NESTED["default"]["messages"].append(name)  # finding: SG101
    BUFFER[0:4] = name.encode()  # finding: SG101
    LOADED.insert(0, name)  # finding: SG101


@app.get("/reset")
def forget():
    HISTORY.clear()  # also: SG101
