"""The message says who did it in plain words, for each degree of certainty."""

import re
from dataclasses import replace
from typing import Any

import pytest

from stateguard.leak import Leak, Location, RequestInfo
from stateguard.report.record import bounded, decode
from stateguard.report.text import aftermath, fields, render_leak

AMELIA, BRUNO = (RequestInfo(id_, "http", "POST", "/chat") for id_ in ("amelia-1", "bruno-2"))


def leak_of(request: RequestInfo | None, suspects: tuple[RequestInfo, ...] = (), **more: Any) -> Leak:
    others: dict[str, Any] = {"location": None, **more}
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
        **others,
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
        (
            None,
            (AMELIA, BRUNO),
            {"suspect_count": 2743, "suspect_count_exact": False},
            "one of about 2,743 requests whose code was running then; 2 of them are listed, the guilty one "
            "may be another: POST /chat (request amelia-1), POST /chat (request bruno-2)",
        ),
        (
            None,
            (AMELIA,) * 100,
            {"suspect_count": 150},
            "one of 150 requests whose code was running then; 100 of them are listed, the guilty one may be",
        ),
        (None, (AMELIA,), {"suspect_count_exact": False}, "one of about 1 request whose code"),
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


def test_how_many_others_could_read_it() -> None:
    others = tuple(RequestInfo(f"r{n}", "http", "GET", f"/{n}") for n in range(100))
    names = ", ".join(f"GET /{n} (request r{n})" for n in range(4))
    said = "other requests were in flight and could read it"
    many = leak_of(AMELIA, in_flight=others, in_flight_count=1250)
    assert row("beside", many).endswith(f"1,250 {said}: {names} and 1,246 more")
    assert (many.in_flight_count, many.in_flight_cut) == (1250, True)
    all_of_them = leak_of(AMELIA, in_flight=others)
    assert row("beside", all_of_them).endswith(f"100 {said}: {names} and 96 more")
    assert (all_of_them.in_flight_count, all_of_them.in_flight_cut) == (100, False)
    assert row("beside", leak_of(AMELIA, in_flight_count=250)).endswith(f"250 {said}")
    ended = replace(many, in_flight=(replace(BRUNO, ended=many.time + 2), *others[1:]))
    assert row("beside", ended).endswith("1,246 more")
    carried: Any = fields(many)
    assert carried["leak_in_flight_count"] == carried["leak"]["in_flight_count"] == 1250
    assert len(carried["leak"]["in_flight"]) < 100


def test_a_record_keeps_how_many_others_could_read_it() -> None:
    many = leak_of(AMELIA, in_flight=(BRUNO,) * 100, in_flight_count=250)
    read = decode(bounded(many.to_dict()))
    assert (read.in_flight_count, read.in_flight_cut) == (250, True)
    assert "250 other requests" in row("beside", read)
    assert "and 246 more" in row("beside", read)
    old = bounded(many.to_dict())
    del old["in_flight_count"]  # a plain record of a version that did not say
    read = decode(old)
    assert (read.in_flight_count, read.in_flight_cut) == (len(old["in_flight"]), False)
    with pytest.raises(ValueError, match="in_flight_count"):
        decode({**old, "in_flight_count": -1})


def test_what_a_request_puts_back_by_itself_is_said_in_one_line() -> None:
    leak = leak_of(AMELIA, in_flight=(BRUNO,), time=1000.0, restored=True, restored_at=1001.5)
    said = (
        "put back 1.5 s later by POST /chat (request amelia-1); 1 other request was in flight before "
        "it was put back and could read it until then: POST /chat (request bruno-2)"
    )
    assert aftermath(leak) == f"shared state appended: shop.HISTORY [leak {leak.id}]: {said}"
    assert "put back 1.5 s later in the same request" in row("who", leak)
    alone = replace(leak, in_flight=(), in_flight_count=0)
    assert row("beside", alone).endswith("no other request was in flight")
    assert decode(bounded(leak.to_dict())) == leak


def test_the_fields_of_a_log_record_say_how_many_they_were() -> None:
    many = leak_of(None, (AMELIA,) * 100, suspect_count=743, suspect_count_exact=False)
    carried: Any = fields(many)
    assert carried["leak_suspect_count"] == carried["leak"]["suspect_count"] == 743
    assert carried["leak"]["suspect_count_exact"] is False
    assert len(carried["leak"]["suspects"]) < 743
    assert fields(leak_of(None, (AMELIA, BRUNO)))["leak_suspect_count"] == 2
    assert fields(leak_of(AMELIA))["leak_suspect_count"] == 0


def test_a_record_keeps_how_many_they_were() -> None:
    few = leak_of(None, (AMELIA, BRUNO))
    assert (few.suspect_count, few.suspects_cut) == (2, False)
    assert decode(bounded(few.to_dict())) == few
    many = leak_of(None, (AMELIA,) * 100, suspect_count=743, suspect_count_exact=False)
    read = decode(bounded(many.to_dict()))
    assert (read.suspect_count, read.suspect_count_exact, read.suspects_cut) == (743, False, True)
    known = decode(bounded(leak_of(None, (AMELIA,) * 80).to_dict()))
    assert len(known.suspects) < 80, "a record lists fewer"
    assert "one of 80 requests" in row("who", known)
    assert f"{len(known.suspects)} of them are listed" in row("who", known)


@pytest.mark.parametrize(("requests", "told"), [(2, 2), (80, 80), (100, 100)])
@pytest.mark.parametrize("line", [True, False])
def test_an_old_record_does_not_say_how_many_they_were(requests: int, told: int, line: bool) -> None:
    old = bounded(leak_of(None, (AMELIA,) * min(requests, 100)).to_dict())
    del old["suspect_count"], old["suspect_count_exact"]
    if line:
        old["suspect_count"] = requests  # lines of JSON had it, but did not count beyond 100
    else:
        old["suspects"] *= requests // len(old["suspects"])
        told = len(old["suspects"])
    read = decode(old)
    assert read.suspect_count == told
    assert read.suspect_count_exact is (told < 100)
    assert read.suspects_cut is (told == 100 or told > len(read.suspects))


@pytest.mark.parametrize("wrong", [-1, 2**60, "7", 1.5, None, True])
def test_a_record_with_a_strange_count_is_no_record(wrong: Any) -> None:
    with pytest.raises(ValueError, match="suspect_count"):
        decode({**leak_of(None, (AMELIA,)).to_dict(), "suspect_count": wrong})


def test_a_record_keeps_why_there_is_no_line() -> None:
    leak = leak_of(AMELIA, unlocated="nobody looks for it")
    assert decode(bounded(leak.to_dict())) == leak
    old = {name: value for name, value in leak.to_dict().items() if name not in ("unlocated", "restored_at")}
    assert decode(old) == replace(leak, unlocated="")
