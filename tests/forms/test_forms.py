"""The table of forms: every mutation is found, at the right path, in the right words; nothing else is."""

from __future__ import annotations

import pytest

from tests.forms.form import Expect, Form, observe
from tests.forms.matching import explain, mistakes
from tests.forms.table import FORMS, HARMLESS


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.id)
def test_mutation_is_described(form: Form) -> None:
    leaks = observe(form.setup, form.change, form.undo)
    assert not mistakes(form, leaks), explain(form, leaks)


@pytest.mark.parametrize(("name", "setup", "code"), HARMLESS, ids=[row[0] for row in HARMLESS])
def test_no_mutation_is_no_leak(name: str, setup: str, code: str) -> None:
    leaks = observe(setup, code)
    assert not leaks, [(leak.path, leak.kind, leak.before, leak.after) for leak in leaks]


def test_the_table_is_large_and_its_rows_are_distinct() -> None:
    assert len(FORMS) >= 200
    assert len({form.id for form in FORMS}) == len(FORMS)
    assert len(HARMLESS) >= 50


def test_a_row_that_expects_something_else_fails() -> None:
    """A positive control: the comparison itself can say no."""
    form = Form("control", "append", "STATE = []", "STATE.append(1)", (Expect(("removed",), "app.STATE"),))
    leaks = observe(form.setup, form.change)
    assert mistakes(form, leaks)
    elsewhere = Form(
        "control", "append", "STATE = []", "STATE.append(1)", (Expect(("appended",), "app.OTHER"),)
    )
    assert len(mistakes(elsewhere, leaks)) == 2
