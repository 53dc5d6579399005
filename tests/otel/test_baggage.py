"""Tags from baggage: by the allow-list alone, cut, and never in place of a tag of the program."""

from __future__ import annotations

import pytest
from opentelemetry import baggage, context

from tokenmeter import Tokenmeter, Usage
from tokenmeter.errors import ConfigurationError
from tokenmeter.testing import capture


def test_allowed_keys_are_tags() -> None:
    meter = Tokenmeter(baggage_tags=["tenant", "user", "missing"], spans="none")
    carried = context.get_current()
    for key, value in {"tenant": "acme" * 100_000, "user": "from baggage", "secret": "s"}.items():
        carried = baggage.set_baggage(key, value, carried)
    for number in range(10_000):
        carried = baggage.set_baggage(f"k{number}", "v", carried) if number < 200 else carried
    token = context.attach(carried)
    try:
        with capture(meter) as records, meter.tags(user="u1"), meter.call("deepseek", "deepseek-chat") as call:
            call.observe_usage(Usage(input_tokens=1, output_tokens=1))
    finally:
        context.detach(token)
    assert dict(records[0].tags) == {"tenant": ("acme" * 16), "user": "u1"}


@pytest.mark.parametrize("bad", ["tenant", [f"k{n}" for n in range(9)], ["k" * 65], [1]])
def test_bad_lists_are_named(bad: object) -> None:
    with pytest.raises(ConfigurationError, match="baggage_tags"):
        Tokenmeter(baggage_tags=bad)
