"""Middleware and application objects."""

from fastapi import FastAPI, Request
from flask import current_app
from starlette.middleware.base import BaseHTTPMiddleware

app = FastAPI()


class Tracing:
    def __init__(self, app):
        self.app = app
        self.user = None
        self.count = 0
        self._table = None

    async def __call__(self, scope, receive, send):
        self.user = scope.get("user")  # finding: SG107
        self.count += 1
        self._remember(scope)
        if self._table is None:
            self._table = {}
        await self.app(scope, receive, send)

    def _remember(self, scope):
        self.last_path = scope["path"]  # finding: SG107


class Auth(BaseHTTPMiddleware):
    async def dispatch(self, request, call_next):
        self.token = request.headers["authorization"]  # finding: SG107
        request.state.token = self.token
        request.app.state.user = request.user  # finding: SG107
        return await call_next(request)


class DjangoStyle:
    current_user = None

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        DjangoStyle.current_user = request.user  # finding: SG104
        self.request = request  # finding: SG107
        return self.get_response(request)


class Wsgi:
    def __init__(self, app):
        self.app = app
        self.seen = []

    def __call__(self, environ, start_response):
        self.seen.append(environ["PATH_INFO"])  # finding: SG107
        return self.app(environ, start_response)


@app.middleware("http")
async def add_user(request: Request, call_next):
    app.state.user = request.headers["x-user"]  # finding: SG107
    request.state.user = "fine"
    return await call_next(request)


@app.get("/settings")
def settings(value: str):
    current_app.config["VALUE"] = value  # finding: SG107


@app.on_event("startup")
async def prepare():
    app.state.pool = object()
