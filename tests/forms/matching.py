"""Compare what was reported with what a row of the table expects."""

from __future__ import annotations

import re
from collections.abc import Sequence

from stateguard.leak import Leak
from tests.forms.form import Expect, Form


def _means(glob: str, text: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, glob.split("*"))), text, re.DOTALL) is not None


def fits(expect: Expect, leak: Leak) -> bool:
    """Whether the leak is the one expected."""
    return (
        _means(expect.path, leak.path)
        and ("*" in expect.kinds or leak.kind in expect.kinds)
        and expect.said in f"{leak.before} -> {leak.after}"
    )


def mistakes(form: Form, leaks: Sequence[Leak]) -> list[str]:
    """What is missing and what is too much."""
    missing = [
        f"missing: {'|'.join(expect.kinds)} {expect.path}"
        for expect in form.expects
        if not any(fits(expect, leak) for leak in leaks)
    ]
    extra = [
        f"unexpected: {leak.kind} {leak.path}"
        for leak in leaks
        if not any(fits(expect, leak) for expect in form.expects)
    ]
    return missing + extra


def explain(form: Form, leaks: Sequence[Leak]) -> str:
    """The mistakes, and everything that was reported."""
    seen = [f"  {leak.kind} {leak.path}: {leak.before} -> {leak.after}" for leak in leaks]
    return "\n".join([form.id, *mistakes(form, leaks), "reported:", *(seen or ["  nothing"])])
