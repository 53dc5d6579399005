"""Keeps calls open whose answer names a task, until the finished task reports the usage.

Such a call stays open until this process sees the task finished, by whatever the SDK asks for it; what was begun
elsewhere is not counted, since a task may be asked for any number of times. One that is never seen finished is
settled as dropped: at the end of the program, or when too many are waiting.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from tokenmeter.calls.response import ObjectReading
from tokenmeter.record import End

if TYPE_CHECKING:
    from tokenmeter.calls.opencall import OpenCall
    from tokenmeter.clients.table import TaskForm

__all__ = ["finish", "hold", "waiting"]

_MOST: Final = 1000
_tasks: OrderedDict[str, OpenCall] = OrderedDict()
_lock = threading.Lock()


def hold(form: TaskForm, call: OpenCall | None, answer: object) -> bool:
    """Keep the call of a submitted task open; False if there is no task to wait for."""
    task, status = _at(answer, form.id), _at(answer, form.status)
    if call is None or call.settled or not isinstance(task, str) or status in (*form.done, *form.failed):
        return False
    call.lifecycle.body_opened(call)  # as a stream, it is settled at the end of the program
    call.reading = None  # what has come so far is no answer
    with _lock:
        _tasks[task] = call
        oldest = _tasks.popitem(last=False)[1] if len(_tasks) > _MOST else None
    if oldest is not None:
        _settle(oldest, End.DROPPED)
    return True


def waiting(task: str) -> bool:
    """Whether a call waits for this task."""
    return task in _tasks


def finish(form: TaskForm, answer: object) -> None:
    """Settle the call of a task that turns out to be over."""
    status = _at(answer, form.status)
    if status not in form.done and status not in form.failed:
        return
    with _lock:
        call = _tasks.pop(_at(answer, form.id) or "", None)
    if call is None:
        return
    body = {name: _at(answer, name) for name in form.body} if form.body else answer
    call.reading = ObjectReading(body, call.provider, call.api, call.request_model)
    if status in form.failed:
        call.error_type = str(_at(answer, form.error) or status)
    _settle(call, End.COMPLETE if status in form.done else End.ERROR)


def _settle(call: OpenCall, end: End) -> None:
    call.lifecycle.body_closed(call)
    call.lifecycle.settle(call, end)


def _at(answer: Any, path: str) -> Any:
    for name in path.split("."):
        answer = answer.get(name) if isinstance(answer, Mapping) else getattr(answer, name, None)
    return answer
