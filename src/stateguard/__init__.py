"""stateguard: catch the state that one web request leaks into another, and cure it."""

from stateguard._version import __version__

__all__ = ["__version__"]
