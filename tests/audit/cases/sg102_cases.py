"""``global``: the leak, the lazy creation, the counter."""

from flask import Flask, g, request

app = Flask(__name__)

CURRENT = None
FLAG = False
TOTAL = 0
_client = None
_pool = None
LOG = ()
_first_user = None


@app.before_request
def remember_user():
    global CURRENT
    CURRENT = request.headers["X-User"]  # finding: SG102
    g.user = CURRENT


@app.get("/flag")
def flag():
    global FLAG
    FLAG = True  # finding: SG102
    try:
        return "done"
    finally:
        FLAG = False  # also: SG102


@app.get("/log")
def log(text):
    global LOG
    LOG += (text,)  # finding: SG102


@app.get("/dynamic")
def dynamic(name, value):
    globals()[name] = value  # finding: SG102
    globals()["LATEST"] = value  # finding: SG102
    globals().update({"name": value})  # also: SG102


@app.get("/count")
def count():
    global TOTAL
    TOTAL += 1
    return client(), pool()


def client():
    global _client
    if _client is None:
        _client = object()
    return _client


def pool():
    global _pool
    if not _pool:
        _pool = object()
    return _pool


@app.get("/first")
def first():
    global _first_user
    if _first_user is None:
        _first_user = request.headers["X-User"]  # finding: SG102
    return _first_user


def configure(settings):
    global SETTINGS
    SETTINGS = settings


configure({})
