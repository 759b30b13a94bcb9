"""The clients of ``benchmarks/attribution.py``, in a process of their own, as clients are.

Reads from standard input, as JSON: port, path, how many at once, and per request its id and the site that it
writes to (null: to none). Prints the status of each request, or the error in place of it.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path


def ask(port: int, path: str, rid: str, site: int | None) -> str:
    """Send one request; its status, or the name of the error."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", target(path, site), headers={"X-Request-ID": rid})
        response = connection.getresponse()
        response.read()
        return str(response.status)
    except (OSError, http.client.HTTPException) as error:
        return type(error).__name__
    finally:
        connection.close()


def target(path: str, site: int | None) -> str:
    """The path, with the site that is written to."""
    return path if site is None else f"{path}?site={site}"


def ask_all(port: int, path: str, in_flight: int, writes: Sequence[tuple[str, int | None]]) -> dict[str, str]:
    """Start the process, and wait for what became of each request."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.attribution_clients"],
        input=json.dumps([port, path, in_flight, writes]),
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        text=True,
        timeout=600,
        check=True,
    )
    outcomes: dict[str, str] = json.loads(done.stdout)
    return outcomes


def main() -> None:
    """Be that process."""
    port, path, in_flight, writes = json.load(sys.stdin)
    with ThreadPoolExecutor(in_flight) as pool:
        statuses = pool.map(lambda item: ask(port, path, *item), writes)
        print(json.dumps({rid: status for (rid, _), status in zip(writes, statuses, strict=True)}))


if __name__ == "__main__":
    main()
