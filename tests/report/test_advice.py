"""The fix that a report suggests fits the kind of state that changed."""

import pytest

from stateguard.report.advice import advise


@pytest.mark.parametrize(
    ("path", "root", "kind", "before", "words"),
    [
        ("shop.chat.HISTORY", "shop.chat.HISTORY", "appended", "list of 0 items", "`HISTORY = scoped(list)`"),
        ("shop.auth.USER", "shop.auth.USER", "rebound", "None", "`USER = scoped(...)`"),
        (
            "shop.Agent.notes",
            "shop.Agent.notes",
            "appended",
            "list of 0 items",
            "`self.notes = ...` in `__init__`",
        ),
        ("shop.AGENT.notes", "shop.AGENT", "appended", "list of 0 items", "`AGENT = scoped(...)`"),
        ("shop.run(log=)", "shop.run(log=)", "appended", "list of 0 items", "`if log is None: log = []`"),
        ("shop.VAR(default=)", "shop.VAR(default=)", "appended", "list of 0 items", "ContextVar"),
        ("shop.f(cached result)", "shop.f(cached result)", "appended", "list of 1 item", "return a tuple"),
        ("shop.HTTP._headers._list", "shop.HTTP", "appended", "list of 4 items", "pass them with the call"),
        ("shop.CLIENT.api_key", "shop.CLIENT", "attribute set", "None", "pass them with the call"),
        ("shop.SESSION.cookies", "shop.SESSION", "added", "dict of 0 items", "pass them with the call"),
        ("shop.LOCAL.tenant", "shop.LOCAL", "left behind", "absent", "`finally`"),
        ("os.environ['TZ']", "os.environ", "replaced", "str", "at start-up"),
        ("app.App().state.user", "app.App().state", "attribute set", "None", "off shared objects"),
    ],
)
def test_the_fix_fits_the_fault(path: str, root: str, kind: str, before: str, words: str) -> None:
    assert words in advise(path, root, kind, before)
