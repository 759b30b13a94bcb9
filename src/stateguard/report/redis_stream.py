"""Leaks of many hosts in one Redis: a bounded stream of occurrences and a table of the distinct leaks.

Needs the extra ``redis``. For teams that run a Redis and no OpenTelemetry collector. A frequent leak may push
a rare one out of the stream, never out of the table: that holds the first occurrence of each, up to
:data:`DISTINCT` of them. A third key counts what each exemption has let pass. All go :data:`DAYS` days after
the last leak.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import redis

from stateguard.errors import ConfigError
from stateguard.messages import see
from stateguard.report.record import ALLOWANCES, LINE, decode_allowances, encode, encode_allowances
from stateguard.report.sender import Sender

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from stateguard.leak import Leak

logger = logging.getLogger("stateguard")

KEY = "stateguard:leaks"
"""Name of the stream; the table is ``KEY:distinct``. Another one: ``redis://host/0?stream=NAME``."""

MAX_LENGTH = 10_000
"""Occurrences that the stream keeps, about. Another number: ``?maxlen=N``."""

DISTINCT = 10_000
DAYS = 30
NAMED = 24 * 3600.0
"""Seconds: exemptions that no process has had for so long before the last one that ended are given up."""

TIMEOUT = 5.0
"""Seconds to wait for Redis; requests never wait for it."""

SCHEMES = ("redis://", "rediss://", "unix://")


def shown(url: str) -> str:
    """An address without its credentials and options."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


class Place:
    """Where leaks are kept: the address, with our own options taken out of it."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        own = dict(parse_qsl(parts.query))
        self.key = own.pop("stream", KEY)
        self.table = f"{self.key}:distinct"
        self.exemptions = f"{self.key}:exemptions"
        """How often each entry of ``allow`` has matched; ``:named`` after it: when a process last had it."""
        length = own.pop("maxlen", str(MAX_LENGTH))
        if not length.isdecimal() or not int(length):
            raise ConfigError(f"maxlen={length!r} of {shown(url)} is not a number, 1 or more")
        self.length = int(length)
        self.name = shown(url)
        try:
            self.client = redis.Redis.from_url(
                urlunsplit(parts._replace(query=urlencode(own))),
                socket_timeout=TIMEOUT,
                socket_connect_timeout=TIMEOUT,
            )
        except (ValueError, TypeError) as error:
            raise ConfigError(f"{self.name} is no address of a Redis: {error}") from None


class RedisStream:
    """A sink that adds leaks to a stream, from a thread of its own: a slow Redis slows no request.

    Raises :class:`~stateguard.errors.ConfigError` for an address that cannot be one. A Redis that does
    not answer is said once and tried again; up to 1,000 leaks wait for it.
    """

    def __init__(self, url: str) -> None:
        self._place = Place(url)
        self._begin()
        self._sender = Sender(self._send, self._complain)

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._said = False
        host = "".join(sign if sign.isalnum() or sign == "." else "_" for sign in socket.gethostname())[:60]
        self._process = f"{host}-{self._pid}-{os.urandom(4).hex()}"

    @property
    def lost(self) -> int:
        """Leaks that were given up because Redis was away for too long."""
        return self._sender.lost

    def leak(self, leak: Leak, seen: int) -> None:
        """Hand it to the sending thread."""
        if os.getpid() != self._pid:
            self._begin()
        self._sender.put(encode(leak, seen, self._process))

    def allowances(self, hits: Mapping[str, int]) -> None:
        """Hand it to the sending thread: the process ends."""
        if os.getpid() != self._pid:
            self._begin()
        self._sender.put(encode_allowances(hits, self._process))

    def close(self) -> None:
        """Send what waits, for two seconds at most."""
        if not self._sender.close():
            self._complain(None)

    def _send(self, lines: list[bytes]) -> None:
        place = self._place
        full = place.client.hlen(place.table) >= DISTINCT
        pipe = place.client.pipeline(transaction=False)
        for line in lines:
            record = json.loads(line)
            hits = decode_allowances(record)
            if hits is not None:
                self._count(hits, pipe)
                continue
            pipe.xadd(place.key, {"leak": line}, maxlen=place.length, approximate=True)
            if not full:
                pipe.hsetnx(place.table, record["id"], line.decode())
        for key in (place.key, place.table, place.exemptions, f"{place.exemptions}:named"):
            pipe.expire(key, DAYS * 24 * 3600)
        pipe.execute()
        self._said = False

    def _count(self, hits: Mapping[str, int], pipe: Any) -> None:
        """Add what the exemptions of this process have let pass; those that nobody has any more go."""
        place, now = self._place, time.time()
        named = f"{place.exemptions}:named"
        client: Any = place.client
        old = client.zrangebyscore(named, "-inf", now - NAMED)
        if old:
            pipe.hdel(place.exemptions, *old)
            pipe.zrem(named, *old)
        if client.zcard(named) - len(old) < ALLOWANCES:
            for entry, n in hits.items():
                pipe.hincrby(place.exemptions, entry, n)
                pipe.zadd(named, {entry: now})

    def _complain(self, error: Exception | None) -> None:
        if not self._said:
            self._said = True
            why = "it did not answer in time" if error is None else _in_words(error)
            logger.warning(
                "stateguard cannot send leaks to %s: %s (%s)", self._place.name, why, see("cannot-send")
            )


def _number(text: bytes) -> int:
    return int(text[:16]) if text.isdigit() else 0


class Reader:
    """Reads what has been recorded, and later what has been added. Raises ``ConfigError`` for no address."""

    def __init__(self, url: str) -> None:
        self._place = Place(url)
        self._start = "-"

    def more(self) -> Iterator[bytes]:
        """The lines that are new, the first time all. Raises :class:`~stateguard.errors.ConfigError`."""
        place = self._place
        client: Any = place.client
        try:
            if self._start == "-":
                for _, line in client.hscan_iter(place.table, count=500):
                    yield line[:LINE]
                hits = client.hgetall(place.exemptions)
                if hits:
                    counts = {entry.decode("utf-8", "replace"): _number(n) for entry, n in hits.items()}
                    yield encode_allowances(counts, "redis")
            while batch := client.xrange(place.key, min=self._start, count=500):
                for number, fields in batch:
                    self._start = f"({number.decode()}"
                    yield fields.get(b"leak", b"")[:LINE]
        except redis.RedisError as error:
            raise ConfigError(f"cannot read leaks from {place.name}: {_in_words(error)}") from None
        finally:
            client.close()


def _in_words(error: Exception) -> str:
    """What is wrong, in our own words: the error's may repeat an address or a command with its password."""
    for kind, words in (
        (redis.AuthenticationError, "the user name or the password is refused"),
        (redis.TimeoutError, f"no answer within {TIMEOUT:g} seconds"),
        (redis.ConnectionError, "no Redis answers there"),
    ):
        if isinstance(error, kind):
            return words
    return type(error).__name__
