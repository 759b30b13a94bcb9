"""A careful application: everything here is harmless, and nothing of it may be reported."""

import asyncio
import contextvars
import functools
import itertools
import json
import logging
import re
import sqlite3
import threading
import time
import uuid
import weakref
from collections import Counter, OrderedDict, defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import httpx
from fastapi import BackgroundTasks, Depends, FastAPI, HTTPException, Request
from prometheus_client import Counter as Metric
from pydantic import BaseModel, Field
from sqlalchemy import Column, Integer, MetaData, String, Table
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker

log = logging.getLogger(__name__)
metadata = MetaData()
users = Table("users", metadata, Column("id", Integer), Column("name", String))
REQUESTS = Metric("requests", "number of requests", ["path"])
SessionLocal = sessionmaker()
ids = itertools.count()
pattern = re.compile("x")
lock = threading.Lock()
pool = ThreadPoolExecutor(4)
request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="")
http = httpx.AsyncClient(headers={"user-agent": "app"})
ROLES = {"admin": ["read", "write"], "user": ["read"]}
NAMES = ["a", "b"]
DEFAULTS = {"page": 1, "size": 20}
_engine = None
_tasks = set()
_queue = asyncio.Queue()
_hits = Counter()
_started = time.time()
_db = sqlite3.connect(":memory:")
_instances = weakref.WeakSet()
stats = {"requests": 0, "errors": 0}


class Settings(BaseModel):
    tags: list[str] = []
    limits: dict[str, int] = Field(default_factory=dict)


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"
    items: list = []
    id = Column(Integer)

    def add(self, item):
        self.items = [*self.items, item]


@dataclass
class Cart:
    items: list = field(default_factory=list)
    notes: dict = field(default_factory=dict)

    def add(self, item):
        self.items.append(item)
        self.notes["last"] = item


class Builder:
    parts = ()

    def __init__(self):
        self.parts = []
        self.index = {}

    def part(self, text):
        self.parts.append(text)
        self.index[text] = len(self.parts)
        return self

    def build(self):
        return "".join(self.parts)


app = FastAPI()


@functools.lru_cache
def settings():
    return Settings()


@functools.cache
def compiled(text):
    return re.compile(text)


def engine():
    global _engine
    if _engine is None:
        _engine = object()
    return _engine


def db():
    session = SessionLocal()
    try:
        yield session
    finally:
        session.close()


def page(number: int = 1, size: int = 20):
    options = dict(DEFAULTS)
    options["page"] = number
    options.update(size=size)
    return options


@app.middleware("http")
async def identify(request: Request, call_next):
    token = request_id.set(request.headers.get("x-request-id", str(uuid.uuid4())))
    request.state.started = time.time()
    try:
        return await call_next(request)
    finally:
        request_id.reset(token)


@app.get("/orders")
def orders(request: Request, session: Session = Depends(db), options: dict = Depends(page)):
    REQUESTS.labels(request.url.path).inc()
    stats["requests"] += 1
    _hits[request.url.path] += 1
    found = session.query(Order).filter(Order.id > options["page"]).all()
    rows = []
    for order in found:
        row = {"id": order.id}
        row.update(total=1)
        rows.append(row)
    grouped = defaultdict(list)
    for row in rows:
        grouped[row["id"]].append(row)
    rows.sort(key=lambda row: row["id"])
    return {"rows": rows, "groups": grouped}


@app.post("/orders")
def create(request: Request, body: Cart, session: Session = Depends(db)):
    order = Order()
    order.items = list(body.items)
    order.customer = request.state.user
    session.add(order)
    session.commit()
    body.add("extra")
    body.items.append("more")
    return order


@app.post("/build")
def build(text: str):
    builder = Builder().part(text).part("!")
    other = Builder()
    other.part(text)
    return builder.build() + other.build()


@app.post("/later")
async def later(text: str, background: BackgroundTasks):
    background.add_task(log.info, text)
    task = asyncio.create_task(asyncio.sleep(1))
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)
    await _queue.put(text)


@app.get("/roles/{name}")
def roles(name: str):
    granted = list(ROLES.get(name, []))
    granted.append("login")
    names = NAMES + [name]
    names.append("x")
    copy = {**DEFAULTS}
    copy["page"] = 2
    return granted, sorted(NAMES), names, copy


@app.get("/client")
async def client(token: str):
    async with httpx.AsyncClient() as mine:
        mine.headers["authorization"] = token
        mine.cookies.set("a", token)
        answer = await mine.get("https://example.org", headers={"x": token})
    headers = dict(http.headers)
    headers["authorization"] = token
    return await http.get("https://example.org", headers=headers)


@app.get("/errors")
def errors():
    error = HTTPException(404)
    error.detail = "gone"
    error.headers = {"x": "y"}
    raise error


@app.get("/local")
def local():
    seen = set()

    def visit(node):
        if node in seen:
            return
        seen.add(node)
        for other in range(node):
            visit(other)

    visit(3)
    memo = {}

    @functools.wraps(visit)
    def inner(n):
        memo[n] = n
        return memo

    return inner(1)


class Parser:
    """A recursive parser: the instance is new for every call."""

    def __init__(self, text):
        self.text = text
        self.position = 0
        self.stack = []

    def parse(self):
        while self.position < len(self.text):
            self.stack.append(self.text[self.position])
            self.position += 1
        return self.stack


@app.post("/parse")
def parse(text: str):
    parser = Parser(text)
    return parser.parse()


class Response:
    headers = None

    def __init__(self):
        self.headers = {}

    def set(self, name, value):
        self.headers[name] = value


@app.get("/response")
def response(value: str):
    answer = Response()
    answer.set("x", value)
    answer.headers["y"] = value
    return answer


class Bounded:
    """A bounded cache of what is the same for everybody."""

    def __init__(self, size=128):
        self.size = size
        self.entries = OrderedDict()

    def get(self, key, make):
        if key in self.entries:
            self.entries.move_to_end(key)
            return self.entries[key]
        value = self.entries[key] = make(key)
        if len(self.entries) > self.size:
            self.entries.popitem(last=False)
        return value


templates = Bounded()


@app.get("/template/{name}")
def template(name: str):
    return templates.get(name, str.upper)


async def lifespan():
    global _db
    _db = sqlite3.connect(":memory:")
    NAMES.append("c")


@app.on_event("startup")
async def start():
    global _started
    _started = time.time()
    ROLES["guest"] = []
    app.state.pool = object()
    settings().tags.append("ready")


if __name__ == "__main__":
    NAMES.append("main")
    stats["requests"] = 0
