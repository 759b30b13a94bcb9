"""What every test of the examples needs."""

import pytest


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
