"""Objects inside objects, defaults that become attributes, pools, totals, named caches."""

from collections import deque

from flask import Flask, request

app = Flask(__name__)


class Buffer:
    def __init__(self):
        self.lines = []

    def save(self, text):
        self.lines.append(text)  # finding: SG106


class Chain:
    def __init__(self, memory):
        self.memory = memory

    def predict(self, text):
        self.memory.save(text)
        return text


CHAIN = Chain(memory=Buffer())


class Basket:
    def __init__(self, things=[]):  # the default becomes the attribute
        self.things = things

    def put(self, thing):
        self.things.append(thing)  # finding: SG105


class Field:
    def __init__(self):
        self.context = {}


class Form:
    fields = {"name": Field()}
    title = Field()

    def __init__(self, context):
        for field in self.fields.values():
            field.context = context  # finding: SG104
        self.title.context.update(context)  # finding: SG104


class Connection:
    buffer = bytearray(64)


FREE = deque([1, 2, 3])


class Statistics:
    def __init__(self):
        self.total = 0.0

    def add(self, amount):
        self.total += amount


STATISTICS = Statistics()


class LRUCache:
    def __init__(self):
        self.order = deque()

    def touch(self, key):
        self.order.append(key)  # finding: SG106[low]


TEMPLATES = LRUCache()
LINES = []


@app.post("/chat")
def chat():
    Basket().put(request.form)
    Form(request.form)
    with memoryview(Connection.buffer) as window:
        window[:4] = request.data  # finding: SG104
    STATISTICS.add(request.content_length)
    TEMPLATES.touch("index")
    run(LINES.append, request.data)  # finding: SG101
    return CHAIN.predict(request.json["text"])


def run(function, *arguments):
    return function(*arguments)


@app.get("/pool")
def pool():
    connection = FREE.popleft()
    try:
        return str(connection)
    finally:
        FREE.append(connection)
