"""Tasks on asyncio loops (uvloop included): a task factory that puts a request's tasks on its account.

Set on each loop at its first guarded request, or when the application starts up, around the factory that is
there; eager tasks keep working. Tasks and callbacks of the application that work for no request are noted.

Both cost something at each step of each task. While every guard is content with few looks, nobody needs to
know, so what is called that often is given back, and taken again when one begins to look more closely.
"""

from __future__ import annotations

import sys
import weakref
from _thread import get_ident
from contextlib import suppress
from functools import partial
from types import BuiltinMethodType, CellType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any

from stateguard.attribution import pieces
from stateguard.attribution.driven import Abandoned, DrivenCoroutine
from stateguard.attribution.handover import Handed
from stateguard.attribution.request import GuardedRequest, current
from stateguard.short import Timer

if TYPE_CHECKING:
    import asyncio  # here, it is imported by whoever has a loop: it takes as long to import as all of this
    from collections.abc import Callable

_SERVERS = ("uvicorn", "hypercorn", "daphne", "granian")
"""Servers that may start one request's task in the context of another, which it then does not work for."""


class _Factory:
    """Makes tasks as the loop would have, their coroutines driven when a request starts them."""

    def __init__(self, previous: Callable[..., Any] | None) -> None:
        self.previous = previous
        self.active = True
        self.rests = 0
        self.unsure = True
        """Whether callbacks that were given to the loop unseen may not have run yet."""
        self.unseen: set[weakref.ref[Any]] = set()
        """Tasks whose steps are not noted and that another factory has made: asyncio knows the rest."""
        self.earlier: set[Any] = set()
        """Tasks that were there before, until they end."""
        eager = _code_of_eager()
        if previous is not None and eager is not None and getattr(previous, "__code__", None) is eager:
            # anyio knows the factory of eager tasks by its code, and goes past it to what it makes them with:
            # its tasks must not begin at once.
            self.__code__ = eager
            self.__closure__ = (CellType(partial(self._construct, previous)),)

    def _construct(self, eager: Any, coro: Any, *, loop: asyncio.AbstractEventLoop, **options: Any) -> Any:
        """A task that does not begin at once, made as the factory of ``eager`` ones makes its own."""
        constructor = eager.__closure__[0].cell_contents
        return self(
            loop, coro, _make=lambda loop, coro, **more: constructor(coro, loop=loop, **more), **options
        )

    def __call__(
        self,
        loop: asyncio.AbstractEventLoop,
        coro: Any,
        *,
        _make: Callable[..., Any] | None = None,
        **options: Any,
    ) -> Any:
        seen = False
        if self.active:
            context = options.get("context")
            # Tasks run in a copy of the starter's context, unless they are given another one.
            request = current.get() if context is None else context.get(current)
            if request is not None and request.guard.watcher is not None:
                if type(coro).__name__ == "async_generator_athrow":  # has no public name
                    coro, seen = Abandoned(coro, request), True
                elif _works_for(coro, request):
                    coro, seen = DrivenCoroutine(coro, request), True
            if not seen and pieces.may_run_watched(coro):
                coro, seen = DrivenCoroutine(coro, None), True
        make = self.previous if _make is None else _make
        if make is None:
            import asyncio

            return asyncio.Task(coro, loop=loop, **options)
        task = make(loop, coro, **options)
        if self.active and not seen:
            with suppress(TypeError):  # a factory may make what it likes
                # A weak set would run Python code for each of them that ends.
                self.unseen.add(weakref.ref(task, self.unseen.discard))
        return task

    def remember(self, tasks: set[Any]) -> None:
        """These tasks were there before: note when they end."""
        for task in tasks - self.earlier:
            if type(task.get_coro()) not in _SEEN:
                self.earlier.add(task)
                task.add_done_callback(self._ended)

    def _ended(self, task: Any) -> None:
        pieces.begin()
        self.earlier.discard(task)
        pieces.end()

    def caught_up(self, since: int) -> None:
        """Everything has run that the loop was given before this was scheduled."""
        pieces.begin()
        if since == self.rests:
            self.unsure = False
        pieces.end()

    def suspended(self, loop: Any, watched: Callable[[object], bool]) -> bool:
        """Whether one of the tasks whose steps are not noted has watched code in it, or may have had."""
        if self.unsure or not self.active:
            return True
        import asyncio

        try:
            tasks = [task for task in asyncio.all_tasks(loop) if type(task.get_coro()) not in _SEEN]
            tasks += [task for known in list(self.unseen) if (task := known()) and not task.done()]
            earlier = list(self.earlier)
        except RuntimeError:  # the loop's thread has started one meanwhile
            return True
        if any(task.done() for task in earlier):
            return True
        tasks += earlier
        # One of unwatched code may call what the application has given it.
        return any(
            pieces.may_run_watched(task.get_coro()) or pieces.awaits_watched(task.get_coro(), watched)
            for task in tasks
        )


_SEEN = (DrivenCoroutine, Abandoned)
"""What tasks run whose steps are noted."""


def _works_for(coro: Any, request: GuardedRequest) -> bool:
    """Whether a task that starts in a request's context works for it.

    Servers start the next request on a connection in a copy of the context of the previous one.
    """
    if not request.active and not request.guard.engine.ledger.holds(request):
        return False
    frame = pieces.frame_of(coro)
    module = None if frame is None else frame.f_globals.get("__name__")
    return not (type(module) is str and module.partition(".")[0] in _SERVERS)


_loops: weakref.WeakKeyDictionary[Any, _Factory] = weakref.WeakKeyDictionary()


_newest: weakref.ref[Any] | None = None
_followers: weakref.WeakSet[Any] = weakref.WeakSet()
"""The engines that have to know of each task and callback; one that was never closed goes with its guard."""


def content(engine: object) -> None:
    """That engine looks so rarely that it need not know what tasks are started; others may have to."""
    global _newest
    _followers.discard(engine)
    if _followers:
        return
    _newest = None
    for loop, factory in list(_loops.items()):
        if factory.active and not loop.is_closed() and loop.get_task_factory() is factory:
            factory.active, factory.unsure = False, True
            factory.rests += 1
            loop.set_task_factory(factory.previous)
            _give_back(loop, "call_soon")  # the others are called rarely, and may be about to run much later


def _running() -> Any:
    """The asyncio loop that runs on this thread, if one does."""
    ask = getattr(sys.modules.get("asyncio"), "_get_running_loop", None)
    return None if ask is None else ask()


def _code_of_eager() -> Any:
    """What all factories of eager tasks have in common: 3.12 and later."""
    return getattr(getattr(sys.modules.get("asyncio"), "eager_task_factory", None), "__code__", None)


def followed() -> bool:
    """Whether the running asyncio loop is the one that was followed last: the quick way to know."""
    loop = _running()
    return loop is not None and _newest is not None and _newest() is loop


def follow_tasks(engine: object = None) -> bool:
    """Follow the tasks of the running asyncio loop, for an engine; ``False`` where no loop runs."""
    loop = _running()
    if loop is None:
        return False
    import asyncio

    global _newest
    if engine is not None:
        _followers.add(engine)
    factory = _loops.get(loop)
    if factory is None or not factory.active:
        previous = loop.get_task_factory()
        if factory is None or (previous is not factory and factory.previous is not previous):
            factory = _Factory(previous)
        with suppress(RuntimeError):
            factory.remember(asyncio.all_tasks(loop))
        loop.set_task_factory(factory)
        factory.active = True
        _loops[loop] = factory
        if _note_callbacks(loop):
            pieces.oversee(get_ident(), _overseer(weakref.ref(loop), factory))
        loop.call_soon(factory.caught_up, factory.rests)
    _newest = weakref.ref(loop)
    return True


def _overseer(loop: weakref.ref[Any], factory: _Factory) -> Callable[[Callable[[object], bool]], bool]:
    def suspended(watched: Callable[[object], bool]) -> bool:
        running = loop()
        # A thread whose loop has stopped runs anything.
        return running is None or not running.is_running() or factory.suspended(running, watched)

    return suspended


def _note_callbacks(loop: Any) -> bool:
    """Note callbacks of the application as pieces of code outside any request; whether that can be done."""
    try:
        for name, noting in _CALLS.items():
            own = vars(loop).get(name)
            if not _is_noting(own):
                method: Any = noting(getattr(loop, name))
                method.own = own  # to be put back
                setattr(loop, name, method)
    except AttributeError:  # a loop without attributes of its own
        return False
    for handle in (*getattr(loop, "_ready", ()), *getattr(loop, "_scheduled", ())):  # given to it before
        callback: Any = getattr(handle, "_callback", None)
        if pieces.may_write(callback):
            handle._callback = Handed(callback, None)
    return True


def _may_be_code(callback: Any) -> bool:
    kind = type(callback)
    return (
        kind is MethodType or kind is FunctionType or kind is BuiltinMethodType or kind is partial
    ) and pieces.may_write(callback)


def _noting_soon(schedule: Callable[..., Any]) -> Callable[..., Any]:
    # Several calls per request: without tables and tuples that have to be made for each.
    def soon(callback: Any, *args: Any, context: Any = None) -> Any:
        kind = type(callback)
        if (
            kind is MethodType or kind is FunctionType or kind is BuiltinMethodType or kind is partial
        ) and pieces.may_write(callback):
            callback = Handed(callback, None)
        elif not args and context is not None:
            return schedule(callback, context=context)  # a task's next step
        if context is None:
            return schedule(callback, *args)
        return schedule(callback, *args, context=context)

    return soon


def _noting_later(schedule: Callable[..., Any]) -> Callable[..., Any]:
    # Servers set a timer for each request: that it runs nothing of the application is asked for inline.
    def later(delay: Any, callback: Any, *args: Any, context: Any = None) -> Any:
        if type(callback) is not MethodType or not pieces.is_silent(callback.__func__):
            if _may_be_code(callback):
                callback = Handed(callback, None)
        elif not args and context is None:
            return schedule(delay, callback)
        if context is None:
            return schedule(delay, callback, *args)
        return schedule(delay, callback, *args, context=context)

    return _compiled(schedule, later)


def _noting_at(schedule: Callable[..., Any]) -> Callable[..., Any]:
    def at(when: Any, callback: Any, *args: Any, context: Any = None) -> Any:
        if _may_be_code(callback):
            callback = Handed(callback, None)
        if context is None:
            return schedule(when, callback, *args)
        return schedule(when, callback, *args, context=context)

    return _compiled(schedule, at)


def _compiled(schedule: Callable[..., Any], noting: Callable[..., Any]) -> Callable[..., Any]:
    return noting if Timer is None else Timer(schedule, noting, vars(pieces))


_CALLS = {
    "call_soon": _noting_soon,
    "call_soon_threadsafe": _noting_soon,
    "call_later": _noting_later,
    "call_at": _noting_at,
}
"""The methods of a loop that take a callback, and what makes one that notes it."""


def unfollow_tasks() -> None:
    """Give every loop back the factory it had; one that was set on top of ours keeps working."""
    global _newest
    _newest = None
    _followers.clear()
    for loop, factory in list(_loops.items()):
        factory.active = False
        if not loop.is_closed() and loop.get_task_factory() is factory:
            loop.set_task_factory(factory.previous)
        for name in _CALLS:
            _give_back(loop, name)
        del _loops[loop]


def _is_noting(method: Any) -> bool:
    return (Timer is not None and type(method) is Timer) or getattr(method, "__code__", None) in _SCHEDULING


def _give_back(loop: Any, name: str) -> None:
    ours = getattr(loop, "__dict__", {}).get(name)
    if ours is None or not _is_noting(ours):
        return
    if ours.own is None:
        delattr(loop, name)
    else:
        setattr(loop, name, ours.own)


_SCHEDULING = tuple(
    method.__code__ for noting in _CALLS.values() if isinstance(method := noting(print), FunctionType)
)
"""A tuple: what an application puts on a loop may have anything for its code, be it unhashable."""
