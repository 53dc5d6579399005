"""One view that calls a model, for the Django tests."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.urls import path

import tokenmeter
from tokenmeter import Usage


def view(request: Any) -> HttpResponse:
    """Call a model, as a view of an application does."""
    with tokenmeter.call("deepseek", "deepseek-chat") as call:
        call.observe_usage(Usage(input_tokens=10, output_tokens=5))
    return HttpResponse("ok")


urlpatterns = [path("", view)]
