"""Roundabout ways to reach a shared object, and lookalikes that touch nothing shared."""

import functools
import operator
from collections import ChainMap, defaultdict, deque

from fastapi import FastAPI

app = FastAPI()

WALRUS = []
MATCHED = []
TUPLED = []
OTHER = []
UNPACKED = []
LOOPED_A = []
LOOPED_B = []
TERNARY = []
UNBOUND = []
DUNDER = []
BOUND = []
MAPPED = []
PARTIAL = []
OPERATOR = {}
COMPREHENDED = []
LAMBDA = []
DEFAULTS = defaultdict(list)
LAST = deque(maxlen=10)
LAYERS = ChainMap({}, {})
SLICED = [0, 0, 0]
MERGED = {}
NESTED = {"users": {"all": []}}
WITH = []
STARRED = []
CONDITIONAL = None
GETTER = []


@app.post("/walrus")
def walrus(message: str):
    if (h := WALRUS) is not None:
        h.append(message)  # finding: SG101


@app.post("/match")
def matched(message: str):
    match MATCHED:
        case list() as h:
            h.append(message)  # finding: SG101


@app.post("/match-capture")
def match_capture(message: str):
    match {"kind": "text", "text": message}:
        case {"kind": str(), "text": text}:
            parts = []
            parts.append(text)
            return parts
    return None


@app.post("/tuple")
def tupled(message: str):
    mine, other = TUPLED, []
    other.append(message)
    mine.append(message)  # finding: SG101


@app.post("/swap")
def swapped(message: str):
    fresh, shared = [], OTHER
    fresh, shared = shared, fresh
    shared.append(message)
    return fresh


@app.post("/loop")
def looped(message: str):
    for h in (LOOPED_A, LOOPED_B):
        h.append(message)  # finding: SG101


@app.post("/ternary")
def ternary(message: str, fresh: bool):
    h = [] if fresh else TERNARY
    h.append(message)  # finding: SG101


@app.post("/unbound")
def unbound(message: str):
    list.append(UNBOUND, message)  # finding: SG101


@app.post("/dunder")
def dunder(message: str):
    DUNDER.__iadd__([message])  # finding: SG101


@app.post("/bound")
def bound(message: str):
    push = BOUND.append
    push(message)  # finding: SG101


@app.post("/map")
def mapped(message: str):
    list(map(MAPPED.append, message.split()))  # finding: SG101


@app.post("/partial")
def partial(message: str):
    functools.partial(PARTIAL.append, message)()  # finding: SG101


@app.post("/operator")
def with_operator(message: str):
    operator.setitem(OPERATOR, "last", message)  # finding: SG101


@app.post("/comprehension")
def comprehended(message: str):
    [COMPREHENDED.append(word) for word in message.split()]  # finding: SG101


app.add_api_route("/lambda", lambda message: LAMBDA.append(message), methods=["POST"])  # finding: SG101


@app.post("/defaultdict")
def defaulted(message: str):
    DEFAULTS["all"].append(message)  # finding: SG101


@app.post("/deque")
def last(message: str):
    LAST.append(message)  # finding: SG101


@app.post("/chainmap")
def chained(message: str):
    LAYERS["last"] = message  # finding: SG101


@app.post("/chainmap-own")
def chained_own(message: str):
    mine = LAYERS.new_child()
    mine["last"] = message
    return mine


@app.post("/slice")
def sliced(message: str):
    SLICED[:] = message.split()  # finding: SG101


@app.post("/slice-copy")
def slice_copy(message: str):
    mine = SLICED[:]
    mine.append(message)
    return mine


@app.post("/merge")
def merged(message: str):
    global MERGED
    MERGED |= {"last": message}  # finding: SG102


@app.post("/merge-own")
def merge_own(message: str):
    return MERGED | {"last": message}


@app.post("/nested")
def nested(message: str):
    NESTED["users"]["all"].append(message)  # finding: SG101


@app.post("/nested-copy")
def nested_copy(message: str):
    mine = NESTED.copy()
    mine["users"]["all"].append(message)  # also: SG101


@app.post("/nested-top-copy")
def nested_top_copy(message: str):
    mine = dict(NESTED)
    mine["mine"] = message
    return mine


@app.post("/star")
def starred(message: str):
    merged_list = [*STARRED, message]
    merged_list.append("end")
    return merged_list


@app.post("/none-check")
def none_check(message: str):
    for part in message.split():
        parts = locals().get("parts") or []
        parts.append(part)


def the_list():
    return GETTER


@app.post("/getter")
def getter(message: str):
    the_list().append(message)  # finding: SG101


@app.post("/sorted")
def in_order(message: str):
    found = sorted(GETTER)
    found.append(message)
    return found


@app.post("/filter")
def filtered(message: str):
    found = [one for one in GETTER if one != message]
    found.append(message)
    return found


@app.post("/shadowed")
def shadowed(GETTER: list):
    GETTER.append("mine")


@app.post("/shadowed-local")
def shadowed_local(message: str):
    WITH = []
    WITH.append(message)
    return WITH
