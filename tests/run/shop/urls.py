"""Django's view."""

import os

from django.http import HttpResponse
from django.urls import path

from tests.run.shop import state


def index(request):
    state.HISTORY.append("a" * 20)
    return HttpResponse(str(os.getpid()))


urlpatterns = [path("", index)]
