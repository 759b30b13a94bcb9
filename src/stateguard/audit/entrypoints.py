"""Where requests come in: routes, views, websocket endpoints, ASGI and WSGI callables, tools, middleware.

Also where they do not: start-up hooks and command lines, which run before or beside the serving of requests.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from stateguard.audit.facts import MODULE_BODY, Call, ClassFacts, FunctionFacts, ModuleFacts
from stateguard.audit.frameworks import (
    APPLICATION_PARAMETERS,
    COMMAND_MODULES,
    CONSUMER_BASES,
    CONSUMER_METHODS,
    EVENT_CALLS,
    EVENT_LIBRARIES,
    EVENTS,
    FALCON_METHODS,
    HANDLER_CALLS,
    HOOKS,
    MIDDLEWARE_BASES,
    MIDDLEWARE_METHODS,
    RESOLVER_BASES,
    RESOLVER_DECORATORS,
    ROUTE_CALLS,
    ROUTE_DECORATORS,
    STARTUP,
    STARTUP_NAMES,
    TASKS,
    TOOLS,
    UPPER_METHODS,
    VERBS,
    VIEW_BASES,
    VIEW_METHODS,
)
from stateguard.audit.program import Place, Program
from stateguard.audit.resolve import Resolver


@dataclass(slots=True)
class EntryPoints:
    """``requests`` maps functions to what reaches them (``POST /chat``); ``startup`` lists start-up hooks.

    ``middleware`` and ``resources`` list the classes of which one object serves all requests.
    """

    requests: dict[str, str] = field(default_factory=dict)
    startup: set[str] = field(default_factory=set)
    middleware: set[str] = field(default_factory=set)
    resources: set[str] = field(default_factory=set)
    handlers: set[str] = field(default_factory=set)


def find(program: Program, resolver: Resolver) -> EntryPoints:
    """Every entry point of a program."""
    found = EntryPoints()
    for function in program.functions.values():
        module, facts = function.module, function.facts
        _by_decorator(found, module, function.key, facts)
        _by_signature(program, found, function.key, facts)
        for call in facts.calls:
            last = call.callee.replace(":", ".").rpartition(".")[2]
            if last in ROUTE_CALLS or (last in VERBS and call.text.startswith("/") and len(call.args) > 1):
                _registered(program, resolver, found, module, facts, call, last)
            elif last in HANDLER_CALLS or (last in EVENT_CALLS and _imports(module, *EVENT_LIBRARIES)):
                _handled(program, resolver, found, module, facts, call)
            elif last in ("add_middleware", "Middleware", "middleware"):
                _middleware(program, resolver, found, module, facts, call)
            elif "lifespan" in call.kwargs or "on_startup" in call.kwargs or last == "Process":
                _startup_arguments(resolver, found, module, facts, call)
            elif last in ("before_request", "after_request", "teardown_request", "user_loader"):
                _hook_call(resolver, found, module, facts, call, last)
    for module in program.modules.values():
        for one in module.classes.values():
            _by_class(program, found, module, one)
        if module.has_main or "pytest" in module.imports or COMMAND_MODULES & set(module.name.split(".")):
            _commands(found, module)
    _only_long_lived(program, resolver, found)
    return found


def _commands(found: EntryPoints, module: ModuleFacts) -> None:
    """Functions of command-line modules start programs; what a request reaches is found from its own side."""
    everything = "pytest" in module.imports or bool(COMMAND_MODULES & set(module.name.split(".")))
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
    return any(p in APPLICATION_PARAMETERS or p.endswith("_app") for p in params)


def _by_decorator(found: EntryPoints, module: ModuleFacts, key: str, facts: FunctionFacts) -> None:
    for decorator in facts.decorators:
        dotted = decorator.ref[2:]
        last = dotted.rpartition(".")[2]
        has_base = "." in dotted
        path = decorator.called and decorator.text.startswith("/")
        if last in VERBS and decorator.called and (has_base or path or _imports(module, "litestar")):
            found.requests[key] = f"{last.upper()} {decorator.text or facts.name}"
        elif last in ("route", "api_route") and (has_base or decorator.called):
            found.requests[key] = f"{decorator.methods or 'GET'} {decorator.text or facts.name}"
        elif last in ("websocket", "websocket_route") and has_base:
            found.requests[key] = f"websocket {decorator.text or facts.name}"
        elif last in ROUTE_DECORATORS:
            found.requests[key] = f"route {decorator.text or facts.name}"
        elif last in ("api_view", "csrf_exempt", "login_required", "require_POST", "require_GET"):
            found.requests.setdefault(key, f"view {facts.name}")
        elif (last == "on_event" and decorator.text in ("startup", "shutdown")) or (
            last in STARTUP and not facts.owner and not (last == "callback" and _imports(module, "dash"))
        ):
            found.startup.add(key)
        elif last == "callback" and decorator.called and _imports(module, "dash"):
            found.requests[key] = f"callback {facts.name}"
        elif last in RESOLVER_DECORATORS and _imports(module, "strawberry", "ariadne"):
            found.requests[key] = f"GraphQL {facts.name}"
        elif last in HOOKS and (has_base or decorator.called):
            found.requests[key] = f"{last} hook {facts.name}"
        elif last in TOOLS and not facts.owner:
            found.requests[key] = f"tool {decorator.text or facts.name}"
        elif last in TASKS and not facts.owner:
            found.requests[key] = f"task {facts.name}"
        elif has_base and (
            (last in EVENTS and not facts.owner and (decorator.called or last == "event"))
            or (last == "on" and decorator.called)
        ):
            found.requests[key] = f"event {decorator.text or facts.name}"
        elif path and has_base:
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
    elif params[:2] == ["event", "context"] and not facts.owner and not facts.parent:
        found.requests.setdefault(key, f"Lambda handler {facts.name}")
        found.handlers.add(key)
    elif facts.name in STARTUP_NAMES and facts.owner and key not in found.requests:
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
    if last in VERBS:
        kind[last] = last.upper()
    verb = kind.get(last, call.methods or ("GET" if last in ("Route", "add_get") else "route"))
    if last == "add_task":
        verb = "background task"
    if last.startswith("add_") and last[4:] in VERBS:
        verb = last[4:].upper()
    for ref in refs:
        if ref[0] not in "gdmpf":
            continue
        label = f"{verb} {call.text}".strip() if call.text else ""
        as_view = ".as_view(" in ref
        view = ref[: ref.index(".as_view(")] if as_view else ref
        for place in resolver.resolve(module, facts, view):
            _register(program, found, place, label or f"{verb} {place.name}")


def _handled(
    program: Program,
    resolver: Resolver,
    found: EntryPoints,
    module: ModuleFacts,
    facts: FunctionFacts,
    call: Call,
) -> None:
    """A function given to a server of connections, a bot or a component of a page."""
    last = call.callee.replace(":", ".").rpartition(".")[2]
    given = [*call.args, *(call.kwargs.get(name, ()) for name in ("fn", "callback", "handler"))]
    for refs in given:
        for ref in refs:
            if ref[0] in "gdmpf" and ref[-1] != ")":
                for place in resolver.resolve(module, facts, ref):
                    if place.kind in "FB":
                        _register(program, found, place, f"{last} {call.text or place.name}")


def _imports(module: ModuleFacts, *packages: str) -> bool:
    """Whether the module imports one of these packages."""
    return any(d.partition(".")[0] in packages for names in module.imports.values() for d in names)


def _register(program: Program, found: EntryPoints, place: Place, label: str) -> None:
    if place.kind in "FB" and not place.path and place.key in program.functions:
        found.requests.setdefault(place.key, label)
        found.handlers.add(place.key)
    elif place.kind in "CI" and not place.path:
        if place.kind == "I":  # an object is registered, not a class that is called for each request
            found.resources.add(place.key)
        for _, qual in program.class_facts(place).methods.items():
            if qual.rpartition(".")[2] in VIEW_METHODS | FALCON_METHODS | {"__call__", "view"}:
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
            if name in MIDDLEWARE_METHODS:
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
    if bases & MIDDLEWARE_BASES:
        _mark_middleware(program, found, module.name, facts)
    init = facts.methods.get("__init__")
    if init and "__call__" in facts.methods:
        params = module.functions[init].params
        if params[1:2] == ["get_response"]:
            _mark_middleware(program, found, module.name, facts)
    kind = _class_kind(bases, names, facts.qual)
    if FALCON_METHODS & set(facts.methods):
        found.resources.add(f"{module.name}:{facts.qual}")
    for name, qual in facts.methods.items():
        key = f"{module.name}:{qual}"
        label = _method_label(module, facts, name, kind)
        if label:
            found.requests.setdefault(key, label)
            found.handlers.add(key)
        elif name == "handle" and "BaseCommand" in bases:
            found.startup.add(key)


def _class_kind(bases: set[str], names: set[str], qual: str) -> str:
    """What a framework makes of a class, empty when it is none of its kinds."""
    if (bases | names) & VIEW_BASES:
        return "view"
    if bases & CONSUMER_BASES:
        return "consumer"
    if any(one.endswith("Servicer") for one in {*bases, qual}):
        return "servicer"
    return "resolver" if bases & RESOLVER_BASES else ""


def _method_label(module: ModuleFacts, facts: ClassFacts, name: str, kind: str) -> str:
    """What reaches a method of such a class, empty when nothing does."""
    if (kind == "view" and name in VIEW_METHODS) or name in FALCON_METHODS | UPPER_METHODS:
        verb = name.removeprefix("on_").removeprefix("do_").upper()
        return f"{verb} {facts.qual}" if verb.lower() in VERBS else f"view {facts.qual}.{name}"
    if kind == "servicer" and module.functions[facts.methods[name]].params[1:3] == ["request", "context"]:
        return f"RPC {facts.qual}.{name}"
    if kind == "consumer" and (name in CONSUMER_METHODS or name.startswith("on_")):
        return f"event {facts.qual}.{name}"
    if kind == "resolver" and (name.startswith("resolve_") or name == "mutate"):
        return f"GraphQL {facts.qual}.{name}"
    return ""


__all__ = ["MODULE_BODY", "EntryPoints", "find"]
