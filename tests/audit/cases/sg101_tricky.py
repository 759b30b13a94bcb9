"""Aliases, parameters, locks, loops: the same list by other ways."""

import threading

from flask import Flask, request

app = Flask(__name__)

HISTORY = []
ITEMS = []
LOCK = threading.Lock()
SESSIONS = {}
AUDIT_LOG = []
CHANGED_LATER = []
BOTH = []
UNION: "list[str] | None" = []


def remember(log, entry):
    log.append(entry)  # finding: SG101


def indirect(target, entry):
    remember(target, entry)


class Basket:
    def __init__(self):
        self.items = ITEMS

    def put(self, thing):
        self.items.append(thing)  # finding: SG101


@app.route("/chat", methods=["POST"])
def chat():
    h = HISTORY
    h.append(request.json["text"])  # finding: SG101
    indirect(AUDIT_LOG, request.json)
    Basket().put(request.form)
    return h


@app.get("/locked")
def locked(text):
    with LOCK:
        BOTH.append(text)  # finding: SG101
    return "ok"


@app.get("/alias-ends")
def alias_ends(text):
    h = CHANGED_LATER
    h = list(h)
    h.append(text)
    return h


@app.get("/branch")
def branch(text, flag):
    target = UNION if flag else []
    target.append(text)  # finding: SG101


def get_sessions():
    return SESSIONS


@app.get("/returned")
def returned(text):
    get_sessions()["current"] = text  # finding: SG101


@app.get("/walrus")
def walrus(text):
    if (s := get_sessions()) is not None:
        s["other"] = text  # also: SG101
    for _, entries in SESSIONS.items():
        entries.append(text)  # also: SG101
    first, second = HISTORY, 1
    first += [text]  # also: SG101
    del HISTORY[0]  # also: SG101
