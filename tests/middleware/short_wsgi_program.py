"""Random WSGI applications, and what can be seen of them from outside: the same whatever serves them.

``python -m tests.middleware.short_wsgi_program FIRST LAST WRAPPER``, as ``short_program`` does it for ASGI.
"""

from __future__ import annotations

import contextvars
import gc
import io
import sys
import threading
from typing import Any

from stateguard import current_scope, session
from stateguard.errors import NoActiveScope
from stateguard.wsgi import StateGuardMiddleware
from tests.middleware.short_program import STEPS, Fatal, Own, Program, chain, main

BODIES = ("list", "tuple", "bytes", "generator", "pieces", "closing", "sized", "both", "file", "itself")


class Pieces:
    """A body that hands out what its iterator makes."""

    def __init__(self, pieces: Any, program: Any) -> None:
        self.pieces, self.program = pieces, program

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> bytes:
        return next(self.pieces)  # type: ignore[no-any-return]


class Closing(Pieces):
    """One that is to be closed, which runs code of the application."""

    def close(self) -> None:
        self.program.closed()


class Sized(Pieces):
    """One that says how long it is."""

    def __len__(self) -> int:
        return 1


class Both(Closing, Sized):
    """Both."""


class Itself(Pieces):
    """A response that is its own body, and known by what it says of itself."""

    status_code = 418

    def __bytes__(self) -> bytes:
        return b"all of it"

    def __getattr__(self, name: str) -> Any:
        if name == "broken":
            raise Own(name)
        raise AttributeError(name)


class File(Pieces):
    """What a server sends by itself."""


KINDS = {"pieces": Pieces, "closing": Closing, "sized": Sized, "both": Both, "itself": Itself, "file": File}


class WSGIProgram(Program):
    """One random application, its clients, and what was seen of them."""

    drivers = ("hand",)
    middleware = StateGuardMiddleware
    forms = (*BODIES, *BODIES, "raises", "number", "none")

    @staticmethod
    def bare(app: Any) -> Any:
        return lambda environ, start_response: app(environ, start_response)

    def plan(self, depth: int) -> list[Any]:
        r = self.random
        steps: list[Any] = []
        for _ in range(r.randint(1, STEPS)):
            kind = r.choice(
                ("piece",) * 12
                + ("leak", "leak", "session", "start", "mood", "mood", "raise", "return", "fatal")
                + (("try", "nested", "nested", "again") if depth else ())
            )
            if kind in ("try", "nested"):
                steps.append((kind, self.plan(depth - 1), r.randrange(3)))
            elif kind == "mood":
                steps.append(
                    (kind, r.choice(("strict", "brief", "sparse", "slicing", "due", "armed", "rest")))
                )
            else:
                steps.append((kind, r.randrange(4)))
        return steps

    def app(self, environ: Any, start_response: Any) -> Any:
        number = environ["program.number"]
        kind = self.kinds[number % len(self.kinds)] if environ["PATH_INFO"] != "/inner" else "generator"
        if kind == "raises":
            raise Own("at once")
        if kind == "number":
            return 5
        if kind == "none":
            return None
        pieces = self.follow(environ["program.plan"], environ, start_response)
        if kind in ("list", "tuple", "bytes"):
            made = list(pieces)
            return b"".join(made) if kind == "bytes" else tuple(made) if kind == "tuple" else made
        return KINDS[kind](pieces, self) if kind in KINDS else pieces

    def closed(self) -> None:
        self.state.leak("closed")
        self.seen.append("closed")
        if self.random_closes.pop():
            raise Own("while closing")

    def follow(self, plan: list[Any], environ: Any, start_response: Any) -> Any:
        path, note = environ["PATH_INFO"], self.seen.append
        for kind, *more in plan:
            if kind == "piece":
                yield b"%d" % more[0]
            elif kind == "leak":
                self.state.leak(path)
            elif kind == "session":
                if self.guarded:
                    try:
                        mine = session()
                    except NoActiveScope:
                        self.own.append((path, "none"))
                        continue
                    self.own.append((path, mine.user_id, current_scope().request.path))
                    mine.user_id = mine.user_id or path
            elif kind == "start":
                start_response("200 OK", [("X-Number", str(more[0]))])
            elif kind == "mood":
                self.mood(more[0])
            elif kind == "raise":
                try:
                    raise Own(path, more[0])
                finally:
                    note(("handling", chain(sys.exc_info()[1])))
            elif kind == "fatal" and not more[0]:
                raise Fatal(path)
            elif kind == "return":
                return [path]
            elif kind == "try":
                try:
                    yield from self.follow(more[0], environ, start_response)
                except Own as error:
                    note(("caught", chain(error)))
                    if more[1] == 1:
                        raise ValueError("another") from error
                    if more[1] == 2:
                        raise KeyError("while handling")  # noqa: B904
                finally:
                    if more[1]:
                        self.state.leak(path + "/finally")
            elif kind == "nested":
                inner = {**environ, "PATH_INFO": "/inner", "program.plan": more[0]}
                if more[1]:
                    inner["wsgi.input"] = io.BytesIO()
                note(("inner", list(self.inner(inner, start_response))))
            elif kind == "again":  # a piece that asks for another piece of the same body
                body = self.bodies.get(environ["program.number"])
                if body is not None and more[0]:
                    try:
                        note(("again", next(body)))
                    except (StopIteration, ValueError) as error:
                        note(("again", repr(error)))
        return None

    def environ(self, i: int) -> dict[str, Any]:
        return {
            "REQUEST_METHOD": "GET",
            "SCRIPT_NAME": "",
            "PATH_INFO": f"/{i}",
            "QUERY_STRING": "",
            "REMOTE_ADDR": None,
            "wsgi.input": io.BytesIO(),
            "wsgi.file_wrapper": File,
            "program.number": i,
            "program.plan": self.plans[i % len(self.plans)],
        }

    def by_hand(self) -> None:
        r = self.random
        contexts = [contextvars.copy_context() for _ in range(4)]
        self.bodies: dict[int, Any] = {}
        self.random_closes = [r.random() < 0.2 for _ in range(200)]
        turns = [
            (r.randrange(4), r.choice(("next",) * 8 + ("close", "close", "drop", "look", "look")), r.random())
            for _ in range(60)
        ]
        begun: set[int] = set()
        for which, what, odds in turns:
            if which not in begun:
                what = "call"
                begun.add(which)
            elif which not in self.bodies:
                continue
            # Sometimes in a context of another, or on another thread: pieces may be asked for from anywhere.
            context = contexts[which if odds < 0.8 else r.randrange(4)]
            work = (self.turn, which, what)
            if odds < 0.9:
                context.run(*work)
            else:
                thread = threading.Thread(target=context.run, args=work)
                thread.start()
                thread.join()
            for context in contexts:
                if self.guarded:
                    self.own.append(context.run(self.who))
        self.bodies.clear()
        gc.collect()

    def turn(self, which: int, what: str) -> None:
        out: Any = None
        try:
            if what == "call":
                body = self.wrapped(self.environ(which), self.start_response)
                if isinstance(body, (list, tuple, bytes, File)):
                    out = list(body)
                else:
                    self.bodies[which] = body
            elif what == "next":
                out = next(iter(self.bodies[which]))
            elif what == "close":
                if hasattr(self.bodies[which], "close"):
                    out = self.bodies[which].close()
            elif what == "drop":
                del self.bodies[which]
                gc.collect()
            else:
                body = self.bodies[which]
                out = [hasattr(body, name) for name in ("close", "__len__", "status_code", "other")]
                if out[1]:
                    out.append(len(body))
                if out[2]:
                    out += [body.status_code, bytes(body), body.broken]
        except StopIteration as stop:
            out = ("exhausted", stop.value)
        except BaseException as error:
            out = ("raised", chain(error))
            if isinstance(error, AssertionError):
                raise
        self.seen.append((which, what, out))

    def start_response(self, *args: Any) -> Any:
        self.seen.append(("started", args))


if __name__ == "__main__":
    main(WSGIProgram)
