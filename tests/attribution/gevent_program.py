"""Run by test_gevent, patched: greenlets serve overlapping requests, each write must be exact."""

import sys

import gevent
from gevent import monkey

from tests.attribution import shared
from tests.attribution.driver import exact, guarding, innocents


def main() -> int:
    def app(environ, start_response):
        gevent.sleep(0.002)
        if "guilty" in environ["HTTP_X_REQUEST_ID"]:
            shared.append(environ["HTTP_X_REQUEST_ID"])
        gevent.sleep(0.002)
        return [b""]

    with guarding() as guard:
        wrapped = guard.wsgi(app)
        jobs = []
        for i in range(20):
            name = f"{'guilty' if i % 4 == 0 else 'innocent'}-{i}"
            environ = {"HTTP_X_REQUEST_ID": name, "REQUEST_METHOD": "GET", "PATH_INFO": "/"}
            jobs.append(gevent.spawn(wrapped, environ, lambda *a: None))
        gevent.joinall(jobs, raise_error=True)
        print(len(guard.leaks), len(exact(guard.leaks)), innocents(guard.leaks))
        assert monkey.is_module_patched("threading")
        return 0 if len(exact(guard.leaks)) == len(guard.leaks) == 5 and not innocents(guard.leaks) else 1


sys.exit(main())
