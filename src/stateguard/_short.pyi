"""The compiled part of ``short.py``; an installation may lack it."""

from collections.abc import Callable, Iterable
from contextvars import ContextVar
from types import NotImplementedType
from typing import Any, final

class ScopeFields:
    _factory: Callable[[], Any]
    _request: Any
    account: Any
    began: int
    carrier: Any
    closed: bool
    exchange: object
    left: bool
    origin: tuple[Any, ...]
    owner: object
    parent: Any
    previous: Any
    stepped: int
    suspect: Any
    values: dict[object, Any]
    var_token: Any

class PaceNumbers:
    next_look: int

class TallyNumbers:
    requests: int

class UnseenNumbers:
    covered: int
    looks: int

class Door:
    _way: Way | None
    """Taken with ``_served``, what it leads to, which has to be there."""

@final
class Drive:
    @property
    def guarded(self) -> bool: ...

@final
class Way:
    def __new__(
        cls,
        *,
        awaited: Callable[[Any], Any],
        by_thread: object,
        clock: Callable[[], int],
        clocks: dict[str, Any],
        current: ContextVar[Any],
        ended: Callable[[], Any],
        engine: object,
        entered: ContextVar[Any],
        finder: object,
        guard: object,
        identify: Callable[..., Any],
        mode: str,
        pace: object,
        passing: object,
        running: int,
        sampled: int,
        scope: type[ScopeFields],
        scopes: dict[Any, Any] | None,
        suspects: int,
        tally: object,
        unseen: object,
    ) -> Way: ...
    def call(
        self,
        application: Callable[..., Iterable[bytes]],
        environ: dict[str, Any],
        start_response: Callable[..., Any],
        /,
    ) -> Iterable[bytes] | NotImplementedType: ...

@final
class Timer:
    __wrapped__: Callable[..., Any]
    own: Any
    def __init__(
        self, schedule: Callable[..., Any], noting: Callable[..., Any], names: dict[str, Any]
    ) -> None: ...
    def __call__(self, when: Any, callback: Any, *args: Any, context: Any = None) -> Any: ...

def through(type: type[Door], /) -> None: ...
