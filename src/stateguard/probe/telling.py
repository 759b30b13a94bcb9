"""A result in words, for terminals and test reports."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stateguard.report.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable

    from stateguard.probe.verdict import Result


def tell(result: Result, repeat: Callable[[str], str]) -> list[str]:
    """Everything below the verdict, line by line; ``repeat`` says how a replay token is used."""
    shrunk = result.shrunk
    lines, seen = [], set()
    for bleed in shrunk.bleeds if shrunk is not None else result.bleeds:
        kind = (bleed.owner_request, bleed.reader_request, bleed.where)
        if kind not in seen:
            seen.add(kind)
            lines.append(f"  {bleed}")
            lines += [f"    carried by {carrier}" for carrier in bleed.carriers]
    if shrunk is not None:
        requests = ", ".join(f"user {user}: {name}" for user, name in shrunk.requests)
        lines.append(f"  smallest form: {len(shrunk.requests)} requests ({requests})")
        lines += [f"    {switch}" for switch in shrunk.switches]
        if not shrunk.switches:
            lines.append("    no switch between them: it bleeds one request after the other")
        lines.append(f"  repeat it: {repeat(shrunk.token)}")
    elif result.verdict == "LEAK" and result.schedules:
        lines.append("  it did not happen again from the same start: no replay")
    if result.unmet and result.verdict == "LEAK":
        lines.append(f"  not reached this time: {'; '.join(result.unmet)}")
    for name in result.left_out:
        lines.append(f"  left out, never accepted: {name} ({result.samples[name]})")
    lines += [f"  note: {note}" for note in result.notes]
    return [clean(line) for line in lines]
