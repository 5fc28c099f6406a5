"""gunicorn --preload --workers 2 django_app:application

A project in one file. In yours, `events` has a module of its own, which the views import.
"""

import json
import os

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.db import transaction
from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from intilery import Client

settings.configure(
    ALLOWED_HOSTS=["127.0.0.1"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    ROOT_URLCONF=__name__,
    SECRET_KEY=os.environ.get("DJANGO_SECRET_KEY", "for development only"),
)

events = Client.from_env()  # each worker has its own after the fork, and sends what is queued when it ends


@csrf_exempt
@require_POST
def complete_order(request: HttpRequest) -> JsonResponse:
    order = json.loads(request.body)
    with transaction.atomic():
        # … save the order. An event of a transaction that is rolled back is never sent:
        transaction.on_commit(lambda: events.track(order["user_id"], "Order Completed", {"total": order["total"]}))
        if order["total"] < 0:
            transaction.set_rollback(True)
            return JsonResponse({"accepted": False}, status=422)
    return JsonResponse({"accepted": True})


urlpatterns = [path("orders", complete_order)]
application = get_wsgi_application()
