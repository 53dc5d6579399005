"""`tokenmeter prices export`: the forms of the table and its flags."""

from __future__ import annotations

from pathlib import Path

import pytest

from tokenmeter.cli import main


def test_csv_is_exact_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prices", "export", "--provider", "openai", "--model", "gpt-4o"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.startswith("provider,model,valid_from,valid_until,input_tokens_from")
    assert lines
    assert all(line.startswith("openai,gpt-4o,20") and "E-" not in line for line in lines)
    assert any(",0.0000025," in line for line in lines)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--param", "batch"], "is not KEY=VALUE"),
        (["--param", "bach=true"], "did you mean batch"),
        (["--until", "soon"], "'soon' is not a time"),
        (["--output", "/nowhere/at/all.csv"], "No such file"),
    ],
)
def test_flags_without_meaning_are_refused(flags: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prices", "export", "--provider", "openai", *flags]) == 2
    assert message in capsys.readouterr().err


def test_parquet_has_exact_decimals_and_instants(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "rates.parquet"
    assert main(["prices", "export", "--provider", "openai", "--model", "gpt-4o", "--output", str(path)]) == 0
    table = pa.read_table(path)
    assert str(table.schema.field("input_each").type) == "decimal128(28, 18)"
    assert str(table.schema.field("valid_from").type) == "timestamp[us, tz=UTC]"
    assert table.num_rows > 1
