"""Celery: the tags that are current where a task is sent are current where it runs.

tag_tasks()                      # once, in the module that makes the app, for senders and workers alike
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import tokenmeter
from tokenmeter._support.guard import guard
from tokenmeter.attribution.sources import TAGS_MOST
from tokenmeter.calls.context import TAGS
from tokenmeter.errors import MissingExtra
from tokenmeter.otel.baggage import VALUE_MOST

__all__ = ["tag_tasks"]

_HEADER: Final = "tokenmeter_tags"
_open: dict[str, Any] = {}


def tag_tasks() -> None:
    """Send the current tags with every task, and run every task with the tags it was sent with. Idempotent.

    Raises MissingExtra where Celery is not installed.
    """
    try:
        from celery import signals
    except ImportError:
        raise MissingExtra("tag_tasks is for Celery", "celery") from None
    signals.before_task_publish.connect(_sending, weak=False, dispatch_uid="tokenmeter-sending")
    signals.task_prerun.connect(_begins, weak=False, dispatch_uid="tokenmeter-begins")
    signals.task_postrun.connect(_ends, weak=False, dispatch_uid="tokenmeter-ends")


def _sending(headers: Any = None, **ignored: Any) -> None:
    with guard("sending tags with a task"):
        tags = TAGS.get()
        if tags and isinstance(headers, dict):
            headers[_HEADER] = dict(list(tags.items())[:TAGS_MOST])


def _begins(task_id: Any = None, task: Any = None, **ignored: Any) -> None:
    with guard("tagging a task"):
        # A worker of another version may leave the header in the request's own headers.
        request = task.request
        tags = getattr(request, _HEADER, None) or (getattr(request, "headers", None) or {}).get(_HEADER)
        if isinstance(tags, Mapping):
            plain = {str(name)[:VALUE_MOST]: str(value)[:VALUE_MOST] for name, value in list(tags.items())[:TAGS_MOST]}
            block = tokenmeter.tags(**plain)
            block.__enter__()
            _open[str(task_id)] = block


def _ends(task_id: Any = None, **ignored: Any) -> None:
    with guard("leaving the tags of a task"):
        block = _open.pop(str(task_id), None)
        if block is not None:
            block.__exit__(None, None, None)
