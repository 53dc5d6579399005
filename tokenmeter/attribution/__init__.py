"""Tags from frameworks: whose spend a web request or a task of a queue is.

    asgi       middleware for FastAPI, Starlette and every ASGI application      `AsgiMiddleware`
    wsgi       middleware for every WSGI application; `init_flask` for Flask     `WsgiMiddleware`
    django     middleware for Django, set up in its settings                     `DjangoMiddleware`
    celery     tags travel with the tasks that are sent inside them              `tag_tasks`
    sources    which tags a request gives                                        read first

A call that a budget refuses becomes an answer 429 with `Retry-After`, unless the application answers it itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenmeter.attribution.asgi import AsgiMiddleware
    from tokenmeter.attribution.celery import tag_tasks
    from tokenmeter.attribution.wsgi import WsgiMiddleware, init_flask

__all__ = ["AsgiMiddleware", "WsgiMiddleware", "init_flask", "tag_tasks"]

_HOMES = {"AsgiMiddleware": "asgi", "WsgiMiddleware": "wsgi", "init_flask": "wsgi", "tag_tasks": "celery"}


def __getattr__(name: str) -> Any:
    import importlib

    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)
