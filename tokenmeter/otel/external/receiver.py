"""`Receiver`: what the readers of other instrumentations' spans ask of the meter that takes the calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from tokenmeter.calls.opencall import ScopeNode
    from tokenmeter.calls.usual_call import Settled, UsualForm
    from tokenmeter.cost import Cost
    from tokenmeter.otel.spans import CallSpans
    from tokenmeter.providers.registry import Providers
    from tokenmeter.record import Record

__all__ = ["Receiver"]


class Receiver(Protocol):
    """A `tokenmeter.Tokenmeter`, which stands on a higher floor."""

    @property
    def providers(self) -> Providers:
        """Who serves and bills."""

    @property
    def spans(self) -> CallSpans:
        """Makes the cost attributes of a span."""

    @property
    def settings(self) -> Any:
        """The meter's `Settings`."""

    def latest(self) -> Receiver:
        """This meter, or the one that `configure` put in its place."""

    def price_record(self, record: Record) -> Cost:
        """What a record costs."""

    def form_of(self, record: Record) -> UsualForm:
        """What usual calls such as this one have in common."""

    def take(self, record: Settled, *, scope: ScopeNode | None = None) -> None:
        """Hand a record to the scope and to the sinks."""
