"""Writes that are in no tracker and harm nobody: each a function of the user's name, called in a request."""

import datetime
import functools
import hashlib
import itertools
import logging
import random
import threading
import time
import weakref
from collections import Counter, OrderedDict, defaultdict, deque


class OwnLock:
    def __init__(self):
        self._lock = threading.Lock()
        self.owner = None
        self.depth = 0

    def __enter__(self):
        self._lock.acquire()
        self.owner = threading.get_ident()
        self.depth += 1

    def __exit__(self, *exc):
        self.depth -= 1
        self.owner = None
        self._lock.release()


LOCK = OwnLock()
SEMAPHORE = threading.BoundedSemaphore(4)


def locks(user):
    with LOCK, SEMAPHORE:
        pass


class Connection:
    def __init__(self):
        self.last_used = 0.0
        self.queries = 0


class Pool:
    def __init__(self):
        self.connections = [Connection() for _ in range(4)]
        self.idle = deque(self.connections)

    def take(self):
        connection = self.idle.popleft()
        connection.last_used = time.monotonic()
        connection.queries += 1
        return connection

    def give_back(self, connection):
        self.idle.append(connection)


POOL = Pool()
SETTINGS = {"quiet": False}


def pool(user):
    POOL.give_back(POOL.take())


def flag_put_back_at_once(user):
    SETTINGS["quiet"] = True
    SETTINGS["quiet"] = False


@functools.lru_cache(maxsize=2)
def profile(user):
    return {"name": user}


def cached_result(user):
    profile(user)


class Bucket:
    def __init__(self):
        self.tokens, self.stamp = 10.0, time.monotonic()

    def allow(self):
        now = time.monotonic()
        self.tokens = min(10.0, self.tokens + now - self.stamp) - 1
        self.stamp = now


BUCKET = Bucket()


def token_bucket(user):
    BUCKET.allow()


WINDOW = deque()


def sliding_window(user):
    now = time.monotonic()
    WINDOW.append(now)
    while WINDOW[0] < now - 0.001:
        WINDOW.popleft()


CALLS = defaultdict(deque)


def window_per_user(user):
    CALLS[user].append(time.monotonic())


HITS = Counter({"/chat": 0})
STATS = {"requests": 0, "seconds": 0.0, "slowest": 0.0, "last": 0.0}
LATENCIES = deque(maxlen=4)
BUCKETS = [0] * 4


def metrics(user):
    HITS["/chat"] += 1
    HITS[user] += 1
    STATS["requests"] += 1
    STATS["seconds"] += 0.25
    STATS["last"] = time.time()
    LATENCIES.append(random.random())
    BUCKETS[len(user) % 4] += 1


class Counting(logging.Handler):
    def __init__(self):
        super().__init__()
        self.count = 0

    def emit(self, record):
        self.count += 1


LOGGER = logging.getLogger("quiet")
LOGGER.addHandler(Counting())
LOGGER.propagate = False


def logs(user):
    LOGGER.warning("hello %s", user)


_engine = None


class Service:
    _instance = None

    @classmethod
    def get(cls):
        if cls._instance is None:
            cls._instance = cls()
        return cls._instance

    @functools.cached_property
    def connection(self):
        return Connection()


MODELS = {}


def lazy_objects(user):
    global _engine
    if _engine is None:
        _engine = Connection()
    assert Service.get().connection is not None
    if "small" not in MODELS:
        MODELS["small"] = Connection()


IDS = itertools.count()
ROUND = itertools.cycle("abc")


def numbers():
    n = 0
    while True:
        n += 1
        yield n


NUMBERS = numbers()


def iterators(user):
    next(IDS)
    next(ROUND)
    next(NUMBERS)


RECENT = OrderedDict()


def bounded_cache(user):
    RECENT[user] = {"answer": f"for {user}"}
    RECENT.move_to_end(user)
    while len(RECENT) > 2:
        RECENT.popitem(last=False)


ANSWERS = {}


def cache_keyed_by_a_hash(user):
    key = hashlib.sha256(user.encode()).hexdigest()
    ANSWERS.setdefault(key, {})["answer"] = f"for {user}"


HEARTBEAT = datetime.datetime(2024, 1, 1)


def heartbeat(user):
    global HEARTBEAT
    HEARTBEAT = datetime.datetime.now()


LIVE = weakref.WeakSet()


class Socket:
    def __init__(self, user):
        self.user = user


def live_objects(user):
    LIVE.add(Socket(user))


BREAKER = {"state": "closed", "failures": 0}


def circuit_breaker(user):
    BREAKER["failures"] += 1
    BREAKER["failures"] = 0


LOCAL = threading.local()


def connection_per_thread(user):
    if not hasattr(LOCAL, "connection"):
        LOCAL.connection = Connection()
