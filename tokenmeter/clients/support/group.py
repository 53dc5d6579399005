"""Groups the requests of one SDK call, for SDKs that retry above the HTTP library.

Many SDKs try again above the HTTP library: what is one call to the user is several requests on the wire. A group is
open while the SDK's own method runs; the first request to a model's endpoint inside it says what the call
is, and those after it are further attempts of the same call. Nothing of the SDK is read but the name of that method,
so this is also what is left where a newer version of an SDK has hidden the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from tokenmeter._support.guard import guard
from tokenmeter.calls.context import CALL
from tokenmeter.clients.support import hooks
from tokenmeter.clients.support.current_call import CurrentCallBlock
from tokenmeter.record import End

if TYPE_CHECKING:
    from tokenmeter.calls.opencall import OpenCall
    from tokenmeter.calls.protocols import Meter

__all__ = ["Group", "Over", "async_grouped", "grouped", "open_group"]

Find = Callable[[Any], Any]
Over = Callable[[Any, "Group", Any, tuple[Any, ...], Mapping[str, Any]], Any]
"""What is done with a method's result: `over(client, group, result, args, kwargs)` gives what the caller gets."""


class Group:
    """The requests of one call of an SDK, before and after it is known what the call is."""

    __slots__ = ("call", "client", "mark", "meter", "sent")
    span = None
    """Whose span a call has is decided when its first request says what it is."""

    def __init__(self, meter: Meter, client: int, mark: hooks.Mark | None) -> None:
        self.meter = meter
        self.client = client
        self.mark = mark
        self.call: OpenCall | None = None
        self.sent = False
        """The method is over: a task that was begun meanwhile and still sees this group makes calls of its own."""

    @property
    def streaming(self) -> bool:
        """Whether a body is still being read by the caller."""
        return self.call is not None and self.call.streaming

    def close(self, end: End, error: BaseException | None = None) -> None:
        """The SDK's method is over. A body that is still being read settles the call by itself."""
        self.sent = True
        call = self.call
        if call is None or (call.streaming and error is None):
            return
        if error is None and (call.status_code is None or call.status_code >= 400):
            end = End.ERROR  # the SDK raises further up
        call.lifecycle.settle(call, end, error)


def open_group(client: Any, marked: Find) -> Group | None:
    """A group for a call of `client`; None where it is not metered, or calls itself for the same request."""
    with guard("opening a group of requests"):
        carrier = marked(client)
        meter = hooks.meter_for(carrier)
        outer = CALL.get()
        if meter is None or (outer is not None and not outer.sent and outer.client == id(client)):
            return None
        return Group(meter, id(client), hooks.mark_of(carrier))
    return None


def close_group(client: Any, group: Group, result: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """The method is over, and so is the call, but for a body that is still being read."""
    with guard("closing a group of requests"):
        group.close(End.COMPLETE)
    return result


def grouped(method: Callable[..., Any], marked: Find, over: Over = close_group) -> Callable[..., Any]:
    """The same method, whose requests are one call. `marked(client)` is the object that `wrap` has marked."""

    def metered(self: Any, *args: Any, **kwargs: Any) -> Any:
        group = open_group(self, marked)
        if group is None:
            return method(self, *args, **kwargs)
        with CurrentCallBlock(group):
            result = method(self, *args, **kwargs)
        return over(self, group, result, args, kwargs)

    return metered


def async_grouped(method: Callable[..., Any], marked: Find, over: Over = close_group) -> Callable[..., Any]:
    """The same for a coroutine method."""

    async def metered(self: Any, *args: Any, **kwargs: Any) -> Any:
        group = open_group(self, marked)
        if group is None:
            return await method(self, *args, **kwargs)
        with CurrentCallBlock(group):
            result = await method(self, *args, **kwargs)
        return over(self, group, result, args, kwargs)

    return metered
