"""What hooks, marks and context may ask of a meter and of the call that is current.

The classes behind these protocols stand on higher floors: `tokenmeter.meter.Tokenmeter`, and for SDKs that repeat
requests above the HTTP library `clients.support.group.Group`. Annotations name the protocol, so imports point one way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from tokenmeter.calls.accounts import Accounts
    from tokenmeter.calls.block import Block
    from tokenmeter.calls.opencall import OpenCall, SpanHandle
    from tokenmeter.calls.route import ClientMark, Route
    from tokenmeter.providers.registry import Providers
    from tokenmeter.record import End

__all__ = ["CurrentCall", "Meter"]


class CurrentCall(Protocol):
    """The SDK call whose method is running: an `OpenCall`, or a group of requests that will be one call."""

    @property
    def client(self) -> int:
        """id of the SDK client that makes the call."""

    @property
    def sent(self) -> bool:
        """Whether no further request belongs to this call, wherever it is still current."""

    @property
    def streaming(self) -> bool:
        """Whether the caller is reading a body of the call."""

    @property
    def span(self) -> SpanHandle | None:
        """The span of the call, once it has one."""

    def close(self, end: End, error: BaseException | None = None) -> None:
        """The SDK's method is over."""


class Meter(Protocol):
    """The part of a `Tokenmeter` that hooks use."""

    @property
    def providers(self) -> Providers:
        """Who serves and bills, and at which endpoints."""

    @property
    def accounts(self) -> Accounts:
        """Whose keys pay."""

    @property
    def watches(self) -> WatchHost:
        """Whether requests to a host may be calls to a model."""

    @property
    def route(self) -> FindRoute:
        """Where calls to an address go."""

    def open_call(
        self, route: Route, model: str | None, *, stream: bool, body: object, span_later: bool = False
    ) -> OpenCall:
        """Begin a call in the current scope."""

    def scope(self, name: str, **tags: Any) -> Block[Any]:
        """A named unit of work that sums the calls inside it: a context manager and a decorator."""


class WatchHost(Protocol):
    """`meter.watches(host)`; see `Routing.watches`."""

    def __call__(self, host: str) -> bool: ...


class FindRoute(Protocol):
    """`meter.route(host, port, base, path, mark)`; see `Routing.route`."""

    def __call__(
        self,
        host: str,
        port: int | None,
        base: str,
        path: str,
        mark: ClientMark | None,
        *,
        query: str = "",
        any_host: bool,
    ) -> Route | None: ...
