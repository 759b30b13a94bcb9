"""encode/django-rest-framework#1870: declared fields are shared; the constructor writes into them."""

from tests.corpus.gate import hold
from tests.corpus.tiny import Request, Wsgi


class Field:
    def __init__(self):
        self.context = {}

    def render(self, value):
        return f"{value} for {self.context.get('user')}"


class UserSerializer:
    fields = {"name": Field()}

    def __init__(self, context):
        for field in self.fields.values():
            field.context = context  # LEAK

    def data(self, value):
        return {name: field.render(value) for name, field in self.fields.items()}


app = Wsgi()


def write(user):
    return UserSerializer(context={"user": user})


@app.route("/user")
def user(request: Request):
    serializer = write(request.user)
    hold(request.id)
    return str(serializer.data("ok"))


@app.route("/fields")
def fields(request: Request):
    hold(request.id)
    return ", ".join(UserSerializer.fields)
