"""``python -m tests.forms``: print every form of mutation and how it is described."""

from __future__ import annotations

import logging
import sys

from tests.forms.form import observe
from tests.forms.matching import mistakes
from tests.forms.table import FORMS, HARMLESS


def main(words: list[str]) -> int:
    """Print the rows whose name contains one of ``words`` (default: all); 1 if one is wrong."""
    logging.getLogger("stateguard").setLevel(logging.CRITICAL)
    wrong = shown = 0
    for form in FORMS:
        if words and not any(word in form.id for word in words):
            continue
        shown += 1
        try:
            leaks = observe(form.setup, form.change, form.undo)
            found = mistakes(form, leaks)
        except Exception as error:
            leaks, found = [], [f"the change failed under the guard: {type(error).__name__}: {error}"]
        wrong += bool(found)
        change = "; ".join(line.strip() for line in form.change.strip().splitlines())
        print(f"{'ok ' if not found else 'NO '} {form.id:<52} {change[:70]}")
        for leak in leaks:
            print(f"      {leak.path}: {leak.kind}, {leak.before} -> {leak.after}")
        for text in found:
            print(f"      {text}")
    quiet = 0
    for name, setup, code in HARMLESS:
        if words and not any(word in name for word in words):
            continue
        leaks = observe(setup, code)
        quiet += 1
        if leaks:
            wrong += 1
            print(f"NO  no mutation: {name}")
            for leak in leaks:
                print(f"      {leak.path}: {leak.kind}, {leak.before} -> {leak.after}")
    print(f"\n{shown} forms of mutation, {quiet} of no mutation, {wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
