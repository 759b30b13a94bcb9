"""citusdata/django-multitenant PR #173: the tenant stays on the thread, the next request inherits it."""

import threading

from tests.corpus.gate import hold
from tests.corpus.tiny import Request, Wsgi

LOCAL = threading.local()
app = Wsgi()


def set_current_tenant(tenant):
    LOCAL.tenant = tenant  # LEAK


write = set_current_tenant


def get_current_tenant():
    return getattr(LOCAL, "tenant", None)


@app.route("/tenant")
def tenant(request: Request):
    set_current_tenant(request.user)
    hold(request.id)
    return f"rows of {get_current_tenant()}"


@app.route("/rows")
def rows(request: Request):
    hold(request.id)
    return f"rows of {get_current_tenant()}"
