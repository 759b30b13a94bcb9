"""ContextVar defaults."""

from contextvars import ContextVar

TAGS = ContextVar("TAGS", default=[])
OPTIONS: ContextVar[dict] = ContextVar("OPTIONS", default={})  # finding: SG108
NAMES = ContextVar("NAMES", default=())
USER = ContextVar("USER", default=None)
PLAIN = ContextVar("PLAIN")


def tag(name):
    TAGS.get().append(name)  # finding: SG108


def name_it(name):
    NAMES.set((*NAMES.get(), name))
    USER.set(name)
    PLAIN.set([name])


def read():
    return OPTIONS.get(), USER.get()
