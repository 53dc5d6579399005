"""What is improbable in a price file: told with its severity; the shipped book is sound."""

from __future__ import annotations

import tomllib
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from tokenmeter.prices.book import load_book
from tokenmeter.prices.price_file import PriceFile
from tokenmeter.prices.upkeep.audit import audit

HEAD = 'provider = "acme"\ncurrency = "CNY"\ntimezone = "Asia/Shanghai"\n'

RATE = '[[rate]]\nmodel = "m"\neffective = 2026-01-01\ninput = 1\noutput = 2\n'


def read(text: str) -> dict[str, Any]:
    return tomllib.loads(text, parse_float=Decimal)


@pytest.mark.parametrize(
    ("text", "severity", "kind"),
    [
        pytest.param(RATE + RATE, "problem", "overlap", id="two rates from one instant"),
        pytest.param(
            RATE + RATE.replace("2026-01-01", "2026-02-01").replace("input = 1", "input = 1000"),
            "problem",
            "unit",
            id="a thousand times dearer",
        ),
        pytest.param(
            RATE + RATE.replace("2026-01-01", "2026-02-01").replace("input = 1", "input = 0.05"),
            "notice",
            "jump",
            id="twenty times cheaper",
        ),
        pytest.param(RATE.replace("input = 1", "input = 20000"), "problem", "unit", id="dearer than any model"),
        pytest.param(RATE + "review_by = 2026-06-01\n", "notice", "review", id="to be read again"),
        pytest.param(
            RATE + "until = 2026-02-01\n" + RATE.replace("2026-01-01", "2026-03-01"),
            "notice",
            "gap",
            id="a month nobody knows",
        ),
        pytest.param(
            RATE + '[[rate.case]]\nwhen = { input_tokens = "> 10, <= 20" }\ninput = 2\n'
            '[[rate.case]]\nwhen = { input_tokens = "> 30" }\ninput = 3\n',
            "problem",
            "tier-gap",
            id="a gap between tiers",
        ),
        pytest.param(
            RATE + "cache_read = 2\n", "problem", "cache-read-above-input", id="reading is dearer than sending"
        ),
        pytest.param(RATE + '[[alias]]\nmodel = "a"\nof = "b"\n', "problem", "alias", id="an alias of nothing"),
    ],
)
def test_what_is_improbable_is_told(text: str, severity: str, kind: str) -> None:
    found = [(one.severity, one.kind) for one in audit(PriceFile(read(HEAD + text)), date(2026, 11, 21))]

    assert found == [(severity, kind)]


def test_the_shipped_book_is_sound() -> None:
    load_book().check()
