"""From an observed change and its candidates to a leak: confidence, severity, wording.

A verdict is *exact* when one request alone was running while the change was made. In any other case it is
a suspicion, and names everybody who was.
"""

from __future__ import annotations

from dataclasses import replace
from threading import get_ident
from typing import TYPE_CHECKING

from stateguard.credentials import concealed, without
from stateguard.leak import LISTED, Leak, RequestInfo
from stateguard.parallel import stacks
from stateguard.report.advice import advise
from stateguard.watch.digest import PARTLY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from stateguard.allow import AllowList
    from stateguard.attribution.request import GuardedRequest
    from stateguard.leak import Confidence, Location
    from stateguard.rating import Rater
    from stateguard.watch.watcher import Seen, Watcher


UNNOTICED = "put back before any other request could run"


def _listed(candidates: Sequence[GuardedRequest]) -> tuple[RequestInfo, ...]:
    """Who is named. Of too many, any is as likely as another: one of each method and path first, so that the
    list shows as much as it can of what code has run."""
    infos = [request.info for request in candidates]
    if len(infos) <= LISTED:
        return tuple(infos)
    apart: dict[tuple[str, str], RequestInfo] = {}
    for info in infos:
        apart.setdefault((info.method, info.path), info)
    named = set(map(id, apart.values()))
    return (*apart.values(), *(info for info in infos if id(info) not in named))[:LISTED]


class Judge:
    """Turns what a watcher has seen into leaks, for one guard."""

    def __init__(self, watcher: Watcher, allow: AllowList, rater: Rater) -> None:
        self._watcher = watcher
        self._allow = allow
        self._rater = rater
        self._outside: dict[str, frozenset[int]] = {}

    def judge(
        self,
        seen: Iterable[Seen],
        candidates: Sequence[GuardedRequest],
        in_flight: Iterable[GuardedRequest],
        threads: Iterable[int],
        locate: Callable[[Seen, GuardedRequest | None], Location | None],
        unproven: bool = False,
        moment: int = -1,
        unlocated: Callable[[GuardedRequest | None], str] = lambda sole: "",
        among: int = 0,
        unlisted: int = 0,
    ) -> list[tuple[Leak, GuardedRequest | None, Seen]]:
        """The leaks among the changes, each with the request it is proven against, if one is.

        ``moment`` is the same for two changes between which no other stretch has begun; -1 where others run.
        ``unlocated`` tells why ``locate`` has found no line. ``among`` is about how many candidates there are
        in all, if more may have been than are remembered; it is 0 if these are all. So many requests as
        ``unlisted`` says are in flight beside those ``in_flight``.
        """
        found: list[tuple[Leak, GuardedRequest | None, Seen]] = []
        around = [request for request in in_flight if request.active]
        suspects = _listed(candidates)  # the same for all: naming them takes longer than all else
        for one in seen:
            if not candidates:
                self._note_outside(one.root, threads)
                continue
            if self._allow.allows(one.path, one.root):
                continue
            sole = candidates[0] if len(candidates) == 1 and not among else None
            if sole is not None and (unproven or self._written_outside(one.root)):
                sole = None
            others = [request for request in around if request is not sole]
            count = len(others) + unlisted
            if unlisted and sole is not None and sole.active and len(others) == len(around):
                count -= 1  # it is one of those that are not listed
            where = locate(one, sole)
            leak = self._leak(one, sole, candidates, suspects, others, count, where, unlocated, among)
            if sole is not None:
                restored = self._put_back(sole, leak, others, moment)
                if restored is not None:
                    found.append((restored, sole, one))
                    continue
                sole.first_hashes.setdefault(leak.path, (leak.before_hash, leak, moment))
            found.append((leak, sole, one))
        return found

    def _leak(
        self,
        seen: Seen,
        sole: GuardedRequest | None,
        candidates: Sequence[GuardedRequest],
        suspects: tuple[RequestInfo, ...],
        others: Sequence[GuardedRequest],
        others_count: int,
        location: Location | None,
        unlocated: Callable[[GuardedRequest | None], str],
        among: int,
    ) -> Leak:
        change = seen.change
        # Alone, though perhaps not proven: only what it brought can tell how bad the change is.
        data = candidates[0].data if len(candidates) == 1 and not among else None
        severity, reason = self._rater.rate(seen, data, len(candidates))
        confidence: Confidence = "exact" if sole is not None else "suspected"
        path, before, after = seen.path, change.before, change.after
        if self._watcher.shows_values:
            secrets = frozenset[str]().union(*(one.data.credentials() for one in candidates if one.data))
            path, before, after = (without(text, secrets) for text in (path, before, after))
            if among:  # the credentials of those who were forgotten are not known
                path, before, after = seen.root or path, concealed(before), concealed(after)
        return Leak(
            path=path,
            kind=change.kind,
            severity=severity,
            reason=reason,
            request=sole.info if sole is not None else None,
            confidence=confidence,
            suspects=suspects if sole is None else (),
            suspect_count=max(len(candidates), among) if sole is None else 0,
            suspect_count_exact=not among,
            location=location,
            before=before,
            after=after,
            before_hash=change.before_hash,
            after_hash=change.after_hash,
            root=seen.root,
            in_flight=tuple(request.info for request in others[:LISTED]),
            in_flight_count=others_count,
            unlocated="" if location is not None else unlocated(sole),
            after_response=sole is not None and not sole.active,
            fix=advise(seen.path, seen.root, change.kind, change.before, change.after, seen.holder),
        )

    def _put_back(
        self, request: GuardedRequest, leak: Leak, others: Sequence[GuardedRequest], moment: int
    ) -> Leak | None:
        """The leak that this change undoes, marked as restored; ``None`` if it undoes none."""
        before_hash, first, then = request.first_hashes.get(leak.path, ("", None, -1))
        if first is None or before_hash != leak.after_hash or before_hash.endswith(PARTLY):
            return None
        del request.first_hashes[leak.path]
        if then == moment >= 0 and first.severity != "critical":
            # Seen only because somebody looks after each line: the owner of a lock, a flag of a pool.
            return replace(first, restored=True, severity="note", reason=UNNOTICED)
        listed = set(map(id, first.in_flight))  # of their own ids clients may send the same twice
        infos = [other.info for other in others if id(other.info) not in listed]
        if first.in_flight_cut:  # which of them were in flight then as well is not known in another way
            infos = [info for info in infos if info.started > first.time]
        return replace(
            first,
            restored=True,
            restored_at=leak.time,
            in_flight=(*first.in_flight, *infos)[:LISTED],
            in_flight_count=max(first.in_flight_count + len(infos), leak.in_flight_count),
        )

    # Code outside any request: a timer, a background thread. What it writes is nobody's leak, but as long
    # as such a thread lives, no request can be proven guilty of a change to the same state.

    def _note_outside(self, root: str, threads: Iterable[int]) -> None:
        busy = self._threads_in_watched_code(frozenset(threads))
        self._outside[root] = self._outside.get(root, frozenset()) | busy

    def _written_outside(self, root: str) -> bool:
        threads = self._outside.get(root)
        return threads is not None and not threads.isdisjoint(stacks())

    def _threads_in_watched_code(self, ours: frozenset[int]) -> frozenset[int]:
        me = get_ident()
        found = set()
        for thread, top in stacks().items():
            if thread == me or thread in ours:
                continue
            if top is None:
                found.add(thread)  # what it executes must not be looked at
            frame = top
            depth = 0
            while frame is not None and depth < 60:
                code = frame.f_code
                if code.co_name != "<module>" and self._watcher.table.watches(
                    frame.f_globals.get("__name__")
                ):
                    found.add(thread)
                    break
                frame, depth = frame.f_back, depth + 1
        return frozenset(found)
