"""Request code."""

from django.urls import path
from django.views import View

from shop import carts, deep
from shop import record as log

OPEN = []


def add(request, thing):
    carts["open"].append(thing)  # finding: SG101
    log(thing)
    deep.through_star(thing)
    deep.through_function_import(thing)
    dispatch_table["note"](thing)


def note(thing):
    NOTES.append(thing)  # also: SG101


NOTES = []
dispatch_table = {"note": note}


class Detail(View):
    def get(self, request):
        self.thing = request
        NOTES.append(request)  # finding: SG101
        return self.thing


urlpatterns = [path("add/<thing>", add), path("detail", Detail.as_view())]
