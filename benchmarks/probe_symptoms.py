"""How many requests and how long the probe needs for each symptom, and what it says of the clean twins.

Run: ``python -m benchmarks.probe_symptoms``. The applications are those of ``tests/probe/apps.py``: one that
leaks, its clean twin, and the leaking one made to answer nothing. A redis-server is started for those that
keep their data in one. Requests and seconds are those until the leak is proven; making it small comes after.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from stateguard.probe.explore import Explorer
from stateguard.probe.plan import Plan
from stateguard.probe.requests import parse
from stateguard.probe.verdict import Result
from tests.probe import apps
from tests.redis_server import RedisServer


def explored(name: str, app: Any) -> Result:
    """What the search says of ``app``, with the bounds that a user gets who sets none."""
    plan = Plan(templates=[parse(apps.request_for(name))])
    return Explorer(app, plan, protocol="wsgi" if name.startswith("wsgi") else "asgi").run()


def main() -> None:
    """Print a row per symptom, and the worst of them."""
    print(f"{'symptom':14}{'verdict':9}{'requests':>9}{'s':>7}{'smallest':>10}{'in all s':>10}  clean, mute")
    most, longest = 0, 0.0
    with tempfile.TemporaryDirectory() as directory:
        server = RedisServer(Path(directory)).start()
        apps.redis_url = server.url
        try:
            for name in apps.SYMPTOMS:
                apps.forget()
                leaking = getattr(apps, f"{name}_leaking")
                started = time.monotonic()
                result = explored(name, leaking)
                whole = time.monotonic() - started
                small = len(result.shrunk.requests) if result.shrunk is not None else 0
                clean = explored(name, getattr(apps, f"{name}_clean"))
                mute = explored(name, apps.without_echo(leaking))
                most, longest = max(most, result.sent), max(longest, result.seconds)
                print(
                    f"{name:14}{result.verdict:9}{result.sent:9}{result.seconds:7.2f}{small:10}{whole:10.2f}"
                    f"  {clean.verdict} after {clean.sent} in {clean.seconds:.1f} s, {mute.verdict}",
                    flush=True,
                )
        finally:
            server.stop()
    print(f"at most {most} requests and {longest:.2f} seconds until the leak is proven")


if __name__ == "__main__":
    main()
