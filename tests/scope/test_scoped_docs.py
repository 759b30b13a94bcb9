"""docs/cure/scoped.md: its code and every row of its table are executed."""

from __future__ import annotations

import ast
import collections.abc
import copy
import dataclasses
import functools
import heapq
import json
import pickle
import re
import statistics
import sys
import types
import urllib.parse
from pathlib import Path

import flask
import pydantic
import pydantic_core
import pytest
from fastapi.encoders import jsonable_encoder
from flask import json as flask_json
from starlette.responses import JSONResponse

from stateguard import json_default, open_scope, unscoped

PAGE = (Path(__file__).parents[2] / "docs/cure/scoped.md").read_text("utf-8")
BLOCKS = dict(re.findall(r"```python ([\w-]+)\n(.*?)```", PAGE, re.DOTALL))
ROWS = re.findall(r"^\| (`.*`) \| (works|one word more|does not work) \|$", PAGE, re.MULTILINE)
PROXIES = ("HISTORY", "USERS", "NAME", "COUNT", "STATE")


def match_sequence(value):
    match value:
        case [{"role": _}]:
            return "one dict"


def match_mapping(value):
    match value:
        case [*_]:
            return "a sequence"
        case {"ada": number}:
            return number


def module(name: str, block: str) -> types.ModuleType:
    """The page's code block as a module, as an application has it."""
    made = types.ModuleType(name)
    sys.modules[name] = made
    exec(compile(BLOCKS[block], f"{block}.md", "exec"), vars(made))
    return made


@pytest.fixture
def table():
    made = module("scoped_table", "table")
    state = made.State

    def match_class(value):
        match value:
            case state(cost=cost):
                return cost

    vars(made).update(
        collections=collections,
        copy=copy,
        dataclasses=dataclasses,
        flask_json=flask_json,
        functools=functools,
        heapq=heapq,
        json=json,
        json_default=json_default,
        jsonable_encoder=jsonable_encoder,
        JSONResponse=JSONResponse,
        match_class=match_class,
        match_mapping=match_mapping,
        match_sequence=match_sequence,
        pickle=pickle,
        pydantic=pydantic,
        pydantic_core=pydantic_core,
        re=re,
        statistics=statistics,
        unscoped=unscoped,
        urllib=urllib,
    )
    with flask.Flask("app").app_context():
        yield made
    del sys.modules["scoped_table"]


def run(cell: str, namespace: dict) -> None:
    for code in re.findall(r"`(.*?)`", cell):
        code = code.replace("\\|", "|")
        if isinstance(ast.parse(code).body[0], ast.Expr):
            value = eval(code, namespace)
            assert value is not False, code
        else:
            exec(code, namespace)


def test_the_table_has_rows_of_every_kind():
    assert len(ROWS) > 40
    assert {result for _, result in ROWS} == {"works", "one word more", "does not work"}


@pytest.mark.parametrize(("cell", "result"), ROWS, ids=[cell for cell, _ in ROWS])
def test_row(table, cell, result):
    with open_scope():
        if result == "works":
            run(cell, vars(table))
        else:
            with pytest.raises((AssertionError, TypeError, ValueError)) as caught:
                run(cell, vars(table))
        if result == "one word more":
            # The error names the way, unless the library that raises it does not say what it got.
            text = str(caught.value)
            assert "unscoped" in text or "getattr" in cell or "strict" in cell, text
            with_word = re.sub(rf"\b({'|'.join(PROXIES)})\b", r"unscoped(\1)", cell)
            run(with_word, vars(table))


@pytest.mark.parametrize("block", ["leaking", "repaired"])
def test_two_users(block):
    made = module("scoped_example", block)
    with open_scope():
        made.chat("I am Ada, my PIN is 1234")
    with open_scope():
        seen = made.chat("hello")
    assert (seen == ["hello"]) is (block == "repaired")


def test_request_var_example():
    made = module("scoped_example", "request-var")
    with open_scope():
        assert made.chat("ada", "hi") == "ada: ['hi']"
    with open_scope():
        assert made.chat("bob", "yo") == "bob: ['yo']"


def test_carry_example():
    made = module("scoped_example", "carry")
    for words in (["a", "b"], ["c"]):
        with open_scope():
            assert made.search(words) == words
