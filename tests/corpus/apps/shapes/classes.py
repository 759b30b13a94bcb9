"""Classes as places for state: registries, descriptors, enumerations, singletons."""

import enum
import functools
import weakref


class Plugin:
    registry = []

    def __init_subclass__(cls):
        Plugin.registry.append(cls)


class Audit(Plugin):
    seen = []


def class_in_a_registry(user):
    Plugin.registry[0].seen.append(user)  # LEAK registry


class Field:
    """Keeps its value on itself: one for all instances of the class that declares it."""

    def __set_name__(self, owner, name):
        self.value = None

    def __set__(self, instance, value):
        self.value = value  # LEAK descriptor

    def __get__(self, instance, owner):
        return self if instance is None else self.value


class Form:
    name = Field()


def descriptor(user):
    Form().name = user


class PerOwner:
    """Keeps the values of its owners: wrong where all requests share one owner."""

    def __init__(self):
        self.values = weakref.WeakKeyDictionary()

    def __set__(self, instance, value):
        self.values[instance] = value  # LEAK owner

    def __get__(self, instance, owner):
        return self if instance is None else self.values.get(instance)


class Page:
    title = PerOwner()


PAGE = Page()


def descriptor_of_a_shared_owner(user):
    PAGE.title = user


class Mode(enum.Enum):
    FAST = "fast"
    SLOW = "slow"

    def __init__(self, label):
        self.users = []


def enum_member(user):
    Mode.FAST.users.append(user)  # LEAK enum


class Service:
    @functools.cached_property
    def log(self):
        return []


SERVICE = Service()
assert SERVICE.log == []


def cached_property(user):
    SERVICE.log.append(user)  # LEAK cached


class Single:
    _instance = None

    def __new__(cls):
        if cls._instance is None:
            cls._instance = super().__new__(cls)
            cls._instance.data = {"user": None}
        return cls._instance


Single()


def singleton(user):
    Single().data["user"] = user  # LEAK singleton


class Borg:
    _shared = {"user": None}

    def __init__(self):
        self.__dict__ = self._shared


def borg(user):
    Borg().user = user  # LEAK borg


class Meta(type):
    @property
    def current(cls):
        return cls._current

    @current.setter
    def current(cls, value):
        cls._current = value  # LEAK metaclass


class Session(metaclass=Meta):
    _current = None


def metaclass_property(user):
    Session.current = user


class Greeter:
    def greet(self):
        return "hello"


def patched_method(user):
    Greeter.greet = lambda self: f"hello {user}"  # LEAK patched


class Repository:
    @functools.lru_cache(maxsize=8)
    def profile(self, name):
        return {"name": name, "seen": []}


REPOSITORY = Repository()
REPOSITORY.profile("all")


def cached_method(user):
    REPOSITORY.profile("all")["seen"].append(user)  # LEAK lru
