"""pallets/jinja#8 (LRUCache): a bounded cache of templates; reading one moves it to the end."""

from collections import deque

from tests.corpus.gate import hold
from tests.corpus.tiny import Request, Wsgi


class LRUCache:
    def __init__(self, capacity):
        self.capacity = capacity
        self._mapping = {}
        self._queue = deque()

    def get(self, key, make):
        if key in self._mapping:
            self._queue.remove(key)
        else:
            if len(self._mapping) >= self.capacity:
                del self._mapping[self._queue.popleft()]
            self._mapping[key] = make(key)
        self._queue.append(key)
        return self._mapping[key]


class Template:
    def __init__(self, name):
        self.name = name
        self.parts = ("<p>", "</p>")


CACHE = LRUCache(2)
app = Wsgi()


@app.route("/index")
def index(request: Request):
    template = CACHE.get("index.html", Template)
    hold(request.id)
    return template.name


@app.route("/page")
def page(request: Request):
    template = CACHE.get("page.html", Template)
    hold(request.id)
    return template.name
