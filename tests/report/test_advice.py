"""The fix that a report suggests fits the kind of state that changed."""

import pytest

from stateguard.report.advice import advise


@pytest.mark.parametrize(
    ("path", "root", "kind", "before", "words"),
    [
        ("shop.chat.HISTORY", "shop.chat.HISTORY", "appended", "list of 0 items", "`HISTORY = scoped(list)`"),
        ("shop.auth.USER", "shop.auth.USER", "rebound", "None", "`session().user = ...`"),
        ("shop.DD", "shop.DD", "added", "defaultdict of 0 keys", "`DD = scoped(lambda: defaultdict(...))`"),
        ("shop.Form.name.values", "shop.Form.name", "added", "dict of 0 keys", "on `self`"),
        ("shop.make.<locals>.add(nonlocal log)",) * 2
        + ("appended", "list of 0 items", "the closure per request"),
        ("shop.CLIENT.api_key", "shop.CLIENT.api_key", "attribute set", "None", "pass them with the call"),
        ("shop.llm.api_key", "shop.llm.api_key", "rebound", "None", "pass them with the call"),
        ("shop.VAR(inherited value)",) * 2 + ("added", "dict of 0 keys", "set() a fresh one per request"),
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


@pytest.mark.parametrize(
    ("path", "kind", "before", "after", "holder", "words"),
    [
        (
            "shop.AGENT.notes",
            "appended",
            "list of 0 items",
            "",
            "Agent",
            "`AGENT = scoped(lambda: Agent(...))`",
        ),
        ("shop.TABLE['a']", "added", "absent", "str of 3 characters", "dict", "`TABLE = scoped(dict)`"),
        ("shop.JOBS.queue", "appended", "deque of 0 items", "", "Queue", "a queue per request"),
        ("shop.GEN(local of f)", "appended", "list of 0 items", "", "generator", "make one per request"),
        ("shop.MODE.users", "appended", "list of 0 items", "", "enum member", "an enum's members"),
        ("shop.TOOLS['x']", "replaced", "function a", "function b", "dict", "once, at start-up"),
        (
            "shop.HOOKS",
            "appended",
            "list of 0 items",
            "list of 1 item (new: method object)",
            "list",
            "start-up",
        ),
        ("shop.GRID", "buffer changed", "ndarray object", "ndarray object", "ndarray", "copy it before"),
        ("shop.OUT", "buffer changed", "StringIO object", "StringIO object", "StringIO", "scoped(StringIO)"),
    ],
)
def test_the_fix_fits_what_is_held(
    path: str, kind: str, before: str, after: str, holder: str, words: str
) -> None:
    root = ".".join(path.split(".")[:2]).split("[")[0].split("(")[0]
    assert words in advise(path, root, kind, before, after, holder)
