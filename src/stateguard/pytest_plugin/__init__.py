"""The pytest plugin: guard what tests send to their application, and fail the test whose request leaks.

``pytest --stateguard`` guards every test, ``@pytest.mark.stateguard(**options)`` or the fixture
``stateguard`` one. Test clients need no change: see :mod:`stateguard.pytest_plugin.clients`. Nothing is
patched, and no test client or framework imported, before the first guarded test.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from stateguard.errors import StateGuardError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from stateguard.guard import Guard
    from stateguard.probe.verdict import Result
    from stateguard.pytest_plugin.session import GuardedSession

_SESSION = pytest.StashKey["GuardedSession"]()
_PROBLEM = pytest.StashKey[str]()
_NOTES = pytest.StashKey[list[tuple[str, str, str]]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options, on the command line and in the configuration file."""
    group = parser.getgroup("stateguard", "state that leaks between requests and between tests")
    group.addoption("--stateguard", action="store_true", help="Guard the application under every test.")
    group.addoption(
        "--stateguard-leaks",
        choices=("fail", "report"),
        help="A leak fails its test, or is listed in the summary only [default: fail].",
    )
    group.addoption(
        "--stateguard-carryover",
        choices=("fail", "report", "off"),
        help="What to do about state that a test leaves to the next one [default: report].",
    )
    group.addoption(
        "--stateguard-watch",
        action="append",
        metavar="PATTERN",
        help="Modules to watch, as in Guard(watch=[...]); repeatable [default: first-party modules].",
    )
    parser.addini("stateguard", "Guard every test, as --stateguard does.", type="bool", default=False)
    parser.addini("stateguard_leaks", "fail or report", default="fail")
    parser.addini("stateguard_carryover", "fail, report or off", default="report")
    parser.addini("stateguard_watch", "Modules to watch.", type="args", default=[])


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known, and refuse options that can not work."""
    _option(config, "stateguard_leaks")
    _option(config, "stateguard_carryover")
    config.addinivalue_line(
        "markers",
        "stateguard(**options): guard this test's application; options as for stateguard.Guard, "
        'mode="off" leaves the test out',
    )
    config.stash[_NOTES] = []


def _wanted(item: pytest.Item) -> bool:
    marker = item.get_closest_marker("stateguard")
    if marker is not None:
        return marker.kwargs.get("mode") != "off"
    if "stateguard" in getattr(item, "fixturenames", ()):
        return True
    return bool(item.config.option.stateguard or item.config.getini("stateguard"))


def _option(config: pytest.Config, name: str) -> str:
    value = str(getattr(config.option, name) or config.getini(name))
    allowed = ("fail", "report", "off") if name == "stateguard_carryover" else ("fail", "report")
    if value not in allowed:
        raise pytest.UsageError(f"{name} is {value!r}; it may be {' or '.join(allowed)}")
    return value


def _session(config: pytest.Config) -> GuardedSession:
    """What the session's guarded tests share; made for the first of them."""
    found = config.stash.get(_SESSION, None)
    if found is None:
        from stateguard.pytest_plugin.session import GuardedSession

        watch = config.option.stateguard_watch or config.getini("stateguard_watch") or None
        leaks, carryover = _option(config, "stateguard_leaks"), _option(config, "stateguard_carryover")
        found = GuardedSession(watch, leaks, carryover)
        config.stash[_SESSION] = found
    return found


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, Any, Any]:
    """Guard from before the first fixture on: those may use the application, too."""
    if _wanted(item):
        markers = [marker.kwargs for marker in item.iter_markers("stateguard")]
        options: dict[str, Any] = {}
        for kwargs in reversed(markers):  # the nearest one has the last word
            options.update(kwargs)
        try:
            _session(item.config).begin(item.nodeid, options)
        except StateGuardError as error:
            # Not raised here: what the other plugins take down after the test, they have yet to set up.
            item.stash[_PROBLEM] = f"stateguard: {error}"
    return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """A test that passed, but whose requests leaked, fails."""
    result = yield
    session = item.config.stash.get(_SESSION, None)
    if session is not None:
        complaint = session.leaked()
        if complaint:
            pytest.fail(complaint, pytrace=False)
    return result


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, Any, Any]:
    """Fixtures have cleaned up: what differs now is what the next test starts with."""
    session = item.config.stash.get(_SESSION, None)
    complaint = ""
    try:
        result = yield
    finally:
        if session is not None:
            complaint = session.end()
    if complaint:
        pytest.fail(complaint, pytrace=False)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Send what was found with the report: under xdist, another process prints the summary."""
    report = yield
    session = item.config.stash.get(_SESSION, None)
    if session is not None and call.when in ("call", "teardown"):
        notes = session.take_notes()
        if notes:
            report.__dict__["stateguard"] = notes  # travels to xdist's controller with the report
    return report


class _Collector:
    """Collects what the reports carry, wherever the tests ran; refuses tests that can not be guarded."""

    def __init__(self, notes: list[tuple[str, str, str]]) -> None:
        self._notes = notes

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        problem = item.stash.get(_PROBLEM, "")
        if problem:
            pytest.fail(problem, pytrace=False)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for kind, text in getattr(report, "stateguard", ()):
            self._notes.append((kind, report.nodeid, text))


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Listen to reports."""
    session.config.pluginmanager.register(_Collector(session.config.stash[_NOTES]), "stateguard-collector")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """List what did not fail a test: leaks that are only reported, and state left to the next test."""
    notes = config.stash[_NOTES]
    if not notes:
        return
    terminalreporter.section("stateguard")
    for wanted, title in (("leak", "leaked between requests"), ("carryover", "left state to the next test")):
        for kind, nodeid, text in notes:
            if kind == wanted:
                terminalreporter.line(f"{nodeid} {title}:", yellow=True)
                for line in text.splitlines():
                    terminalreporter.line(f"  {line}")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Give the test clients back as they were."""
    session = config.stash.get(_SESSION, None)
    if session is not None:
        session.close()


@pytest.fixture
def stateguard(request: pytest.FixtureRequest) -> Guard:
    """The guard around this test's requests: ``stateguard.leaks``, ``stateguard.summary()``."""
    guard = _session(request.config).guard
    if guard is None:
        raise pytest.UsageError('this test is marked stateguard(mode="off"): it has no guard')
    return guard


@pytest.fixture
def stateguard_probe() -> Callable[..., Result]:
    """``stateguard_probe(app, 'POST /chat {"message": "{canary}"}')``: fails unless the verdict is ``PASS``.

    See :func:`stateguard.pytest_plugin.probing.probe` for its options; ``check=False`` returns the result
    whatever the verdict.
    """
    from stateguard.pytest_plugin.probing import probe

    return probe
