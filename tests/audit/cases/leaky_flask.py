"""A shop as people write it in a hurry."""

import threading
from functools import lru_cache

import requests
from flask import Blueprint, Flask, current_app, request, session

app = Flask(__name__)
shop = Blueprint("shop", __name__, url_prefix="/shop")
http = requests.Session()
basket = []
prices = {"apple": {"net": 1, "history": []}}
current_customer = None
results = {"items": [], "total": 0}
locale = threading.local()
cache = {}
form_errors = []


class Cart:
    items = []
    owner = None

    def add(self, item):
        self.items += [item]  # finding: SG104
        return self

    @classmethod
    def login(cls, owner):
        cls.owner = owner  # finding: SG104


class Validator:
    def __init__(self):
        self.errors = {}

    def check(self, form):
        self.errors.clear()
        if "name" not in form:
            self.errors["name"] = "missing"  # finding: SG106
        return self.errors


validator = Validator()


@shop.route("/basket", methods=["POST"])
def add():
    global current_customer
    basket.append(request.form["item"])  # finding: SG101
    current_customer = session["user"]  # finding: SG102
    http.headers["X-User"] = session["user"]  # finding: SG113
    http.auth = (session["user"], "x")  # finding: SG113
    cart = Cart().add(request.form["item"])
    Cart.login(session["user"])
    return cart


@shop.route("/search")
def search():
    results["items"] = []  # also: SG101
    for item in request.args.getlist("q"):
        results["items"].append(item)  # finding: SG101
    results["total"] = len(results["items"])
    return results


@shop.route("/price", methods=["POST"])
def price():
    prices["apple"]["history"].append(request.form["price"])  # finding: SG101
    return "ok"


@shop.route("/check", methods=["POST"])
def check():
    errors = form_errors
    errors.clear()
    errors.append(request.form["name"])  # finding: SG101
    return validator.check(request.form)


@lru_cache
def recommended(country):
    return {"items": [], "country": country}


@lru_cache
def profile():  # finding: SG110
    return {"user": session["user"]}


@shop.route("/recommended")
def show():
    found = recommended("de")
    found["user"] = session["user"]  # finding: SG109
    locale.language = request.args["language"]  # finding: SG111
    cache["profile"] = session["user"]  # finding: SG101
    current_app.config["LAST"] = session["user"]  # finding: SG107
    app.last_user = session["user"]  # finding: SG107
    show.calls = request.args  # finding: SG106
    return found


app.register_blueprint(shop)
