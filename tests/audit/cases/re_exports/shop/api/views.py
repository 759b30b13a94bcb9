import shop
import shop.state as st
from fastapi import APIRouter

from ... import nothing
from .. import TURNS
from .. import state as other
from ..state import settings
from . import models

router = APIRouter()


@router.post("/one")
def one(text: str):
    shop.CART["last"] = text  # finding: SG101
    shop.remember(text)


@router.post("/two")
def two(text: str):
    TURNS.append(text)  # finding: SG101
    st.CURRENT = text  # finding: SG103
    other.settings.language = text  # finding: SG106
    settings.recent.append(text)  # finding: SG106


@router.post("/three")
def three(text: str):
    models.Basket(models.ITEMS).add(text)
    models.Basket([]).add(text)


@router.post("/four")
def four(text: str):
    from shop.state import CURRENT, _private

    _private.append(text)  # finding: SG101
    return CURRENT


@router.post("/five")
def five(text: str):
    holder = models.Holder()
    holder.items.append(text)  # finding: SG101
