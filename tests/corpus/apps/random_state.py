"""CPython Lib/random.py (``_inst``): the state of a random number generator that everybody draws from."""

import random

from tests.corpus.gate import hold
from tests.corpus.tiny import Request, Wsgi

RNG = random.Random(7)
roll = RNG.random
app = Wsgi()


@app.route("/roll")
def dice(request: Request):
    random.random()
    RNG.shuffle([1, 2, 3])
    found = roll() < 2
    hold(request.id)
    return str(found)
