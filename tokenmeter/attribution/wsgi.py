"""WSGI middleware: tags from each request, and 429 where a budget refuses a call; `init_flask` sets it up for Flask.

    app = WsgiMiddleware(app, headers={"x-user": "user"})
    init_flask(app, headers={"x-user": "user"}, tags=lambda environ: {"team": "search"})

The tags hold while the application runs, and while the pieces of its answer are made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

import tokenmeter
from tokenmeter.attribution.sources import TagSource, refused_answer
from tokenmeter.errors import BudgetExceeded

__all__ = ["WsgiMiddleware", "init_flask"]

_Start = Callable[..., Any]
_App = Callable[[dict[str, Any], _Start], Iterable[bytes]]


class WsgiMiddleware:
    """Runs a WSGI application with the tags of each request.

    `headers` maps names of headers to tags; `tags` is a function of the WSGI environment that returns more. With
    `answer` a refused call is answered 429 where no answer has begun. Raises ConfigurationError for bad arguments.
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
        self._keys = {f"HTTP_{name.upper().replace('-', '_')}": name for name in self._source.names}

    def __call__(self, environ: dict[str, Any], start_response: _Start) -> Iterable[bytes]:
        pairs = [(name, str(environ[key])) for key, name in self._keys.items() if key in environ]
        block = tokenmeter.tags(**self._source.of(environ, pairs))
        try:
            with block:
                pieces = self.app(environ, start_response)
        except BudgetExceeded as error:
            if not self._answer:
                raise
            headers, body = refused_answer(error)
            start_response("429 Too Many Requests", [*headers, ("content-length", str(len(body)))])
            return [body]
        return pieces if isinstance(pieces, list | tuple) else _Pieces(pieces, block)


class _Pieces:
    """The pieces of an answer, each made with the tags of its request."""

    def __init__(self, pieces: Iterable[bytes], block: AbstractContextManager[Any]) -> None:
        self._all = pieces
        self._pieces = iter(pieces)
        self._block = block

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        with self._block:
            return next(self._pieces)

    def close(self) -> None:
        close = getattr(self._all, "close", None)
        if close is not None:
            with self._block:
                close()


def init_flask(
    app: Any,
    *,
    headers: Mapping[str, str] | None = None,
    tags: Callable[[Any], Mapping[str, Any]] | None = None,
) -> None:
    """Tag the requests of a Flask application, and answer 429 where a budget refuses a call.

    Raises ConfigurationError for bad arguments.
    """
    app.wsgi_app = WsgiMiddleware(app.wsgi_app, headers=headers, tags=tags)
    # Flask turns exceptions into answers before they reach the middleware.
    app.register_error_handler(BudgetExceeded, _flask_answer)


def _flask_answer(error: BudgetExceeded) -> tuple[bytes, int, dict[str, str]]:
    headers, body = refused_answer(error)
    return body, 429, dict(headers)
