"""Who is asking."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.requests import Request

from examples.customers import BY_NAME, BY_TOKEN, Customer
from stateguard import session


def sign_in(request: Request) -> Customer:
    """Look the caller up by bearer token; everything after this line asks :func:`current_user`."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    customer = BY_TOKEN.get(token)
    if scheme != "Bearer" or customer is None:
        raise HTTPException(401, "sign in first")
    # REPAIRED: the user is kept in this request's session, not in a global.
    session().user_id = customer.name
    return customer


def current_user() -> Customer:
    """The customer of the request being served."""
    name = session().user_id
    if name is None:
        raise HTTPException(401, "sign in first")
    return BY_NAME[name]
