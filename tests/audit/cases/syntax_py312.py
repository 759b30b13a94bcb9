"""Syntax of Python 3.12: type parameters, type aliases, quotes inside f-strings."""

from flask import Flask, request

app = Flask(__name__)
HISTORY: list[str] = []
TABLE = {}


class Box[T]:
    everything: list[T] = []

    def put(self, value: T) -> None:
        self.everything.append(value)  # finding: SG104


def first[T](items: list[T]) -> T:
    items = list(items)
    items.reverse()
    return items[0]


def keep[T](items: list[T], one: T) -> list[T]:
    items.append(one)  # finding: SG101
    return items


type Names = list[str]


@app.get("/put/<q>")
def put(q: str) -> str:
    Box().put(q)
    keep(HISTORY, q)
    keep([], q)
    first(HISTORY)
    return q


@app.route("/fstring")
def nested_string():
    return f"{f'{TABLE.setdefault("last", request.args["q"])!r:>{10}}'}"  # finding: SG101
