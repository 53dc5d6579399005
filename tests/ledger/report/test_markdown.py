"""A report as Markdown: no name of a user becomes markup."""

from __future__ import annotations

from collections.abc import Callable

from tests.rigs.asker import Asker
from tests.rigs.made_records import priced, record, unpriced
from tokenmeter.ledger.report.markdown import as_markdown


def test_the_table_and_its_notes(held: Callable[..., Asker]) -> None:
    asked = held(record(priced("1.5"), tags={"team": "a|b<script>"}), record(unpriced("no *rate*"), tags={"team": "x"}))
    period, _, *lines = as_markdown(asked("team")).splitlines()
    assert period.endswith(": times in UTC_")
    assert lines == [
        "| team | cost | currency | calls | input | output |",
        "| --- | ---: | --- | ---: | ---: | ---: |",
        r"| a\|b\<script\> | 1.5000 | CNY | 1 | 1,000 | 100 |",
        "| x | ? | unpriced | 1 | 1,000 | 100 |",
        "| total | 1.5000+ | CNY | 1 | 1,000 | 100 |",
        "| total | ? | unpriced | 1 | 1,000 | 100 |",
        "",
        "- + at least: some calls of the group have no known cost or tokens; ? not known",
        "- unpriced calls, by reason:",
        r"- 1: no \*rate\*",
    ]


def test_nothing_is_said_in_words(held: Callable[..., Asker]) -> None:
    assert "no call matches" in as_markdown(held(record())("model", models=("none",)))
