"""gevent's own server, after its monkey patching."""

import sys

from gevent import monkey

monkey.patch_all()


def main():
    from gevent.pywsgi import WSGIServer

    from tests.run.shop.wsgi import app

    WSGIServer(("127.0.0.1", int(sys.argv[1])), app, log=None).serve_forever()


main()
