"""ASGI middleware: tags from each request, and 429 where a budget refuses a call. For FastAPI, Starlette and others.

app.add_middleware(AsgiMiddleware, headers={"x-user": "user"}, tags=lambda scope: {"team": "search"})
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

import tokenmeter
from tokenmeter.attribution.sources import TagSource, refused_answer
from tokenmeter.errors import BudgetExceeded

__all__ = ["AsgiMiddleware"]

_Message = MutableMapping[str, Any]
_Send = Callable[[_Message], Awaitable[None]]
_Receive = Callable[[], Awaitable[_Message]]
_App = Callable[[Any, _Receive, _Send], Awaitable[None]]


class AsgiMiddleware:
    """Runs an ASGI application with the tags of each request.

    `headers` maps names of headers to tags; `tags` is a function of the ASGI scope that returns more. With `answer`
    a refused call is answered 429 where no answer has begun; without, BudgetExceeded goes on to the application's own
    handlers. Raises ConfigurationError for bad arguments.
    """

    def __init__(
        self,
        app: _App,
        *,
        headers: Mapping[str, str] | None = None,
        tags: Callable[[Any], Mapping[str, Any]] | None = None,
        answer: bool = True,
    ) -> None:
        self.app = app
        self._source = TagSource(headers, tags)
        self._answer = answer

    async def __call__(self, scope: Any, receive: _Receive, send: _Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        began = False

        async def sending(message: _Message) -> None:
            nonlocal began
            began = began or message["type"] == "http.response.start"
            await send(message)

        wanted = self._source.names
        pairs = (
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in scope.get("headers", ())
            if name.lower().decode("latin-1") in wanted
        )
        try:
            with tokenmeter.tags(**self._source.of(scope, pairs)):
                await self.app(scope, receive, sending)
        except BudgetExceeded as error:
            if began or not self._answer or scope["type"] != "http":
                raise
            headers, body = refused_answer(error)
            raw = [(name.encode(), value.encode()) for name, value in headers]
            await send({"type": "http.response.start", "status": 429, "headers": raw})
            await send({"type": "http.response.body", "body": body})
