"""Which suites are run, with what beside them, and the outcomes that are known to change."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Suite:
    """One project's test suite.

    ``install`` is what pip installs beside the project's own source (``{source}`` stands for it).
    ``arguments`` are pytest's, or Django's test labels; ``directory`` is where the run starts, below the
    source. Each file of tests has a guard of its own; in the files of ``guard_per_test``, where tests look
    for objects that should be gone, each test has: a guard holds the applications it has met until it is
    closed. ``seconds`` bounds one run. ``expected`` names tests whose outcome is known to change, each with
    the reason; ``left_out`` says which part of the suite is not run, and why.
    """

    name: str
    install: tuple[str, ...]
    arguments: tuple[str, ...] = ()
    directory: str = "."
    seconds: float = 600
    environment: dict[str, str] = field(default_factory=dict)
    expected: dict[str, str] = field(default_factory=dict)
    left_out: str = ""
    runner: str = "pytest"
    guard_per_test: tuple[str, ...] = ()


_EMPTY_CONTEXT = "asserts that its task's context is empty; the guard keeps the request in a context variable"

SUITES = {
    suite.name: suite
    for suite in (
        Suite(
            "starlette",
            (
                "{source}[full]",
                "httpx2[zstd]",
                "anyio",
                "blockbuster",
                "opentelemetry-sdk",
                "pytest",
                "pytest-codspeed",
                "trio",
            ),
            ("tests",),
        ),
        Suite(
            "fastapi",
            (
                "{source}[all]",
                "flask",
                "a2wsgi",
                "anyio[trio]",
                "dirty-equals",
                "inline-snapshot",
                "pwdlib[argon2]",
                "pyjwt",
                "pytest<9.2",
                "pytest-timeout",
                "pytest-xdist",
                "python-slugify",
                "sqlmodel",
                "strawberry-graphql",
                "opentelemetry-instrumentation-fastapi",
                "sentry-sdk",
                "typer",
                "ruff<0.17",
                "coverage[toml]",
            ),
            ("tests", "-o", "timeout=120"),
            seconds=2400,
        ),
        Suite(
            "uvicorn",
            (
                "{source}[standard]",
                "a2wsgi==1.10.10",
                "cryptography",
                "httpx2",
                "pytest",
                "pytest-codspeed",
                "pytest-mock",
                "pytest-timeout",
                "trustme",
                "wsproto",
                "zttp",
            ),
            ("tests", "-o", "addopts=--strict-config", "-o", "timeout=60"),
            seconds=1200,
            expected={
                f"tests/test_server.py::test_reset_contextvars_asyncio[{protocol}]": _EMPTY_CONTEXT
                for protocol in ("h11", "httptools", "zttp")
            },
        ),
        Suite("flask", ("{source}[async,dotenv]", "greenlet", "pytest<9"), ("tests",)),
        Suite(
            "werkzeug",
            (
                "{source}[watchdog]",
                "cffi",
                "cryptography",
                "ephemeral-port-reserve",
                "pytest<9",
                "pytest-timeout",
            ),
            ("tests", "--timeout=60"),
            guard_per_test=("tests/test_routing.py",),
        ),
        Suite("asgiref", ("{source}", "packaging", "pytest", "pytest-asyncio"), ("tests",)),
        Suite(
            "falcon",
            (
                "{source}",
                "aiofiles",
                "cbor2",
                "httpx",
                "msgpack",
                "msgspec",
                "orjson",
                "pytest",
                "pyyaml",
                "requests",
                "uvicorn",
                "websockets",
            ),
            ("tests",),
            seconds=1200,
            environment={"FALCON_DISABLE_CYTHON": "Y"},
        ),
        Suite("pyramid", ("{source}", "webtest", "zope.component", "pytest"), ("tests",)),
        Suite(
            "django",
            ("{source}", "jinja2", "pyyaml", "tblib", "tzdata", "docutils", "Pillow", "pytest"),
            (
                "asgi",
                "async",
                "conditional_processing",
                "context_processors",
                "csrf_tests",
                "decorators",
                "file_uploads",
                "flatpages_tests",
                "generic_views",
                "handlers",
                "httpwrappers",
                "i18n.patterns",
                "logging_tests",
                "messages_tests",
                "middleware",
                "middleware_exceptions",
                "redirects_tests",
                "requests_tests",
                "responses",
                "servers",
                "sessions_tests",
                "shortcuts",
                "signals",
                "signed_cookies_tests",
                "sites_tests",
                "staticfiles_tests",
                "syndication_tests",
                "test_client",
                "test_client_regress",
                "urlpatterns",
                "urlpatterns_reverse",
                "view_tests",
                "wsgi",
            ),
            directory="tests",
            seconds=1200,
            runner="django",
            left_out="labels that serve no requests (the ORM, forms, migrations, ...), and the admin",
        ),
    )
}
