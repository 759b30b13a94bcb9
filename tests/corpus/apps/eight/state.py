"""Eight kinds of shared state that leak, three that do not."""

from functools import lru_cache

HISTORY = []
LAST = {"user": None}
SEEN = set()
CURRENT = None
HITS = {"requests": 0}
_client = None


class Registry:
    users = []
    active = None

    def join(self, user):
        self.users.append(user)  # LEAK class-list

    @classmethod
    def activate(cls, user):
        cls.active = user  # LEAK class-rebound


class Agent:
    def __init__(self):
        self.memory = []

    def remember(self, user):
        self.memory.append(user)  # LEAK instance


AGENT = Agent()


def add_to_list(user):
    HISTORY.append(user)  # LEAK list


def write_key(user):
    LAST["user"] = user  # LEAK dict


def see(user):
    SEEN.add(user)  # LEAK set


def become(user):
    global CURRENT
    CURRENT = user  # LEAK global


def collect(user, found=[]):
    found.append(user)  # LEAK default
    return found


def count():
    HITS["requests"] += 1


@lru_cache
def plan(name):
    return f"plan of {name}"


def client():
    global _client
    if _client is None:
        _client = object()
    return _client
