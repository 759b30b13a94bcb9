"""Who is asking."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.requests import Request

from examples.chat_starlette.leaking.client import HTTP
from examples.customers import BY_TOKEN, Customer

# FAULT: "the current user" is whoever signed in last.
CURRENT_USER: Customer | None = None


def sign_in(request: Request) -> Customer:
    """Look the caller up by bearer token; everything after this line reads ``CURRENT_USER``."""
    global CURRENT_USER
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    customer = BY_TOKEN.get(token)
    if scheme != "Bearer" or customer is None:
        raise HTTPException(401, "sign in first")
    CURRENT_USER = customer
    HTTP.headers["x-customer"] = customer.name
    return customer
