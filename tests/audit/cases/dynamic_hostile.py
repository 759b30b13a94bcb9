"""Names made at run time, monkeypatching, ``exec``: what can be seen of it."""

import json
import os
import sys

from flask import Flask, request

app = Flask(__name__)


class Settings:
    language = "en"
    theme = "light"


class Profile:
    def __init__(self):
        self.name = ""


settings = Settings()
profile = Profile()
CURRENT = None
TABLE = {}


@app.route("/setattr", methods=["POST"])
def set_attribute():
    setattr(profile, "name", request.form["name"])  # finding: SG106
    return "ok"


@app.route("/setattr-class", methods=["POST"])
def set_class_attribute():
    setattr(Settings, "language", request.form["language"])  # finding: SG104
    return "ok"


@app.route("/setattr-own", methods=["POST"])
def set_own_attribute():
    mine = Profile()
    setattr(mine, "name", request.form["name"])
    return mine.name


@app.route("/globals", methods=["POST"])
def set_global():
    globals()["CURRENT"] = request.form["name"]  # finding: SG102
    return "ok"


@app.route("/globals-update", methods=["POST"])
def update_globals():
    globals().update(request.form)  # finding: SG102
    return "ok"


@app.route("/vars", methods=["POST"])
def set_vars():
    vars(settings)["theme"] = request.form["theme"]  # finding: SG106
    return "ok"


@app.route("/dict", methods=["POST"])
def update_dict():
    settings.__dict__.update(request.form)  # also: SG106
    return "ok"


@app.route("/dict-own", methods=["POST"])
def update_own_dict():
    mine = Profile()
    mine.__dict__.update(request.form)
    vars(mine)["x"] = 1
    return "ok"


@app.route("/module", methods=["POST"])
def set_module():
    sys.modules[__name__].CURRENT = request.form["name"]  # also: SG102
    return "ok"


@app.route("/module-setattr", methods=["POST"])
def set_module_attribute():
    setattr(sys.modules[__name__], "CURRENT", request.form["name"])  # also: SG102
    return "ok"


@app.route("/patch", methods=["POST"])
def monkeypatch():
    json.dumps = lambda value: request.form["name"]  # finding: SG113
    return "ok"


@app.route("/environ", methods=["POST"])
def environ():
    os.environ.update(request.form)  # finding: SG113
    return "ok"


@app.route("/environ-copy", methods=["POST"])
def environ_copy():
    mine = dict(os.environ)
    mine["NAME"] = request.form["name"]
    other = os.environ.copy()
    other["NAME"] = request.form["name"]
    return "ok"


@app.route("/exec", methods=["POST"])
def execute():
    exec("TABLE['last'] = 1", globals())
    return "ok"


@app.route("/eval")
def evaluate():
    return str(eval("1 + 1"))


@app.route("/locals")
def own_locals():
    locals().update(x=1)
    return "ok"


@app.route("/class", methods=["POST"])
def set_through_class():
    type(profile).shared = request.form["name"]  # finding: SG104
    return "ok"


@app.route("/dunder-class", methods=["POST"])
def set_through_dunder():
    profile.__class__.shared2 = request.form["name"]  # finding: SG104
    return "ok"
