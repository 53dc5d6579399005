"""Django middleware, sync and async: tags from each request, and 429 where a budget refuses a call.

MIDDLEWARE = ["tokenmeter.attribution.django.DjangoMiddleware", ...]
TOKENMETER_HEADERS = {"x-user": "user"}
TOKENMETER_TAGS = "app.spend.tags_of"        # a function of the request, or its dotted name
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import iscoroutinefunction
from typing import Any

import tokenmeter
from tokenmeter.attribution.sources import TagSource, refused_answer
from tokenmeter.errors import BudgetExceeded

__all__ = ["DjangoMiddleware"]


class DjangoMiddleware:
    """Runs each view with the tags of its request. Raises ConfigurationError for bad settings."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[Any], Any]) -> None:
        from asgiref.sync import markcoroutinefunction
        from django.conf import settings
        from django.utils.module_loading import import_string

        tags = getattr(settings, "TOKENMETER_TAGS", None)
        self._source = TagSource(
            getattr(settings, "TOKENMETER_HEADERS", None), import_string(tags) if isinstance(tags, str) else tags
        )
        self._get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: Any) -> Any:
        if self._is_async:
            return self._async(request)
        with tokenmeter.tags(**self._source.of(request, request.headers.items())):
            return self._get_response(request)

    async def _async(self, request: Any) -> Any:
        with tokenmeter.tags(**self._source.of(request, request.headers.items())):
            return await self._get_response(request)

    def process_exception(self, request: Any, exception: Exception) -> Any:
        """The answer 429 to a view whose call a budget refused; None for other errors, which Django answers."""
        if not isinstance(exception, BudgetExceeded):
            return None
        from django.http import HttpResponse

        headers, body = refused_answer(exception)
        return HttpResponse(body, status=429, headers=dict(headers))
