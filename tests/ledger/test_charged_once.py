"""Which of two calls that recorded a response is charged, and what is left of the other one."""

from __future__ import annotations

import pytest

from tests.rigs.made_records import priced, record
from tokenmeter.ledger.charged_once import UNCHARGED, RecordingCall, delegated, delegated_dims, recorded_by, recorder_of
from tokenmeter.ledger.rows import row
from tokenmeter.ledger.tables import DIMS, ROW

FIRST, SECOND = RecordingCall("first", 10, 20), RecordingCall("second", 100, 120)


@pytest.mark.parametrize(
    ("call", "by"),
    [
        pytest.param(RecordingCall("a", 12, 18), "first", id="within"),
        pytest.param(RecordingCall("a", 0, 30), "first", id="around"),
        pytest.param(RecordingCall("a", 0, 10), "first", id="meets its start"),
        pytest.param(RecordingCall("a", 20, 40), "first", id="meets its end"),
        pytest.param(RecordingCall("a", 21, 40), None, id="after it"),
        pytest.param(RecordingCall("a", 0, 9), None, id="before it"),
        pytest.param(RecordingCall("a", 110, 111), "second", id="asked for again"),
        pytest.param(RecordingCall("first", 10, 20), None, id="itself"),
        pytest.param(RecordingCall("second", 100, 120), None, id="itself, the second"),
    ],
)
def test_the_first_that_overlaps_is_charged(call: RecordingCall, by: str | None) -> None:
    assert recorded_by(call, [FIRST, SECOND]) == by


def test_the_other_one_keeps_its_names_alone() -> None:
    stored = row(record(priced("1"), response_id="x" * 30))
    rest = delegated(stored)
    known = dict(zip(DIMS, rest.dims, strict=True))
    assert (known["end_state"], known["status"], known["currency"], known["known"]) == (
        "delegated",
        "unpriced",
        None,
        0,
    )
    assert known["provider"] == "deepseek"
    assert rest.dims == delegated_dims(stored.dims)
    assert {*rest.tokens, *rest.amount, *rest.vendor, *rest.charges, rest.priced_us, rest.list_amount} == {None}
    assert rest.response_id == stored.response_id
    assert recorder_of(rest) == recorder_of(stored)
    assert {*UNCHARGED} < {*ROW}
