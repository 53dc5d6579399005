"""`Pricing`: what imported calls are priced by; and, for records of spans, the meter that they ask."""

from __future__ import annotations

from functools import cached_property
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from tokenmeter.calls.usual_call import UsualForm, record_of

if TYPE_CHECKING:
    from tokenmeter.calls.billing import Billing
    from tokenmeter.calls.opencall import ScopeNode
    from tokenmeter.calls.usual_call import Settled
    from tokenmeter.cost import Cost
    from tokenmeter.otel.spans import CallSpans
    from tokenmeter.providers.registry import Providers
    from tokenmeter.record import Record

__all__ = ["Pricing"]


class Pricing:
    """The prices and providers of one configuration. As a `Receiver` it gathers the records that spans make."""

    def __init__(self, billing: Billing, providers: Providers) -> None:
        self._billing = billing
        self.price = billing.price
        self.providers = providers
        self.settings: Any = SimpleNamespace(exchange=None)
        self.gathered: list[Record] = []

    @cached_property
    def spans(self) -> CallSpans:
        """Makes the attributes that a span gets, which an import does not use."""
        from tokenmeter.otel.spans import CallSpans

        return CallSpans(mode="none", dialects=())

    def latest(self) -> Pricing:
        """This one: nothing is put in its place while files are read."""
        return self

    def price_record(self, record: Record) -> Cost:
        """What a record costs."""
        return self.price(record)

    def form_of(self, record: Record) -> UsualForm:
        """What usual calls such as this one have in common."""
        return UsualForm(record, self._billing)

    def take(self, record: Settled, *, scope: ScopeNode | None = None) -> None:
        """Gather a record."""
        self.gathered.append(record_of(record))

    def keep(self, record: Record) -> None:
        """Gather the record of a call that another process metered."""
        self.gathered.append(record)
