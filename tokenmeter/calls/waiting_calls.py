"""The calls whose answer comes later. Asked for every request, so apart from what reads such answers."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from tokenmeter._support.fork import on_fork

if TYPE_CHECKING:
    from tokenmeter.calls.opencall import OpenCall
    from tokenmeter.wire.later import LaterForm

__all__ = ["WAITING", "any_wait"]

_MOST: Final = 1000


class _Waiting:
    """The calls that wait, by the name of the form and the id."""

    def __init__(self) -> None:
        self.forked()
        on_fork(self)

    def forked(self) -> None:
        """In a child process: what the parent began is the parent's."""
        self.calls: OrderedDict[tuple[str, str], OpenCall] = OrderedDict()
        self._lock = threading.RLock()

    def put(self, form: LaterForm, found: str, call: OpenCall) -> OpenCall | None:
        """Let a call wait; the oldest one, where too many do."""
        with self._lock:
            before = self.calls.pop((form.name, found), None)
            self.calls[form.name, found] = call
            if before is not None:
                return before
            return self.calls.popitem(last=False)[1] if len(self.calls) > _MOST else None

    def take(self, form: LaterForm, found: str) -> OpenCall | None:
        """The call that waits for this answer, which waits no longer; None for none."""
        with self._lock:
            return self.calls.pop((form.name, found), None)


WAITING: Final = _Waiting()


def any_wait() -> bool:
    """Whether any call waits: asked for every request, before its address is looked at."""
    return bool(WAITING.calls)
