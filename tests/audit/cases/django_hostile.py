"""Django: urlconf, class-based views, DRF, middleware old and new, signals, template tags, models."""

from django.db import models
from django.db.models.signals import post_save
from django.dispatch import receiver
from django.http import HttpResponse
from django.urls import include, path, re_path
from django.utils.deprecation import MiddlewareMixin
from django.views import View
from rest_framework.decorators import api_view
from rest_framework.views import APIView
from rest_framework.viewsets import ModelViewSet

SEEN = []
DETAIL = {}
CLASS = []
API = []
SETS = []
SAVED = []
CONTEXT = {"title": "shop"}


def index(request):
    SEEN.append(request.user)  # finding: SG101
    return HttpResponse("ok")


def context(request):
    CONTEXT["user"] = request.user  # finding: SG101
    mine = {**CONTEXT, "page": 1}
    mine["user"] = request.user
    return HttpResponse(str(mine))


class Detail(View):
    template = None

    def get(self, request, pk):
        DETAIL["last"] = request.user  # finding: SG101
        self.object = pk  # a view object for each request
        return HttpResponse("ok")


class Items(APIView):
    fields = {}

    def post(self, request):
        API.append(request.data)  # finding: SG101
        self.fields["user"] = request.user  # finding: SG104
        return HttpResponse("ok")


class ItemSet(ModelViewSet):
    def list(self, request):
        SETS.append(request.user)  # finding: SG101
        return HttpResponse("ok")


@api_view(["POST"])
def call(request):
    Tenant.current = request.user  # finding: SG104
    return HttpResponse("ok")


class Tenant(models.Model):
    current = None
    name = models.CharField(max_length=20)

    def save(self, *args, **kwargs):
        self.dirty = False
        super().save(*args, **kwargs)


@receiver(post_save, sender=Tenant)
def saved(sender, instance, **kwargs):
    SAVED.append(instance)  # finding: SG101


class OldMiddleware(MiddlewareMixin):
    def process_request(self, request):
        self.user = request.user  # finding: SG107
        request.started = 1


class NewMiddleware:
    def __init__(self, get_response):
        self.get_response = get_response
        self.paths = []

    def __call__(self, request):
        self.paths.append(request.path)  # finding: SG107
        return self.get_response(request)


def function_middleware(get_response):
    last = {}

    def middleware(request):
        last["user"] = request.user  # finding: SG112
        return get_response(request)

    return middleware


urlpatterns = [
    path("", index),
    path("context", context),
    re_path(r"^(?P<pk>\d+)$", Detail.as_view()),
    path("api/", include([path("items", Items.as_view()), path("call", call)])),
    path("sets", ItemSet.as_view({"get": "list"})),
]
