"""urllib3 connectionpool.py: a LIFO queue of connections, taken out and put back, and a counter."""

from queue import Empty, LifoQueue

from tests.corpus.gate import hold
from tests.corpus.tiny import Request, Wsgi


class Connection:
    def __init__(self, host):
        self.host = host


class ConnectionPool:
    def __init__(self, host, size):
        self.host = host
        self.num_connections = 0
        self.pool = LifoQueue(size)

    def take(self):
        try:
            return self.pool.get(block=False)
        except Empty:
            self.num_connections += 1
            return Connection(self.host)

    def put(self, connection):
        self.pool.put(connection, block=False)


POOL = ConnectionPool("models.example", 10)
app = Wsgi()


@app.route("/ask")
def ask(request: Request):
    connection = POOL.take()
    hold(request.id)
    host = connection.host
    POOL.put(connection)
    return host
