"""Mirror of the template cache in ASGI: an ``OrderedDict`` with ``move_to_end`` and ``popitem``."""

from collections import OrderedDict

from tests.corpus.gate import hold_async
from tests.corpus.tiny import Asgi, Request

CACHE = OrderedDict()
app = Asgi()


def template(name):
    if name in CACHE:
        CACHE.move_to_end(name)
    else:
        CACHE[name] = f"<p>{name}</p>"
        if len(CACHE) > 2:
            CACHE.popitem(last=False)
    return CACHE[name]


@app.route("/index")
async def index(request: Request):
    found = template("index.html")
    await hold_async(request.id)
    return found


@app.route("/page")
async def page(request: Request):
    found = template("page.html")
    await hold_async(request.id)
    return found
