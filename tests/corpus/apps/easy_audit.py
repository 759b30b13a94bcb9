"""soynatan/django-easy-audit#6: a middleware keeps the user on its class, a signal handler reads it there."""

from tests.corpus.gate import hold
from tests.corpus.tiny import Request, Wsgi


class AuditMiddleware:
    user = None

    def __init__(self, app):
        self.app = app

    def __call__(self, environ, start_response):
        query = environ.get("QUERY_STRING", "")
        if query.startswith("user="):
            write(query.removeprefix("user="))
        return self.app(environ, start_response)


def write(user):
    AuditMiddleware.user = user  # LEAK


def on_save(instance):
    """The signal handler: it has no request, so it asks the middleware's class."""
    return f"{instance} saved by {AuditMiddleware.user}"


inner = Wsgi()
app = AuditMiddleware(inner)


@inner.route("/save")
def save(request: Request):
    hold(request.id)
    return on_save("order")


@inner.route("/ping")
def ping(request: Request):
    hold(request.id)
    return "pong"
