"""Eight ways to share state between requests, and three harmless writes beside them."""

from functools import lru_cache

HISTORY = []
SETTINGS = {}
SEEN = set()
CURRENT = None
COUNTS = {"requests": 0}
_client = None


class Session:
    items = []
    current = None

    def add(self, x):
        self.items.append(x)  # finding: SG104


class Agent:
    def __init__(self):
        self.messages = []


agent = Agent()


def remember(u):
    HISTORY.append(u)  # also: SG101


def setting(v):
    SETTINGS["last"] = v  # finding: SG101


def see(u):
    SEEN.add(u)  # finding: SG101


def login(u):
    global CURRENT
    CURRENT = u  # finding: SG102


def set_session(u):
    Session.current = u  # finding: SG104


def ask(text):
    agent.messages.append(text)  # finding: SG106


def collect(x, acc=[]):
    acc.append(x)  # finding: SG105
    return acc


def count():
    COUNTS["requests"] += 1


@lru_cache
def square(n):
    return n * n


def client():
    global _client
    if _client is None:
        _client = object()
    return _client
