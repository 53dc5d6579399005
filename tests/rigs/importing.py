"""What imports are priced by in tests: the shipped book, no settings of a user."""

from __future__ import annotations

from tokenmeter.calls.billing import Billing
from tokenmeter.calls.routing import Routing
from tokenmeter.ledger.imports.pricing import Pricing


def pricing() -> Pricing:
    routing = Routing({})
    return Pricing(Billing(routing), routing.providers)
