"""Mirror of the lazy client in WSGI: an engine kept on the class and one in a dict, both made once."""

from tests.corpus.gate import hold
from tests.corpus.tiny import Request, Wsgi


class Engine:
    _instance = None

    @classmethod
    def get(cls):
        if cls._instance is None:
            cls._instance = cls()
        return cls._instance


ENGINES = {}
app = Wsgi()


def engine(name):
    if name not in ENGINES:
        ENGINES[name] = Engine.get()
    return ENGINES[name]


@app.route("/ask")
def ask(request: Request):
    engine("default")
    hold(request.id)
    return "asked"


@app.route("/ping")
def ping(request: Request):
    hold(request.id)
    return "pong"
