"""The eight-leak fixture: the state in one module, the handlers in another."""

from tests.corpus.apps.eight.handlers import app

__all__ = ["app"]
