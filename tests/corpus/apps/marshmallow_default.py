"""marshmallow-code/marshmallow#2114: a schema's default list reaches the view and is extended there."""

from functools import wraps

from tests.corpus.gate import hold
from tests.corpus.tiny import Request, Wsgi


class Field:
    def __init__(self, default):
        self.default = default


class SearchSchema:
    tags = Field(default=[])

    def load(self, query):
        return {"tags": query.get("tags", self.tags.default)}


def use_args(schema):
    def decorate(view):
        @wraps(view)
        def call(request):
            return view(request, **schema.load(request.query))

        return call

    return decorate


app = Wsgi()


def write(user, tags=None):
    tags = SearchSchema().load({})["tags"] if tags is None else tags
    tags.append(user)  # LEAK


@app.route("/search")
@use_args(SearchSchema())
def search(request: Request, tags):
    write(request.user, tags)
    hold(request.id)
    return str(tags)


@app.route("/ping")
def ping(request: Request):
    hold(request.id)
    return "pong"
