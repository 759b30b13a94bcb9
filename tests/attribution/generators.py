"""Generators that clean up. Not in the watched module: collecting such garbage there makes suspicions."""

from __future__ import annotations

from tests.attribution.shared import append, pause


async def aclosed(user: str) -> None:
    async def pieces():
        try:
            yield 1
            yield 2
        finally:
            await pause()
            append(user)

    generator = pieces()
    async for _ in generator:
        break
    await pause()
    await generator.aclose()


async def thrown_into(user: str) -> None:
    async def pieces():
        try:
            yield 1
        except LookupError:
            await pause()
            append(user)
            yield 2

    generator = pieces()
    await anext(generator)
    await generator.athrow(LookupError())
    await generator.aclose()


GENERATOR_WAYS = {f.__name__: f for f in (aclosed, thrown_into)}
