"""A few rounds of the crash test: what is written with `sync` survives a kill, and nothing is there twice."""

from __future__ import annotations

import os

import pytest

from tests.real.ledger_crash import crash_rounds


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_what_was_acknowledged_is_there_once() -> None:
    crashes = crash_rounds(3, seed=7)
    assert crashes.acknowledged["sync"] > 10
    assert crashes.acknowledged["queued"] > 10
    assert crashes.lost["sync"] == []
    assert (crashes.doubled, crashes.unknown, crashes.wrong.total()) == (0, 0, 0)
