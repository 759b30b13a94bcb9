"""What decorators and base classes make of a definition: properties, caches, templates of instances."""

from __future__ import annotations

from stateguard.audit.facts import FunctionFacts
from stateguard.audit.program import Place, Program

_CACHES = frozenset({"lru_cache", "cache", "alru_cache", "cached", "memoize", "ttl_cache"})


def is_property(fn: FunctionFacts) -> bool:
    """Whether reading the attribute calls the function."""
    return any(
        d.ref.rpartition(".")[2].rpartition(":")[2] in ("property", "cached_property") for d in fn.decorators
    )


def is_cached(fn: FunctionFacts) -> bool:
    """Whether the function is decorated with a cache that hands the same object to every caller."""
    return any(d.ref.replace(":", ".").rpartition(".")[2] in _CACHES for d in fn.decorators)


_COPYING_BASES = frozenset(
    {
        "BaseModel", "BaseSettings", "SQLModel", "Schema", "Struct", "Enum", "NamedTuple", "TypedDict",
        "Form", "ModelForm", "Flag", "StrEnum", "IntEnum", "RootModel",
    }
)  # fmt: skip


def copies_class_attributes(program: Program, klass: Place, annotated: bool) -> bool:
    """Whether the attributes of the class body are templates for each instance (pydantic, dataclasses...)."""
    for base in program.external_bases(klass.owner, klass.name):
        if base.rpartition(".")[2] in _COPYING_BASES:
            return True
    if not annotated:
        return False  # a dataclass takes only annotated names as fields
    for _, facts in program.mro(klass.owner, klass.name):
        for decorator in facts.decorators:
            if decorator.ref.replace(":", ".").rpartition(".")[2] in (
                "dataclass",
                "define",
                "attrs",
                "frozen",
                "s",
            ):
                return True
    return False
