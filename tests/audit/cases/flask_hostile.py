"""Flask: blueprints, class-based views, rules added by call, hooks, signals, commands, factories."""

import click
from flask import Blueprint, Flask, g, got_request_exception, request, session
from flask.views import MethodView, View

bp = Blueprint("chat", __name__)
RULES = []
VIEWS = []
METHODS = []
HOOKS = []
SIGNALS = []
COMMANDS = []
NESTED = []
TEARDOWN = []
ERRORS = []


@bp.route("/chat", methods=["POST"])
def chat():
    NESTED.append(request.form["message"])  # finding: SG101
    g.messages = []
    g.messages.append(request.form["message"])
    session["last"] = request.form["message"]
    session.setdefault("all", []).append(request.form["message"])
    return "ok"


def by_rule(name):
    RULES.append(name)  # finding: SG101
    return name


class Show(View):
    init_every_request = False

    def dispatch_request(self):
        VIEWS.append(request.args["q"])  # finding: SG101
        return "ok"


class Things(MethodView):
    decorators = []

    def get(self):
        return "ok"

    def post(self):
        METHODS.append(request.form["q"])  # finding: SG101
        self.mine = request.form["q"]
        return "ok"


@bp.before_app_request
def before():
    HOOKS.append(request.path)  # finding: SG101


@bp.errorhandler(404)
def missing(error):
    ERRORS.append(request.path)  # finding: SG101
    return "no", 404


def on_exception(sender, exception, **extra):
    SIGNALS.append(str(exception))  # finding: SG101


@bp.teardown_request
def teardown(error):
    TEARDOWN.clear()


@click.command("fill")
def fill():
    COMMANDS.append("filled")


def create_app():
    app = Flask(__name__)
    hits = []
    history = {}

    app.add_url_rule("/rule/<name>", view_func=by_rule)
    app.add_url_rule("/show", view_func=Show.as_view("show"))
    app.add_url_rule("/things", view_func=Things.as_view("things"), methods=["GET", "POST"])
    got_request_exception.connect(on_exception, app)
    app.cli.add_command(fill)
    app.register_blueprint(bp)

    @app.route("/hits")
    def count():
        hits.append(request.remote_addr)  # finding: SG112
        history["last"] = request.path  # finding: SG112
        return str(len(hits))

    @app.route("/quiet")
    def quiet():
        mine = []
        mine.append(request.path)
        return str(mine)

    return app
