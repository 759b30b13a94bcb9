"""Who is asking."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.requests import Request

from examples.customers import BY_TOKEN, Customer
from stateguard import RequestVar
from stateguard.sessions import Request as SessionRequest

# REPAIRED: one value per request, in place of one for the whole process.
CURRENT_USER = RequestVar[Customer]()


def sign_in(request: Request) -> Customer:
    """Look the caller up by bearer token; everything after this line asks ``CURRENT_USER.get()``."""
    customer = _customer(request.headers.get("authorization", ""))
    if customer is None:
        raise HTTPException(401, "sign in first")
    CURRENT_USER.set(customer)
    return customer


def conversation_of(request: SessionRequest) -> str | None:
    """Whose conversation a request goes on with, for the session store: each customer has one."""
    customer = _customer(request.headers.get("authorization", ""))
    return None if customer is None else customer.name


def _customer(authorization: str) -> Customer | None:
    scheme, _, token = authorization.partition(" ")
    return BY_TOKEN.get(token) if scheme == "Bearer" else None
