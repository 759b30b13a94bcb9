"""Mirror of fastapi#2892 in Flask: the caller is stored in the application's configuration."""

from flask import Flask, current_app, request

from tests.corpus.gate import hold

app = Flask(__name__)
app.config["CALLER"] = None


@app.get("/me")
def me():
    current_app.config["CALLER"] = request.args["user"]  # LEAK
    hold(request.headers["X-Request-ID"])
    return f"you are {current_app.config['CALLER']}"


@app.get("/ping")
def ping():
    hold(request.headers["X-Request-ID"])
    return "pong"
