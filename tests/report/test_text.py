"""The message says who did it in plain words, for each degree of certainty."""

import pytest

from stateguard.leak import Leak, RequestInfo
from stateguard.report.text import render_leak

AMELIA, BRUNO = (RequestInfo(id_, "http", "POST", "/chat") for id_ in ("amelia-1", "bruno-2"))


def who(request: RequestInfo | None, suspects: tuple[RequestInfo, ...], **more: object) -> str:
    leak = Leak(
        path="shop.HISTORY",
        kind="appended",
        severity="high",
        reason="content that all requests share changed",
        request=request,
        confidence="exact" if request else "suspected",
        suspects=suspects,
        location=None,
        before="list of 0 items",
        after="list of 1 item",
        before_hash="a" * 12,
        after_hash="b" * 12,
        **more,
    )
    return next(line for line in render_leak(leak).splitlines() if line.startswith("  who"))


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
    assert words in who(request_, suspects, **more)
