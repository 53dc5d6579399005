"""Our own export comes back as it was: every column of every form of call, however often."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.ledger.test_copying import FORMS, many, written
from tests.rigs.ledger_rows import rows
from tests.rigs.made_records import record
from tests.rigs.wide_ledger import made_wide
from tokenmeter.calls.scope import ScopePath
from tokenmeter.cli import main
from tokenmeter.ledger.exporting import exported_calls
from tokenmeter.ledger.imports.fields import BadField
from tokenmeter.ledger.imports.own_rows import own_row

RUN = record(scope=ScopePath.of(("nightly", "answer"), "0d" * 16))
DUPLICATES = (
    record(response_id="chatcmpl-0123456789abcdef-x", id="0a" * 16),
    record(response_id="chatcmpl-0123456789abcdef-x", id="0b" * 16),
)


def there_and_back(source: Path, tmp_path: Path) -> Path:
    lines, target = tmp_path / "calls.jsonl", tmp_path / "back.db"
    assert main(["ledger", "export", str(source), "-o", str(lines)]) == 0
    for _ in range(2):
        assert main(["ledger", "import", str(lines), "--to", str(target)]) == 0
    return target


def test_every_form_of_call_comes_back_equal(tmp_path: Path) -> None:
    source = written(tmp_path / "spend.db", [*FORMS, RUN, *many(700), *DUPLICATES])
    back, before = rows(there_and_back(source, tmp_path)), rows(source)
    for row in (*back, *before):
        del row["seq"]  # of the order alone: a row that was written twice, unpriced first, leaves a gap
    assert back == before
    assert back[-1]["duplicate_of"] == "0a" * 16
    assert "0d" * 16 in [row["scope_run"] for row in back]


def test_a_ledger_of_the_first_schema_comes_back_equal(tmp_path: Path) -> None:
    made_wide(written(tmp_path / "spend.db", FORMS), tmp_path / "old.db")
    assert list(exported_calls(str(there_and_back(tmp_path / "old.db", tmp_path)))) == list(
        exported_calls(str(tmp_path / "old.db"))
    )


def one_call(tmp_path: Path) -> dict[str, Any]:
    return next(exported_calls(str(written(tmp_path / "spend.db", [record(tags={"team": "a"})]))))


@pytest.mark.parametrize(
    ("change", "field", "says"),
    [
        ({"id": None}, "id", "is missing"),
        ({"ended_us": "noon"}, "ended_us", "is no integer"),
        ({"input_tokens": 1.5}, "input_tokens", "is no integer"),
        ({"input_tokens": 2**70}, "input_tokens", "is no integer"),
        ({"duration": "1 s"}, "duration", "is no number of seconds"),
        ({"amount": "1e3"}, "amount", "plain notation"),
        ({"amount": 0.1}, "amount", "is no text"),
        ({"tags": {"team": 1}}, "tags", "is no object of texts"),
        ({"tags": []}, "tags", "is no object of texts"),
        ({"charges": "none"}, "charges", "is no object and no list"),
        ({"priced_at": "noon"}, "priced_at", "is no instant"),
        ({"prompt": "hello"}, "prompt", "is no column"),
    ],
)
def test_a_bad_column_is_named(tmp_path: Path, change: dict[str, Any], field: str, says: str) -> None:
    call = one_call(tmp_path)
    assert own_row(json.loads(json.dumps(call))).response_id is None
    with pytest.raises(BadField, match=says) as found:
        own_row(call | change)
    assert found.value.field == field


def test_a_line_that_is_no_object_is_refused() -> None:
    with pytest.raises(BadField, match="is no object"):
        own_row([])
