"""langchain-ai/langchain#5195, openai/openai-python#160: request code sets the key in another module."""

from tests.corpus.apps.api_key.service import app, write

__all__ = ["app", "write"]
