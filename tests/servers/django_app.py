"""The same faults on Django, guarded by the installed app; run as ``manage.py`` is."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator

import django
from django.conf import settings
from django.core.management import execute_from_command_line
from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path

from stateguard import session
from stateguard.integrations.django import get_guard
from tests.servers import state

if not settings.configured:
    settings.configure(
        ALLOWED_HOSTS=["*"],
        INSTALLED_APPS=["stateguard.integrations.django"],
        ROOT_URLCONF="tests.servers.django_app",
        SECRET_KEY="only for this test",
        # The endpoints do next to nothing, so looking takes more than its usual share: here it must look.
        STATEGUARD={"watch": ["tests.servers.state"], "on_leak": os.environ["ON_LEAK"], "budget": 1.0},
    )
    django.setup()


def guilty(request):
    name = request.GET["name"]
    time.sleep(0.005)
    state.HISTORY.append(name)
    time.sleep(0.005)
    return HttpResponse(f"hello {name}")


def innocent(request):
    for _ in range(5):
        time.sleep(0.002)
        state.TABLE["first"] + state.TABLE["second"]
    return HttpResponse("hello")


def stream(request):
    def body() -> Iterator[str]:
        for number in range(5):
            time.sleep(0.002)
            if number == 3:
                state.STREAMED.append(request.GET["name"])
            yield f"part {number}\n"

    return StreamingHttpResponse(body(), content_type="text/plain")


def scope(request):
    found = dict(session().metadata)
    session().metadata["name"] = request.GET["name"]
    time.sleep(0.005)
    return JsonResponse({"found": found, "kept": dict(session().metadata)})


def leaks(request):
    return JsonResponse([leak.to_dict() for leak in get_guard().leaks], safe=False)


urlpatterns = [path(view.__name__, view) for view in (guilty, innocent, stream, scope, leaks)]

if __name__ == "__main__":
    execute_from_command_line(sys.argv)
