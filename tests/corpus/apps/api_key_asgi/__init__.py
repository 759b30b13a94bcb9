"""Mirror of langchain#5195 in ASGI: ``setattr`` on the other module, in a child task."""

from tests.corpus.apps.api_key_asgi.service import app

__all__ = ["app"]
