"""`Route`: where calls of one kind go, and everything about them that is the same for all calls to an address."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from tokenmeter.wire.later import LaterForm

__all__ = ["ClientMark", "Route"]


class Route:
    """Where calls of one kind go: everything about them that does not change from call to call."""

    __slots__ = (
        *("api", "asks", "asks_null", "batch", "host", "later", "model", "operation"),
        *("otel_provider", "path", "port", "provider", "region"),
    )

    def __init__(
        self,
        *,
        provider: str | None,
        otel_provider: str | None,
        api: str | None,
        operation: str,
        host: str | None = None,
        port: int | None = None,
        path: str | None = None,
        region: str | None = None,
        asks: bool = False,
        asks_null: bool = False,
        model: str | None = None,
        later: tuple[LaterForm, ...] = (),
        batch: bool = False,
    ) -> None:
        self.provider = provider
        self.otel_provider = otel_provider
        self.api = api
        self.operation = operation
        self.host = host
        self.port = port
        self.path = path
        self.region = region
        self.asks = asks
        """Whether stream usage is reported only if requested, and the provider accepts that request."""
        self.asks_null = asks_null
        """Whether requesting it puts a null usage into every other chunk."""
        self.model = model
        """The model that the path names, for requests whose body names none."""
        self.later = later
        """The forms in which an answer may say that it comes later."""
        self.batch = batch
        """Whether the path says that its calls are billed at the batch price."""


class ClientMark(Protocol):
    """What routing asks of the mark on a client: who bills, where the user said so."""

    @property
    def provider(self) -> str | None:
        """The provider's id."""

    @property
    def region(self) -> str | None:
        """The region that the client calls."""
