"""Every case of the corpus, with its ground truth."""

from __future__ import annotations

from typing import Literal

from tests.corpus.case import Case, Req, Truth, mingled, overlapping

Protocol = Literal["asgi", "wsgi"]


def _leak(
    name: str,
    source: str,
    protocol: Protocol,
    guilty: str,
    innocent: str,
    *paths: str | Truth,
    sends: tuple[str, ...] | None = None,
    warm: tuple[str, ...] = (),
    shape: str = "",
    module: str = "",
    beside: tuple[str, ...] = (),
) -> Case:
    truths = tuple(path if isinstance(path, Truth) else Truth(path) for path in paths)
    script = overlapping(guilty, innocent, sends)
    return Case(name, source, protocol, "leak", script, truths, module, warm, shape, beside)


LANGCHAIN = "langchain-ai/langchain#11650"
AUTOGEN = "microsoft/autogen#6088"
GRADIO = "gradio-app/gradio#4558"
LITELLM = "BerriAI/litellm#20983"
AUDIT = "soynatan/django-easy-audit#6"
DRF = "encode/django-rest-framework#1870"
RAY = "ray-project/ray PR #49854"
CANISTER = "dagnelies/canister PR #8"
FASTAPI = "fastapi/fastapi#2892"
TENANT = "citusdata/django-multitenant PR #173"
LANGROID = "langroid/langroid#818, #787"
API_KEY = "langchain-ai/langchain#5195; openai/openai-python#160"
LLAMA = "run-llama/create-llama#479"
SGLANG = "sgl-project/sglang#26173"
BOKEH = "bokeh/bokeh-fastapi PR #25"
CHERRYPY = "cherrypy/cherrypy#61"
NOGOTOFAIL = "google/nogotofail PR #80"
STARLETTE = "Kludex/starlette PR #1173"
DXR = "mozilla/dxr PR #112"
MARSHMALLOW = "marshmallow-code/marshmallow#2114"

USER = "?user={user}"
RESIDUE = "what is left on a thread is compared once per request"

UPSTREAM = (
    _leak("langchain_memory", LANGCHAIN, "wsgi", "/chat" + USER, "/read", "*.CHAIN.memory.messages"),
    _leak(
        "autogen_context",
        AUTOGEN,
        "asgi",
        "/write" + USER,
        "/agents",
        "*.ASSISTANTS['writer']['context'].messages",
    ),
    _leak("gradio_initial", GRADIO, "wsgi", "/chat" + USER, "/read", "*.INITIAL", beside=("*.SESSIONS*",)),
    _leak("litellm_callbacks", LITELLM, "asgi", "/complete" + USER, "/health", "*.CALLBACKS"),
    _leak("easy_audit", AUDIT, "wsgi", "/save" + USER, "/ping", "*.AuditMiddleware.user"),
    _leak("drf_fields", DRF, "wsgi", "/user" + USER, "/fields", "*.UserSerializer.fields['name'].context*"),
    _leak("ray_contextvar", RAY, "asgi", "/serve" + USER, "/own", "*.CONTEXT*.tags"),
    _leak(
        "canister_session", CANISTER, "wsgi", "/login" + USER, "/guest", "*.Session.__init__*data*['user']"
    ),
    _leak("app_state", FASTAPI, "asgi", "/me" + USER, "/ping", "*state*user*"),
    _leak(
        "multitenant_local",
        TENANT,
        "wsgi",
        "/tenant" + USER,
        "/rows",
        Truth("*.LOCAL*tenant*", no_line=RESIDUE),
    ),
    _leak("langroid_flag", LANGROID, "asgi", "/quiet", "/read", "*.settings.stream"),
    _leak("api_key", API_KEY, "wsgi", "/complete" + USER, "/models", "*.somelib.api_key"),
    _leak("llama_handlers", LLAMA, "asgi", "/stream" + USER, "/ping", "*.ENGINE.handlers"),
    _leak("sglang_stop_words", SGLANG, "wsgi", "/generate" + USER, "/read", "*.stop_words*", warm=("/read",)),
    _leak(
        "bokeh_socket",
        BOKEH,
        "asgi",
        "/ws" + USER,
        "/ping",
        "*.HANDLER.socket",
        Truth("*.HANDLER.user", "LEAK user"),
        sends=("hello",),
    ),
    _leak(
        "cherrypy_globals", CHERRYPY, "wsgi", "/page?nickname={user}", "/ping", "*.cherrypy_globals.nickname"
    ),
    _leak("nogotofail_buffer", NOGOTOFAIL, "wsgi", "/send" + USER, "/ping", "*.Connection.buffer*"),
    _leak(
        "starlette_tasks", STARLETTE, "asgi", "/order" + USER, "/ping", "*.BackgroundTasks.__init__*tasks*"
    ),
    _leak(
        "dxr_log",
        DXR,
        "wsgi",
        "/search" + USER,
        "/ping",
        "*.dxr_log.LOG",
        Truth("*.dxr_log.DEBUG", "LEAK flag"),
    ),
    _leak(
        "marshmallow_default", MARSHMALLOW, "wsgi", "/search" + USER, "/ping", "*.SearchSchema.tags.default"
    ),
)

MIRRORS = (
    _leak(
        "langchain_memory_asgi",
        LANGCHAIN,
        "asgi",
        "/chat" + USER,
        "/read",
        "*.turns",
        shape="worker thread, alias",
    ),
    _leak(
        "autogen_context_wsgi",
        AUTOGEN,
        "wsgi",
        "/write" + USER,
        "/agents",
        "*.ASSISTANTS['writer']['context'].messages",
        shape="streamed response",
    ),
    _leak(
        "gradio_initial_asgi",
        GRADIO,
        "asgi",
        "/chat" + USER,
        "/read",
        "*.INITIAL['turns']",
        sends=("hi", "again"),
        shape="websocket",
    ),
    _leak(
        "litellm_callbacks_wsgi",
        LITELLM,
        "wsgi",
        "/complete" + USER,
        "/health",
        "*.PRIORITIES",
        shape="C function",
    ),
    _leak("easy_audit_asgi", AUDIT, "asgi", "/save" + USER, "/ping", "*.user", shape="middleware instance"),
    _leak(
        "drf_fields_asgi",
        DRF,
        "asgi",
        "/user" + USER,
        "/fields",
        "*.UserSerializer.name.context['user']",
        shape="starlette threadpool",
    ),
    _leak(
        "ray_contextvar_wsgi", RAY, "wsgi", "/serve" + USER, "/own", "*.CONTEXT*['user']", shape="dict, alias"
    ),
    _leak(
        "canister_session_asgi",
        CANISTER,
        "asgi",
        "/login" + USER,
        "/guest",
        "*.remember*seen*",
        shape="background task",
    ),
    _leak(
        "app_state_wsgi", FASTAPI, "wsgi", "/me" + USER, "/ping", "*.config['CALLER']", shape="flask config"
    ),
    _leak(
        "multitenant_local_asgi",
        TENANT,
        "asgi",
        "/tenant" + USER,
        "/rows",
        Truth("*.LOCAL*tenant*", no_line=RESIDUE),
        shape="borrowed worker thread",
    ),
    _leak("langroid_flag_wsgi", LANGROID, "wsgi", "/quiet", "/read", "*.CACHING", shape="threads"),
    _leak(
        "api_key_asgi",
        API_KEY,
        "asgi",
        "/complete" + USER,
        "/models",
        "*.options.api_key",
        shape="setattr, child task",
    ),
    _leak(
        "llama_handlers_wsgi",
        LLAMA,
        "wsgi",
        "/stream" + USER,
        "/ping",
        "*.ENGINE.handlers*",
        shape="streamed response",
    ),
    _leak(
        "sglang_stop_words_asgi",
        SGLANG,
        "asgi",
        "/generate" + USER,
        "/read",
        "*.sampling*['stop']",
        warm=("/read",),
        shape="child task, nested",
    ),
    _leak("bokeh_socket_wsgi", BOKEH, "wsgi", "/events" + USER, "/ping", "*.HANDLER.reply", shape="slots"),
    _leak(
        "cherrypy_globals_asgi",
        CHERRYPY,
        "asgi",
        "/page?title={user}",
        "/ping",
        "*.Page.title",
        shape="setattr on a class, task",
    ),
    _leak(
        "nogotofail_buffer_asgi",
        NOGOTOFAIL,
        "asgi",
        "/send" + USER,
        "/ping",
        "*.Connection.buffer*",
        sends=("one",),
        shape="websocket, memoryview",
    ),
    _leak(
        "starlette_tasks_wsgi",
        STARLETTE,
        "wsgi",
        "/order" + USER,
        "/ping",
        "*.finish*done*['last']",
        shape="close() of the body",
    ),
    _leak(
        "dxr_log_asgi",
        DXR,
        "asgi",
        "/search" + USER,
        "/ping",
        "*.dxr_log_asgi.LOG",
        shape="task outlives request",
    ),
    _leak(
        "marshmallow_default_asgi",
        MARSHMALLOW,
        "asgi",
        "/search" + USER,
        "/ping",
        "*.FIELDS['tags'].default",
        shape="streamed response",
    ),
)

_STATE = "tests.corpus.apps.eight.state"

EIGHT = tuple(
    _leak(
        f"eight_{route}",
        f"eight-leak fixture ({number})",
        "asgi",
        f"/{route}" + USER,
        "/read",
        Truth(f"{_STATE}.{path}", f"LEAK {route}"),
        module="eight",
        warm=("/harmless",),
    )
    for number, route, path in (
        (1, "list", "HISTORY"),
        (2, "dict", "LAST['user']"),
        (3, "set", "SEEN"),
        (4, "global", "CURRENT"),
        (5, "class-list", "Registry.users"),
        (6, "class-rebound", "Registry.active"),
        (7, "instance", "AGENT.memory"),
        (8, "default", "collect*found*"),
        (1, "list-from-outside", "HISTORY"),
        (4, "global-from-outside", "CURRENT"),
    )
)


def _harmless(
    name: str,
    source: str,
    protocol: Protocol,
    first: str,
    second: str,
    *,
    cold: bool = False,
    shape: str = "",
    module: str = "",
) -> Case:
    script = mingled(first, second)
    return Case(name, source, protocol, "harmless", script, (), module, () if cold else "script", shape)


SETTINGS = "FastAPI docs, @lru_cache get_settings"
PROMETHEUS = "prometheus_client metrics.py"
LOCKS = "CPython asyncio/locks.py"
OPENAPI = "fastapi/applications.py FastAPI.openapi()"
MANAGER = "FastAPI docs, ConnectionManager"
LAZY = "pydantic/pydantic-ai#1209; falconry/falcon PR #1665"
JINJA = "pallets/jinja#8 (LRUCache)"
POOL = "urllib3 connectionpool.py"
RANDOM = "CPython Lib/random.py"
LIMITS = "alisaifee/limits storage/memory.py"
EIGHT_HARMLESS = "eight-leak fixture (harmless)"

_SOCKETS = (
    Req("a-1", "/count", during=(Req("b-1", "/ws", sends=("hi",)),)),
    Req("b-2", "/ws", sends=("hi", "ho"), during=(Req("a-2", "/count"), Req("b-3", "/ws", sends=("hey",)))),
)

HARMLESS = (
    _harmless("settings_cache", SETTINGS, "asgi", "/info" + USER, "/limits" + USER),
    _harmless("prometheus_counter", PROMETHEUS, "asgi", "/a", "/b"),
    _harmless("asyncio_lock", LOCKS, "asgi", "/locked", "/slot"),
    _harmless("openapi_schema", OPENAPI, "asgi", "/openapi.json", "/ping"),
    Case("connection_manager", MANAGER, "asgi", "harmless", _SOCKETS, warm="script"),
    _harmless("lazy_client", LAZY, "asgi", "/ask", "/ping"),
    _harmless("template_lru", JINJA, "wsgi", "/index", "/page"),
    _harmless("urllib3_pool", POOL, "wsgi", "/ask", "/ask"),
    _harmless("random_state", RANDOM, "wsgi", "/roll", "/roll"),
    _harmless("rate_limits", LIMITS, "asgi", "/call" + USER, "/call" + USER),
    _harmless(
        "settings_cache_wsgi", SETTINGS, "wsgi", "/count" + USER, "/count" + USER, cold=True, shape="cold"
    ),
    _harmless("prometheus_counter_wsgi", PROMETHEUS, "wsgi", "/a", "/a", shape="plain integers"),
    _harmless("asyncio_lock_wsgi", LOCKS, "wsgi", "/locked", "/slot", shape="threading"),
    _harmless(
        "openapi_cold",
        OPENAPI,
        "asgi",
        "/openapi.json",
        "/ping",
        cold=True,
        module="openapi_schema",
        shape="cold",
    ),
    _harmless(
        "openapi_schema_wsgi", OPENAPI, "wsgi", "/map", "/map", cold=True, shape="cached_property, cold"
    ),
    _harmless("lazy_cold", LAZY, "asgi", "/ask", "/ping", cold=True, module="lazy_client", shape="cold"),
    _harmless("lazy_client_wsgi", LAZY, "wsgi", "/ask", "/ping", shape="class attribute, registry"),
    _harmless("template_lru_asgi", JINJA, "asgi", "/index", "/page", shape="OrderedDict"),
    _harmless("urllib3_pool_asgi", POOL, "asgi", "/ask", "/ask", shape="list as pool"),
    _harmless("rate_limits_wsgi", LIMITS, "wsgi", "/call" + USER, "/call" + USER, shape="moving window"),
    _harmless("eight_harmless", EIGHT_HARMLESS, "asgi", "/harmless", "/read", module="eight"),
    _harmless(
        "eight_cold", EIGHT_HARMLESS, "asgi", "/harmless", "/read", cold=True, module="eight", shape="cold"
    ),
)

CASES: tuple[Case, ...] = (*UPSTREAM, *MIRRORS, *EIGHT, *HARMLESS)
