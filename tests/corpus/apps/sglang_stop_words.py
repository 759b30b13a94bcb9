"""sgl-project/sglang#26173: ``+=`` on the list that a cached function returned edits the cache."""

from functools import lru_cache

from tests.corpus.gate import hold
from tests.corpus.tiny import Request, Wsgi

app = Wsgi()


@lru_cache(maxsize=8)
def stop_words(model):
    return ["</s>", f"<{model}>"]


def write(user):
    words = stop_words("small")
    words += [user]  # LEAK
    return words


@app.route("/generate")
def generate(request: Request):
    words = write(request.user)
    hold(request.id)
    return str(words)


@app.route("/read")
def read(request: Request):
    hold(request.id)
    return str(stop_words("small"))
