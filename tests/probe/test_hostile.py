"""The probe on applications that hang, crash, flood and encode: a verdict in time, and the right one."""

from __future__ import annotations

import pytest

from tests.probe import hostile
from tests.probe.test_explore import explorer

SMALL = {"users": 2, "requests": 8, "seconds": 20}


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("never_answers", "no answer within 600 seconds"),
        ("never_ends", "does not end when its client has gone"),
        ("ends_the_process", "ended its process (status 3)"),
        ("raises_system_exit", "raised SystemExit"),
        ("fails_to_start", "failed to start: no database"),
        ("hangs_at_start", "said nothing for 30 seconds"),
        ("wsgi_exits", "raised SystemExit"),
        ("says_nothing", "has ended without an answer"),
        ("wsgi_says_nothing", "has ended without an answer"),
        ("cancels_everything", "cancels tasks that are not its own"),
        ("stops_the_loop", "the loop was stopped before it answered"),
    ],
)
def test_broken_ones_are_invalid(name, says):
    result = explorer(
        getattr(hostile, name), protocol=name[:4] if name[:4] == "wsgi" else None, **SMALL
    ).run()
    assert result.verdict == "INVALID"
    assert says in result.reason


def test_one_that_runs_without_end_is_stopped():
    result = explorer(hostile.spins, users=2, requests=2, seconds=30).run()
    assert result.verdict == "INVALID"


@pytest.mark.parametrize(
    "name",
    [
        "waits_for_the_disconnect", "huge", "echoes_headers", "uses_executors", "uses_its_own_thread",
        "sleeps_in_the_loop", "has_a_deadline", "prints", "starts_slowly", "wsgi_lazy",
    ],
)  # fmt: skip
def test_odd_but_clean_ones_pass(name):
    result = explorer(getattr(hostile, name), protocol="wsgi" if name[:4] == "wsgi" else None, **SMALL).run()
    assert (result.verdict, result.bleeds) == ("PASS", []), result.reason


@pytest.mark.parametrize("name", ["endless_stream", "redirects", "leaks_from_a_task"])
def test_odd_leaks_are_proven(name):
    result = explorer(getattr(hostile, name), **SMALL).run()
    assert result.verdict == "LEAK"
    assert result.shrunk.bleeds


@pytest.mark.parametrize("name", hostile.ENCODED)
def test_encoded_marks_are_read(name):
    result = explorer(hostile.ENCODED[name], **SMALL).run()
    assert result.verdict == "LEAK"
    bleed = result.shrunk.bleeds[0]
    assert bleed.form == (name if name in ("base64", "hexadecimal") else "")
    assert bleed.owner_number == (-1 if name == "cut" else 0)


def test_one_that_never_answers_is_given_up_soon():
    result = explorer(hostile.never_answers, users=8, requests=200, seconds=60).run()
    assert result.verdict == "INVALID"
    assert result.schedules == 5
