"""Mutable defaults."""


def collect(item, seen=[]):
    seen.append(item)  # finding: SG105
    return len(seen)


def options(user, defaults={}):
    defaults["user"] = user  # finding: SG105


class Session:
    def __init__(self, data={}):
        self.data = data  # finding: SG105


def identity(items=[]):  # finding: SG105
    return items


def passed_on(item, bucket=[]):
    fill(bucket, item)


def fill(bucket, item):
    bucket.append(item)  # finding: SG105


def keyword(*, tags=set()):
    tags.add(1)  # finding: SG105


def read_only(names=["a", "b"]):
    return [n.upper() for n in names]


def replaced(items=[]):
    items = list(items)
    items.append(1)
    return items


def guarded(items=None):
    items = [] if items is None else items
    items.append(1)
    return items


def or_new(items=[]):
    items = items or []
    items.append(1)
    return items


def scalar(n=0, name="x", pair=()):
    n += 1
    return n, name, pair


def tuple_added(pair=()):
    pair += (1,)
    return pair


add = lambda x, seen=[]: seen.append(x)  # finding: SG105


def counted_and_returned(x, seen={}):  # finding: SG105
    seen[x] = 1
    return seen
