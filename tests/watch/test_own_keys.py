"""Which keys of a table are a request's own, and which the program spells out for everybody."""

import pytest

from stateguard.request_data import RequestData
from stateguard.watch.constants import string_constants


def write(table, text):
    table["user"] = text
    return {"role": "assistant"}


write.__module__ = "shop"  # tests spell out what their users send: they do not count
CONSTANTS = string_constants([write])


def test_constants_are_those_of_the_code() -> None:
    assert {"user", "role", "assistant"} <= CONSTANTS


@pytest.mark.parametrize(
    ("key", "own"),
    [
        ("ann-0a51", True),  # from the query
        ("q:ann-0a51", True),
        ("s-4711", True),  # from the path
        (4711, True),
        ("user", False),  # in the body, but the program's own word
        ("report", False),  # a plain word in the body's text
        ("chat", True),
        ("bob", False),
        (("ann-0a51", 1), True),
    ],
)
def test_whose_key_it_is(key: object, own: bool) -> None:
    data = RequestData("user=ann-0a51&n=4711", (), None, "/chat/s-4711")
    data.add_body(b'{"role": "user", "content": "show me the report please"}')
    assert data.owns_key(key, CONSTANTS) is own


def test_the_programs_own_words_are_no_evidence() -> None:
    data = RequestData("role=assistant")
    assert data.appears_in(["You are a helpful assistant."])
    assert not data.appears_in(["You are a helpful assistant."], CONSTANTS)
