"""Mirror of the kept schema in WSGI: properties computed once, a compiled pattern."""

import re
from functools import cached_property

from tests.corpus.gate import hold
from tests.corpus.tiny import Request, Wsgi


class Site:
    @cached_property
    def routes(self):
        return tuple(sorted(app.routes))

    @cached_property
    def pattern(self):
        return re.compile("/(.*)")


SITE = Site()
app = Wsgi()


@app.route("/map")
def site_map(request: Request):
    found = SITE.routes
    matched = SITE.pattern.match(request.path)
    hold(request.id)
    return f"{found} {bool(matched)}"
