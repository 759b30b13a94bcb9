"""A careful Flask application: nothing of it may be reported."""

import os
from functools import wraps

from flask import Flask, current_app, flash, g, jsonify, make_response, redirect, request, session
from flask_login import LoginManager, current_user, login_required
from flask_sqlalchemy import SQLAlchemy
from werkzeug.local import LocalProxy

app = Flask(__name__)
app.config["SECRET_KEY"] = os.environ.get("SECRET_KEY", "dev")
app.config.update(DEBUG=False)
db = SQLAlchemy(app)
login = LoginManager(app)
login.login_view = "login"
FILTERS = {}
COUNTRIES = {"de": "Germany"}


def template_filter(function):
    FILTERS[function.__name__] = function
    return function


@template_filter
def shout(text):
    return text.upper()


class User(db.Model):
    id = db.Column(db.Integer, primary_key=True)
    name = db.Column(db.String)
    roles = db.relationship("Role")

    def rename(self, name):
        self.name = name
        self.roles.append(name)


def get_db():
    if "db" not in g:
        g.db = object()
    return g.db


cart = LocalProxy(lambda: g.setdefault("cart", []))


def admin_required(view):
    @wraps(view)
    def wrapped(*args, **kwargs):
        if not current_user.is_admin:
            return redirect("/")
        return view(*args, **kwargs)

    return wrapped


@app.before_request
def load_user():
    g.user = session.get("user")
    g.started = 1


@app.route("/rename", methods=["POST"])
@login_required
@admin_required
def rename():
    user = User.query.get(request.form["id"])
    user.rename(request.form["name"])
    user.name = request.form["name"]
    current_user.name = request.form["name"]
    db.session.add(user)
    db.session.commit()
    session["name"] = user.name
    session["cart"] = session.get("cart", []) + [user.name]
    session.modified = True
    flash("renamed")
    cart.append(request.form["id"])
    return jsonify(user.name)


@app.route("/set-cookie")
def cookie():
    response = make_response("ok")
    response.set_cookie("a", "b")
    response.headers["X-A"] = request.args["a"]
    response.status_code = 201
    return response


@app.route("/search")
def search():
    query = request.args.to_dict()
    query["page"] = int(query.pop("page", 1))
    countries = COUNTRIES.copy()
    countries["xx"] = query
    found = [dict(row) for row in ()]
    for row in found:
        row["country"] = COUNTRIES[row["code"]]
        row.setdefault("tags", []).append("x")
    limits = current_app.config.get("LIMITS")
    return jsonify(found, countries, limits)


@app.errorhandler(404)
def missing(error):
    error.description = "not here"
    return error, 404


@app.after_request
def headers(response):
    response.headers["X-Frame-Options"] = "DENY"
    return response


@app.cli.command()
def seed():
    COUNTRIES["fr"] = "France"
    app.config["SEEDED"] = True
