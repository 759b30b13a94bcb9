"""redis-py's clients for one store: one for plain calls, one per event loop, and of a cluster's nodes."""

from __future__ import annotations

import os
import threading
import weakref
from typing import Any

from stateguard.sessions.redis_url import Target


class Clients:
    """Makes clients of ``target`` when they are needed, and anew in a forked child."""

    def __init__(self, target: Target, timeout: float, retries: int, client_options: dict[str, Any]) -> None:
        import redis
        import redis.asyncio

        self._redis: Any = redis
        self.target = target
        self.timeout = timeout
        self.retries = retries
        self.client_options = client_options
        self._mutex = threading.Lock()
        self._plain: Any = None
        self._pid = os.getpid()
        self._of_loops: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()
        self._of_nodes: weakref.WeakKeyDictionary[Any, dict[Any, Any]] = weakref.WeakKeyDictionary()

    def plain(self) -> Any:
        """The client for plain calls, shared by all threads."""
        with self._mutex:
            if self._pid != os.getpid():  # a forked child must not use its parent's connections
                self._plain, self._pid = None, os.getpid()
            if self._plain is None:
                self._plain = self._connect(self._redis)
            return self._plain

    def of_loop(self) -> Any:
        """The client of the running event loop."""
        import asyncio

        loop = asyncio.get_running_loop()
        client = self._of_loops.get(loop)
        if client is None:
            client = self._of_loops[loop] = self._connect(self._redis.asyncio)
        return client

    def node(self, client: Any, key: str) -> Any:
        """The client of the server that has ``key``: of one node, if it is a cluster."""
        if self.target.kind != "cluster":
            return client
        node = client.get_node_from_key(key)
        nodes = self._of_nodes.setdefault(client, {})
        if (node.host, node.port) not in nodes:
            asynchronous = isinstance(client, self._redis.asyncio.RedisCluster)
            library = self._redis.asyncio if asynchronous else self._redis
            nodes[node.host, node.port] = library.Redis(host=node.host, port=node.port, **self._options())
        return nodes[node.host, node.port]

    def close(self) -> None:
        """Close the connections of plain calls."""
        with self._mutex:
            client, self._plain = self._plain, None
        if client is not None and self._pid == os.getpid():
            for each in (client, *_sentinels(client), *self._of_nodes.pop(client, {}).values()):
                each.close()

    async def aclose(self) -> None:
        """Close the connections that the running event loop has."""
        import asyncio

        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # trio: plain calls in worker threads
            self.close()
            return
        client = self._of_loops.pop(loop, None)
        if client is not None:
            for each in (client, *_sentinels(client), *self._of_nodes.pop(client, {}).values()):
                await each.aclose()

    def _options(self) -> dict[str, Any]:
        return {
            "socket_timeout": self.timeout,
            "socket_connect_timeout": self.timeout,
            "decode_responses": False,
            **self.target.options,
            **self.client_options,
        }

    def _connect(self, library: Any) -> Any:
        """A client of ``redis`` or of ``redis.asyncio``, which name everything alike."""
        asynchronous = library is self._redis.asyncio
        retry_module = self._redis.asyncio.retry if asynchronous else self._redis.retry
        pause = self._redis.backoff.ExponentialBackoff(cap=0.5, base=0.02)
        options = self._options()
        if self.target.kind == "cluster":
            nodes = [library.cluster.ClusterNode(host, port) for host, port in self.target.hosts]
            return library.RedisCluster(startup_nodes=nodes, **options)
        options["retry"] = retry_module.Retry(pause, self.retries)
        options["retry_on_error"] = [
            self._redis.exceptions.ConnectionError,
            self._redis.exceptions.TimeoutError,
        ]
        if self.target.kind == "single":
            return library.Redis.from_url(self.target.url, **options)
        sentinel_password = options.pop("sentinel_password", None)
        sentinel_options = {
            "socket_timeout": self.timeout,
            "socket_connect_timeout": self.timeout,
            "password": sentinel_password,
        }
        group = library.sentinel.Sentinel(
            list(self.target.hosts), sentinel_kwargs=sentinel_options, **options
        )
        return group.master_for(self.target.service)


def _sentinels(client: Any) -> tuple[Any, ...]:
    """The clients that watch for a new master; redis-py leaves closing them to us."""
    manager = getattr(getattr(client, "connection_pool", None), "sentinel_manager", None)
    return tuple(getattr(manager, "sentinels", ()))
