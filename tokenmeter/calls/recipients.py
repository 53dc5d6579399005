"""Hands a settled call on: to its span, its budgets, its scope, and to every sink, once and in this order.

A hand-made call keeps the records of the calls inside it until it settles. What is handed on is a record, or a usual
call (`usual_call.py`) that makes its record only where a recipient reads one.

Sinks that make no calls to models come first. The others get no record of a call that a sink of theirs made: a sink
that asks a model would else be handed its own question, without end.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

from tokenmeter._support.guard import absorbed, guard
from tokenmeter.calls.context import HANDING_ON, handing_on
from tokenmeter.calls.sink_threads import code_of_sinks
from tokenmeter.calls.usual_call import Settled, UsualCall, record_of
from tokenmeter.record import Sink

if TYPE_CHECKING:
    from tokenmeter.calls.opencall import OpenCall

__all__ = ["Recipients", "Sums", "hand_on"]


class Sums(Sink, Protocol):
    """A sink that keeps sums until they are collected: records may come late while no collector is there."""

    @property
    def listened_to(self) -> bool:
        """Whether the sums may be collected at any time."""


class Recipients:
    """The sinks of one meter; they may be added and removed at any time."""

    def __init__(self, sums: Sums | None, sinks: Iterable[Sink]) -> None:
        self.sums = sums
        self.added: list[Sink] = []
        self.set(sinks if sums is None else (sums, *sinks))
        self.forked()

    def forked(self) -> None:
        """In a child process: another thread of the parent may be adding a sink."""
        self._lock = threading.Lock()

    def set(self, sinks: Iterable[Sink]) -> None:
        """Have these sinks, and no others."""
        self.sinks: tuple[Sink, ...] = tuple(sinks)
        self.calling = tuple(one for one in self.sinks if getattr(one, "makes_calls", True))
        self.quiet = tuple(one for one in self.sinks if one not in self.calling)
        self.lazy = tuple(one for one in self.quiet if getattr(one, "takes_usual", False))
        self.code = code_of_sinks(self.calling)

    def add(self, sink: Sink) -> None:
        """Hand every later record to this sink too."""
        with self._lock:
            self.added.append(sink)
            self.set((*self.sinks, sink))

    def remove(self, sink: Sink) -> None:
        """Stop handing records to this sink."""
        with self._lock:
            self.added = [one for one in self.added if one is not sink]
            self.set(one for one in self.sinks if one is not sink)

    def take(self, settled: Settled, inner: bool | None) -> None:
        """Hand a settled call to the sinks; an `inner` one was made by a sink. None: the context says so."""
        if len(self.sinks) > 1 and isinstance(settled, UsualCall):
            settled.take_id()  # each of them sees the same
        for sink in self.quiet:
            try:
                sink.write(settled if sink in self.lazy else record_of(settled))  # type: ignore[arg-type]
            except BaseException as error:
                if not absorbed("writing to a sink", error):
                    raise
        if not self.calling or (HANDING_ON.get() is not None if inner is None else inner):
            return
        record = record_of(settled)
        with handing_on("sink"):
            for sink in self.calling:
                with guard("writing to a sink"):
                    sink.write(record)


def hand_on(call: OpenCall, settled: Settled, *, around: OpenCall | None) -> None:
    """Hand a settled call to the innermost hand-made call around it that is open, else to span, scope and sinks."""
    while around is not None:
        record = record_of(settled)
        if around.hold(call, record):
            return
        if around.observed:  # it has settled, with a usage of its own
            settled = around.delegate(record)
        around = around.parent
    span = call.span
    if span is not None:
        try:
            if span.quiet:
                span.finish(settled)
            else:
                with handing_on("span"):
                    span.finish(settled)
        except BaseException as error:
            if not absorbed("ending a span", error):
                raise
    if call.budget is not None:
        with guard("charging the budgets"):
            call.budget.settle(call, record_of(settled))
    if call.scope is not None:
        with guard("adding to a scope"):
            call.scope.settled(settled)
    call.lifecycle.take(settled, inner=call.inner)
