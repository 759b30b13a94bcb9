"""Leaks and harmless writes that are in no tracker, each in one of the ways in which code comes to run."""

from __future__ import annotations

from typing import get_args

from tests.corpus import carriers
from tests.corpus.case import Case, Truth, mingled, overlapping
from tests.corpus.catalogue import Protocol

SOURCE = "a shape that teams write"

_LEAKS = (
    ("agents", "agent_memory", "memory", "AGENT.memory.turns"),
    ("agents", "memory_window", "window", "AGENT.memory.window"),
    ("agents", "scratchpad", "scratchpad", "AGENT.scratchpad"),
    ("agents", "system_prompt", "prompt", "AGENT.prompt"),
    ("agents", "tool_bound_to_a_user", "tool", "TOOLS['whoami']"),
    ("agents", "client_under_the_wrong_key", "client", "CLIENTS['default'].token"),
    ("agents", "queue_of_all_answers", "pending", "PENDING._queue"),
    ("agents", "queue_of_threads", "events", "EVENTS.queue"),
    ("agents", "heap", "heap", "PRIORITIES"),
    ("agents", "hook", "hook", "HOOKS"),
    ("agents", "partial_object", "partial", "ASK[1]['user']"),
    ("agents", "generator", "generator", "CONVERSATION(local of conversation)"),
    ("classes", "class_in_a_registry", "registry", "Audit.seen"),
    ("classes", "descriptor", "descriptor", "Form.name.value"),
    ("classes", "descriptor_of_a_shared_owner", "owner", "Page.title.values.data*"),
    ("classes", "enum_member", "enum", "Mode.FAST.users"),
    ("classes", "cached_property", "cached", "SERVICE.log"),
    ("classes", "singleton", "singleton", "Single._instance.data['user']"),
    ("classes", "borg", "borg", "Borg._shared['user']"),
    ("classes", "metaclass_property", "metaclass", "Session._current"),
    ("classes", "patched_method", "patched", "Greeter.greet"),
    ("classes", "cached_method", "lru", "Repository.profile(cached result)['seen']"),
    ("models", "pydantic_field", "field", "SETTINGS.user"),
    ("models", "pydantic_list", "list", "SETTINGS.tags"),
    ("models", "pydantic_extra", "extra", "SETTINGS.nickname"),
    ("models", "pydantic_private", "private", "SETTINGS._trace"),
    ("models", "attrs_list", "attrs", "BASKET.items"),
    ("models", "frozen_dataclass", "frozen", "DEFAULTS.options['user']"),
    ("models", "named_tuple", "tuple", "ROUTE.log"),
    ("models", "chain_map", "chain", "LAYERS.maps[0]['user']"),
    ("models", "user_dict", "table", "TABLE.data['user']"),
    ("models", "attribute_dict", "bag", "BAG['user']"),
    ("models", "inherited_context", "context", "CONTEXT(inherited value)['user']"),
    ("models", "initialised_local", "local", "LOCAL.user"),
    ("models", "closure", "closure", "counter.<locals>.put(nonlocal last)"),
    ("models", "logger_adapter", "adapter", "LOGGER.extra['user']"),
    ("models", "module_getattr", "getattr", "_values['current'].user"),
    ("buffers", "array_view", "numpy", "ROW"),
    ("buffers", "array_of_objects", "objects", "RECORDS"),
    ("buffers", "memory_view", "view", "LEVELS"),
    ("buffers", "byte_stream", "stream", "OUTPUT"),
)

_ON_THE_LOOP = frozenset({"inherited_context", "initialised_local"})
"""State of a context or a thread: shared by all requests of an event loop."""


def _leak(number: int, module: str, deed: str, marker: str, path: str) -> Case:
    protocol: Protocol = "asgi" if deed in _ON_THE_LOOP else get_args(Protocol)[number % 2]
    ways = carriers.ASGI if protocol == "asgi" else carriers.WSGI
    carrier = ways[number // 2 % len(ways)]
    if deed == "initialised_local" and carrier == "worker thread":
        carrier = "direct"
    sends = ("hi",) if carrier == "websocket" else None
    return Case(
        f"shape_{deed}",
        SOURCE,
        protocol,
        "leak",
        overlapping("/write?user={user}", "/read?user=eve-77b0", sends),
        (Truth(f"tests.corpus.apps.shapes.{module}.{path}", f"LEAK {marker}"),),
        f"shapes.{module}",
        shape=f"{carrier}, {protocol}",
        carrier=carrier,
        deed=deed,
    )


SHAPES = tuple(_leak(number, *row) for number, row in enumerate(_LEAKS))

_HARMLESS = (
    "locks",
    "pool",
    "flag_put_back_at_once",
    "cached_result",
    "token_bucket",
    "sliding_window",
    "window_per_user",
    "metrics",
    "logs",
    "lazy_objects",
    "iterators",
    "bounded_cache",
    "cache_keyed_by_a_hash",
    "heartbeat",
    "live_objects",
    "circuit_breaker",
    "connection_per_thread",
)


def _quiet(protocol: Protocol, deed: str) -> Case:
    user = "/write?user={user}"
    return Case(
        f"quiet_{deed}_{protocol}",
        "a write that harms nobody",
        protocol,
        "harmless",
        mingled(user, user),
        module="quiet",
        shape=f"direct, {protocol}",
        carrier="direct",
        deed=deed,
    )


QUIET = tuple(_quiet(get_args(Protocol)[number % 2], deed) for number, deed in enumerate(_HARMLESS))
