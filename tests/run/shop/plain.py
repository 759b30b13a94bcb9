"""A program that starts a server by itself; the port is its argument."""

import sys

import uvicorn

from tests.run.shop.asgi import app

uvicorn.run(app, port=int(sys.argv[1]), log_level="warning")
