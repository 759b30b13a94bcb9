"""Other modules' variables rebound in request code."""

from starlette.applications import Starlette
from starlette.routing import Route

import sg103.state as st

from . import state
from .state import CURRENT


async def home(request):
    state.CURRENT = request.user  # finding: SG103
    st.COUNT += 1
    setattr(st, "LIMIT", request.query_params["limit"])  # finding: SG103
    if state.CLIENT is None:
        state.CLIENT = object()
    CURRENT = request.user
    return CURRENT


def configure(limit):
    state.LIMIT = limit


configure(5)
app = Starlette(routes=[Route("/", home)])
