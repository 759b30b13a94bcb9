"""Where requests come in: routes, views, websocket endpoints, ASGI and WSGI callables, tools, middleware.

Also where they do not: start-up hooks and command lines, which run before or beside the serving of requests.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from stateguard.audit.facts import MODULE_BODY, Call, ClassFacts, FunctionFacts, ModuleFacts
from stateguard.audit.program import Place, Program
from stateguard.audit.resolve import Resolver

_VERBS = {"get", "post", "put", "patch", "delete", "head", "options", "trace"}
_ROUTE_DECORATORS = {"route", "api_route", "add_route", "websocket", "websocket_route", "sse", "expose"}
_HOOKS = {
    "before_request", "after_request", "teardown_request", "before_app_request", "after_app_request",
    "teardown_appcontext", "errorhandler", "app_errorhandler", "exception_handler", "context_processor",
    "app_context_processor", "url_value_preprocessor", "user_loader", "request_loader", "middleware",
    "on_request", "on_response", "before_websocket", "after_websocket",
}  # fmt: skip
_TOOLS = {
    "tool", "tool_plain", "function_tool", "call_tool", "list_tools", "resource", "prompt", "read_resource",
    "get_prompt", "system_prompt", "output_validator", "agent_tool", "kernel_function", "tool_node",
    "on_message", "on_chat_start", "on_chat_end", "register_function", "completion",
}  # fmt: skip
_TASKS = {"task", "shared_task", "actor", "job", "periodic_task", "subscriber", "function_name"}
_EVENTS = {"on_message", "event", "message", "action", "shortcut", "receiver", "connect"}
_STARTUP = {
    "on_startup", "on_shutdown", "startup", "shutdown", "before_first_request", "before_serving",
    "after_serving", "while_serving", "fixture", "command", "callback", "group", "cli", "lifespan",
    "listener", "before_server_start", "after_server_stop", "hookimpl", "setup",
}  # fmt: skip
_ROUTE_CALLS = {
    "Route", "WebSocketRoute", "APIRoute", "APIWebSocketRoute", "add_route", "add_api_route",
    "add_websocket_route",
    "add_api_websocket_route", "add_url_rule", "path", "re_path", "url", "add_get", "add_post", "add_put",
    "add_delete", "add_patch", "add_view", "Rule", "Mount", "add_exception_handler", "add_task",
}  # fmt: skip
_VIEW_BASES = {
    "HTTPEndpoint", "WebSocketEndpoint", "MethodView", "View", "APIView", "ViewSet", "ModelViewSet",
    "GenericViewSet",
    "GenericAPIView", "TemplateView", "ListView", "DetailView", "FormView", "CreateView", "UpdateView",
    "DeleteView", "RedirectView", "RequestHandler", "WebSocketHandler", "Resource", "HTTPMethodView",
    "BaseHTTPRequestHandler", "SimpleHTTPRequestHandler", "ReadOnlyModelViewSet", "JupyterHandler",
    "APIHandler",
}  # fmt: skip
_VIEW_METHODS = _VERBS | {
    "dispatch", "dispatch_request", "list", "create", "retrieve", "update", "partial_update", "destroy",
    "on_connect", "on_receive", "on_disconnect", "prepare", "on_finish", "on_message", "on_close", "open",
    "form_valid", "form_invalid", "get_queryset", "get_context_data", "get_object", "perform_create",
    "perform_update", "do_GET", "do_POST", "do_PUT", "do_DELETE", "do_HEAD", "do_PATCH", "do_OPTIONS",
}  # fmt: skip
_UPPER_METHODS = {"GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"}
"""What web.py and CherryPy call."""
_FALCON_METHODS = {
    "on_get",
    "on_post",
    "on_put",
    "on_patch",
    "on_delete",
    "on_head",
    "on_options",
    "on_websocket",
}
_MIDDLEWARE_METHODS = {
    "dispatch", "process_request", "process_response", "process_view", "process_exception",
    "process_template_response", "process_resource", "process_startup", "__call__", "on_call_tool",
    "on_message",
}  # fmt: skip
_MIDDLEWARE_BASES = {"BaseHTTPMiddleware", "MiddlewareMixin", "Middleware", "BaseMiddleware"}
_APPLICATION_PARAMETERS = {"app", "application", "get_response", "inner", "next_app", "wrapped"}
_COMMAND_MODULES = {"cli", "__main__", "manage", "management", "commands", "scripts", "console"}
_STARTUP_NAMES = {
    "__init_subclass__", "__set_name__", "__class_getitem__", "__prepare__", "ready", "includeme",
    "setup_module",
    "pytest_configure", "conftest", "__del__", "__reduce__", "__getstate__", "__setstate__", "handle",
    "add_arguments",
}  # fmt: skip


@dataclass(slots=True)
class EntryPoints:
    """``requests`` maps functions to what reaches them (``POST /chat``); ``startup`` lists start-up hooks."""

    requests: dict[str, str] = field(default_factory=dict)
    startup: set[str] = field(default_factory=set)
    middleware: set[str] = field(default_factory=set)
    handlers: set[str] = field(default_factory=set)


def find(program: Program, resolver: Resolver) -> EntryPoints:
    """Every entry point of a program."""
    found = EntryPoints()
    for function in program.functions.values():
        module, facts = function.module, function.facts
        _by_decorator(found, function.key, facts)
        _by_signature(program, found, function.key, facts)
        for call in facts.calls:
            last = call.callee.replace(":", ".").rpartition(".")[2]
            if last in _ROUTE_CALLS:
                _registered(program, resolver, found, module, facts, call, last)
            elif last in ("add_middleware", "Middleware", "middleware"):
                _middleware(program, resolver, found, module, facts, call)
            elif "lifespan" in call.kwargs or "on_startup" in call.kwargs or last == "Process":
                _startup_arguments(resolver, found, module, facts, call)
            elif last in ("before_request", "after_request", "teardown_request", "user_loader"):
                _hook_call(resolver, found, module, facts, call, last)
    for module in program.modules.values():
        for one in module.classes.values():
            _by_class(program, found, module, one)
        if module.has_main or "pytest" in module.imports or _COMMAND_MODULES & set(module.name.split(".")):
            _commands(found, module)
    _only_long_lived(program, resolver, found)
    return found


def _commands(found: EntryPoints, module: ModuleFacts) -> None:
    """Functions of command-line modules start programs; what a request reaches is found from its own side."""
    everything = "pytest" in module.imports or bool(_COMMAND_MODULES & set(module.name.split(".")))
    for qual, facts in module.functions.items():
        if qual != MODULE_BODY and not facts.parent and (everything or facts.name == "main"):
            key = f"{module.name}:{qual}"
            if key not in found.requests:
                found.startup.add(key)


def _only_long_lived(program: Program, resolver: Resolver, found: EntryPoints) -> None:
    """Leave out callables that are made anew for each request: responses, responders."""
    for function in program.functions.values():
        if function.key not in found.requests and not _serves(function.facts):
            continue
        for call in function.facts.calls:
            if call.callee[0] in "gmd" and call.callee[-1] != ")":
                for place in resolver.resolve(function.module, function.facts, call.callee):
                    if place.kind == "C":
                        found.middleware.discard(place.key)


def _serves(facts: FunctionFacts) -> bool:
    return (
        facts.name in ("__call__", "dispatch", "handle")
        or "scope" in facts.params
        or "request" in facts.params
    )


def _wraps_application(program: Program, module: str, qual: str) -> bool:
    """Whether the class is constructed with the application it wraps, or is named like one."""
    last = qual.rpartition(".")[2]
    if last.endswith(("Middleware", "App", "Application")):
        return True
    init = program.find_method(module, qual, "__init__")
    if init is None:
        return False
    params = program.functions[init.key].facts.params[1:3]
    return any(p in _APPLICATION_PARAMETERS or p.endswith("_app") for p in params)


def _by_decorator(found: EntryPoints, key: str, facts: FunctionFacts) -> None:
    for decorator in facts.decorators:
        dotted = decorator.ref[2:]
        last = dotted.rpartition(".")[2]
        has_base = "." in dotted
        if last in _VERBS and has_base and decorator.called:
            found.requests[key] = f"{last.upper()} {decorator.text or facts.name}"
        elif last in ("route", "api_route") and (has_base or decorator.called):
            found.requests[key] = f"{decorator.methods or 'GET'} {decorator.text or facts.name}"
        elif last in ("websocket", "websocket_route") and has_base:
            found.requests[key] = f"websocket {decorator.text or facts.name}"
        elif last in _ROUTE_DECORATORS:
            found.requests[key] = f"route {decorator.text or facts.name}"
        elif last in ("api_view", "csrf_exempt", "login_required", "require_POST", "require_GET"):
            found.requests.setdefault(key, f"view {facts.name}")
        elif (last == "on_event" and decorator.text in ("startup", "shutdown")) or (
            last in _STARTUP and not facts.owner
        ):
            found.startup.add(key)
        elif last in _HOOKS and (has_base or decorator.called):
            found.requests[key] = f"{last} hook {facts.name}"
        elif last in _TOOLS and not facts.owner:
            found.requests[key] = f"tool {decorator.text or facts.name}"
        elif last in _TASKS and not facts.owner:
            found.requests[key] = f"task {facts.name}"
        elif last in _EVENTS and has_base and decorator.called and not facts.owner:
            found.requests[key] = f"event {decorator.text or facts.name}"
        elif decorator.called and has_base and decorator.text.startswith("/"):
            found.requests[key] = f"{last} {decorator.text}"
        else:
            continue
        if key in found.requests:
            found.handlers.add(key)


def _by_signature(program: Program, found: EntryPoints, key: str, facts: FunctionFacts) -> None:
    params = facts.params[1:] if facts.self_name else facts.params
    name = facts.owner.rpartition(".")[2] or facts.name
    if params[:3] == ["scope", "receive", "send"]:
        if facts.name in ("__call__", "app") or not facts.owner:
            found.requests.setdefault(key, f"ASGI app {name}")
            if facts.owner and _wraps_application(program, key.partition(":")[0], facts.owner):
                found.middleware.add(f"{key.partition(':')[0]}:{facts.owner}")
    elif params[:2] == ["environ", "start_response"]:
        found.requests.setdefault(key, f"WSGI app {name}")
        module = key.partition(":")[0]
        if facts.owner and facts.name == "__call__" and _wraps_application(program, module, facts.owner):
            found.middleware.add(f"{key.partition(':')[0]}:{facts.owner}")
    elif params[:1] == ["get_response"] and not facts.owner:
        for ref in facts.returns:
            inner = f"{key.partition(':')[0]}:{ref[2:]}"
            if ref[:2] == "d:" and inner in program.functions:
                found.requests.setdefault(inner, f"middleware {facts.name}")
    elif facts.name in ("lambda_handler",) and len(params) == 2:
        found.requests.setdefault(key, f"Lambda handler {facts.name}")
    elif facts.name in _STARTUP_NAMES and facts.owner and key not in found.requests:
        owner = facts.owner.rpartition(".")[2]
        expected = {"handle": owner == "Command", "ready": owner.endswith("Config")}
        if expected.get(facts.name, True):
            found.startup.add(key)


def _registered(
    program: Program,
    resolver: Resolver,
    found: EntryPoints,
    module: ModuleFacts,
    facts: FunctionFacts,
    call: Call,
    last: str,
) -> None:
    refs = [ref for position in call.args for ref in position]
    for name in ("view_func", "endpoint", "handler", "route", "view", "app"):
        refs.extend(call.kwargs.get(name, ()))
    if last == "path" and call.callee.startswith("g:os"):
        return
    kind = {
        "WebSocketRoute": "websocket",
        "add_websocket_route": "websocket",
        "APIWebSocketRoute": "websocket",
    }
    verb = kind.get(last, call.methods or ("GET" if last in ("Route", "add_get") else "route"))
    if last == "add_task":
        verb = "background task"
    if last.startswith("add_") and last[4:] in _VERBS:
        verb = last[4:].upper()
    for ref in refs:
        if ref[0] not in "gdmpf":
            continue
        label = f"{verb} {call.text}".strip() if call.text else ""
        as_view = ".as_view(" in ref
        view = ref[: ref.index(".as_view(")] if as_view else ref
        for place in resolver.resolve(module, facts, view):
            _register(program, found, place, label or f"{verb} {place.name}")


def _register(program: Program, found: EntryPoints, place: Place, label: str) -> None:
    if place.kind in "FB" and not place.path and place.key in program.functions:
        found.requests.setdefault(place.key, label)
        found.handlers.add(place.key)
    elif place.kind == "C":
        for _, qual in program.class_facts(place).methods.items():
            if qual.rpartition(".")[2] in _VIEW_METHODS | _FALCON_METHODS | {"__call__", "view"}:
                found.requests.setdefault(f"{place.owner}:{qual}", label)


def _middleware(
    program: Program,
    resolver: Resolver,
    found: EntryPoints,
    module: ModuleFacts,
    facts: FunctionFacts,
    call: Call,
) -> None:
    if not call.args:
        return
    for ref in call.args[0]:
        for place in resolver.resolve(module, facts, ref):
            if place.kind == "C":
                _mark_middleware(program, found, place.owner, program.class_facts(place))


def _mark_middleware(program: Program, found: EntryPoints, owner: str, facts: ClassFacts) -> None:
    for base_module, one in program.mro(owner, facts.qual):
        found.middleware.add(f"{base_module.name}:{one.qual}")
        for name, qual in one.methods.items():
            if name in _MIDDLEWARE_METHODS:
                found.requests.setdefault(f"{base_module.name}:{qual}", f"middleware {facts.qual}")


def _startup_arguments(
    resolver: Resolver, found: EntryPoints, module: ModuleFacts, facts: FunctionFacts, call: Call
) -> None:
    names = ["lifespan", "on_startup", "on_shutdown"]
    if call.callee.endswith("Process"):
        names.append("target")  # what a new process begins with
    for name in names:
        for ref in call.kwargs.get(name, ()):
            if ref[0] in "gdmf":
                for place in resolver.resolve(module, facts, ref):
                    if place.kind in "FB":
                        found.startup.add(place.key)


def _hook_call(
    resolver: Resolver, found: EntryPoints, module: ModuleFacts, facts: FunctionFacts, call: Call, last: str
) -> None:
    for position in call.args:
        for ref in position:
            if ref[0] in "gdmf":
                for place in resolver.resolve(module, facts, ref):
                    if place.kind in "FB":
                        found.requests.setdefault(place.key, f"{last} hook {place.name}")


def _by_class(program: Program, found: EntryPoints, module: ModuleFacts, facts: ClassFacts) -> None:
    bases = {b.rpartition(".")[2] for b in program.external_bases(module.name, facts.qual)}
    names = {one.qual for _, one in program.mro(module.name, facts.qual)}
    if bases & _MIDDLEWARE_BASES:
        _mark_middleware(program, found, module.name, facts)
    init = facts.methods.get("__init__")
    if init and "__call__" in facts.methods:
        params = module.functions[init].params
        if params[1:2] == ["get_response"]:
            _mark_middleware(program, found, module.name, facts)
    is_view = bool((bases | names) & _VIEW_BASES)
    for name, qual in facts.methods.items():
        key = f"{module.name}:{qual}"
        if (is_view and name in _VIEW_METHODS) or name in _FALCON_METHODS | _UPPER_METHODS:
            verb = name.removeprefix("on_").removeprefix("do_").upper()
            label = f"{verb} {facts.qual}" if verb.lower() in _VERBS else f"view {facts.qual}.{name}"
            found.requests.setdefault(key, label)
        elif name == "handle" and "BaseCommand" in bases:
            found.startup.add(key)


__all__ = ["MODULE_BODY", "EntryPoints", "find"]
