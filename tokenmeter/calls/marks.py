"""Which meter an object belongs to: marks that `wrap` puts on clients, the instrumented meter, and the default one.

Hooks ask `meter_for(client)`: a marked client belongs to the meter of its mark, every other object to the meter that
`instrument()` was called on, if any.

A mark is a small attribute of the instance, so it goes where the instance's `__dict__` goes: `copy.copy`, pickling.
A bound method stored on the instance would not: a copy with a changed key would send the old one.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from tokenmeter._support.guard import guard

if TYPE_CHECKING:
    from tokenmeter.calls.protocols import Meter

__all__ = [
    "MARK",
    "Mark",
    "default_meter",
    "in_use",
    "instrumented",
    "mark",
    "mark_of",
    "meter_for",
    "set_default",
    "set_instrumented",
]

MARK: Final = "_tokenmeter_mark"

_instrumented: Meter | None = None
_default: Callable[[], Meter] | None = None
_lock = threading.Lock()
_marked = False


class Mark:
    """Says which meter an object belongs to, and what the user said about the object."""

    __slots__ = ("_meter", "of_sdk", "provider", "region")

    def __init__(
        self,
        meter: Meter | None,
        provider: str | None = None,
        region: str | None = None,
        *,
        of_sdk: bool = False,
    ) -> None:
        self._meter = meter
        self.provider = provider
        self.region = region
        self.of_sdk = of_sdk
        """The marked object is an SDK's: what it posts to a host not in the map is recognised by its path."""

    def for_sdk(self) -> Mark:
        """The same mark for a part of an SDK's client."""
        return Mark(self._meter, self.provider, self.region, of_sdk=True)

    @property
    def meter(self) -> Meter:
        """The meter of the object's calls; the default one of the moment where the mark names none."""
        return self._meter if self._meter is not None else default_meter()

    def __reduce__(self) -> tuple[Any, ...]:
        # A meter is not pickled: in another process the object belongs to that process's default meter. Nor is a
        # class of this package: the pickle may be read where tokenmeter is not installed.
        return (tuple, ((self.provider, self.region, self.of_sdk),))

    def __deepcopy__(self, memo: object) -> Mark:
        return self


def mark(thing: object, made: Mark) -> None:
    """Mark an object. It must have a `__dict__`."""
    global _marked
    _marked = True
    thing.__dict__[MARK] = made


def mark_of(thing: object) -> Mark | None:
    """The mark of an object; None where it has none."""
    try:
        found = thing.__dict__.get(MARK)
    except AttributeError:  # an object with slots only: it cannot be marked
        return None
    if found is None or isinstance(found, Mark):
        return found
    provider, region, of_sdk = found  # it comes out of a pickle
    made = Mark(None, provider, region, of_sdk=of_sdk)
    mark(thing, made)
    return made


def meter_for(thing: object) -> Meter | None:
    """The meter that calls of this object belong to; None: they are not metered."""
    found = mark_of(thing)
    if found is None:
        return _instrumented
    with guard("finding the meter of a client"):  # a client from another process may be the first to ask for one here
        return found.meter
    return None


def in_use() -> bool:
    """Whether any call can be metered by hooks: of every object, or of one that was marked."""
    return _marked or _instrumented is not None


def instrumented() -> Meter | None:
    """The meter that hooks act for where an object is not marked."""
    return _instrumented


def set_instrumented(meter: Meter | None) -> Meter | None:
    """Make hooks act for every object, for this meter; None stops that. Returns the one before."""
    global _instrumented
    with _lock:
        before, _instrumented = _instrumented, meter
    return before


def default_meter() -> Meter:
    """The process's default meter, looked up anew each time since `configure` replaces it."""
    if _default is None:
        importlib.import_module("tokenmeter.default_meter")  # registers itself by `set_default`
    assert _default is not None
    return _default()


def set_default(find: Callable[[], Meter]) -> None:
    """Say where the default meter is found. For `tokenmeter.default_meter`."""
    global _default
    _default = find
