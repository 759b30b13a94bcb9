"""The same for Flask."""

import os

from flask import Flask

from tests.run.shop import state

app = Flask(__name__)


@app.get("/")
def index():
    state.HISTORY.append("a" * 20)
    return str(os.getpid())
