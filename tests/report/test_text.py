"""The message says who did it in plain words, for each degree of certainty."""

import re
from dataclasses import replace
from typing import Any

import pytest

from stateguard.leak import Leak, Location, RequestInfo
from stateguard.report.record import bounded, decode
from stateguard.report.text import aftermath, render_leak

AMELIA, BRUNO = (RequestInfo(id_, "http", "POST", "/chat") for id_ in ("amelia-1", "bruno-2"))


def leak_of(request: RequestInfo | None, suspects: tuple[RequestInfo, ...] = (), **more: Any) -> Leak:
    fields: dict[str, Any] = {"location": None, **more}
    return Leak(
        path="shop.HISTORY",
        kind="appended",
        severity="high",
        reason="content that all requests share changed",
        request=request,
        confidence="exact" if request else "suspected",
        suspects=suspects,
        before="list of 0 items",
        after="list of 1 item",
        before_hash="a" * 12,
        after_hash="b" * 12,
        **fields,
    )


def row(name: str, leak: Leak) -> str:
    return next(line for line in render_leak(leak).splitlines() if re.match(rf"  {name} ", line))


@pytest.mark.parametrize(
    ("request_", "suspects", "more", "words"),
    [
        (AMELIA, (), {}, "POST /chat (request amelia-1); exact: only its code was running then"),
        (AMELIA, (), {"after_response": True}, "after the response"),
        (AMELIA, (), {"restored": True}, "put back later in the same request"),
        (None, (AMELIA,), {}, "POST /chat (request amelia-1), but not proven"),
        (
            None,
            (AMELIA, BRUNO),
            {},
            "one of 2 requests whose code was running then: POST /chat (request amelia-1)",
        ),
        (None, (), {}, "code outside any request"),
    ],
)
def test_who_did_it(request_: RequestInfo | None, suspects, more, words: str) -> None:
    assert words in row("who", leak_of(request_, suspects, **more))


PLACE = Location("shop/chat.py", 7, "answer", "rank(QUEUE, user)", via="heapq.heappush")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (
            {"location": PLACE},
            "shop/chat.py:7 in answer  (written by heapq.heappush)   rank(QUEUE, user)",
        ),
        ({"unlocated": "sys.settrace is taken by a debugger"}, "line not known: sys.settrace is taken by"),
        ({}, "line not known"),
    ],
)
def test_where(more: dict[str, Any], words: str) -> None:
    text = render_leak(leak_of(AMELIA, **more))
    assert words in row("where", leak_of(AMELIA, **more))
    assert text.count("line not known") == ("location" not in more)


def test_until_when_the_others_could_read_it() -> None:
    leak = leak_of(AMELIA, in_flight=(BRUNO,), time=1000.0)
    assert row("beside", leak).endswith(
        "1 other request was in flight and could read it: POST /chat (request bruno-2)"
    )
    ended = replace(leak, in_flight=(replace(BRUNO, ended=1000.25),))
    assert row("beside", ended).endswith("POST /chat (request bruno-2), which ended 250 ms later")
    assert "every later one can read it" in row("beside", leak_of(AMELIA))


def test_what_a_request_puts_back_by_itself_is_said_in_one_line() -> None:
    leak = leak_of(AMELIA, in_flight=(BRUNO,), time=1000.0, restored=True, restored_at=1001.5)
    said = (
        "put back 1.5 s later by POST /chat (request amelia-1); 1 other request was in flight before "
        "it was put back and could read it until then: POST /chat (request bruno-2)"
    )
    assert aftermath(leak) == f"shared state appended: shop.HISTORY [leak {leak.id}]: {said}"
    assert "put back 1.5 s later in the same request" in row("who", leak)
    alone = replace(leak, in_flight=())
    assert row("beside", alone).endswith("no other request was in flight")
    assert decode(bounded(leak.to_dict())) == leak


def test_a_record_keeps_why_there_is_no_line() -> None:
    leak = leak_of(AMELIA, unlocated="nobody looks for it")
    assert decode(bounded(leak.to_dict())) == leak
    old = {name: value for name, value in leak.to_dict().items() if name not in ("unlocated", "restored_at")}
    assert decode(old) == replace(leak, unlocated="")
