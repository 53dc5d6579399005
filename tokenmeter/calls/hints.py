"""What a program that meters nothing, or too late, is told: each hint once per process, with its remedy."""

from __future__ import annotations

import sys
import threading
from typing import Final

from tokenmeter._support.guard import logger

__all__ = ["empty_scope", "observed_late", "outside_scopes", "sink_calls_itself"]

_said: Final[set[str]] = set()


def _say(hint: str, *names: object) -> None:
    if hint not in _said:
        _said.add(hint)
        logger.warning(hint, *names)


def observed_late(method: str) -> None:
    """A hand-made call is observed after its block."""
    _say("%s came after the end of the call's block and changes nothing: call it inside the block", method)


def empty_scope(name: str) -> None:
    """A scope ends without a call, in a program that meters none by hooks."""
    _say(
        "the scope %r ended and no call was metered: call tokenmeter.instrument() at the start of the program, or "
        "tokenmeter.wrap(client) for one client",
        name,
    )


def sink_calls_itself() -> None:
    """A call opens on a thread that a sink has begun."""
    _say(
        "calls to a model that a sink makes on a thread of its own are summed and go to the ledger, and are not handed "
        "to sinks again: where a sink's thread makes the calls of the program, set makes_calls = False on its class"
    )


def outside_scopes() -> None:
    """A call opens in no scope while scopes are open; a thread pool's threads do not have the caller's context."""
    work = getattr(sys.modules.get("concurrent.futures.thread"), "_worker", None)
    if work is not None and getattr(threading.current_thread(), "_target", None) is work:
        _say(
            "a call in a thread of a ThreadPoolExecutor belongs to no scope and has no tags, while a scope is open "
            "elsewhere: if it belongs there, submit tokenmeter.carry(function)"
        )
