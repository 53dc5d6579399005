"""CPU of repricing and comparing the calls of a ledger: python benchmarks/valuation.py spend.db

Works on a copy. Prints microseconds of CPU for each call: `reprice` at the calls' own instants and at one, `compare`
with one model and with three. The same calls through the book, one by one, stand beside them, on a sample.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from tokenmeter.ledger.schema import open_for_reading
from tokenmeter.ledger.valuation.stored_calls import stored_rows
from tokenmeter.ledger.valuation.valuation import value_ledger
from tokenmeter.ledger.valuation.what_if import compare_models
from tokenmeter.prices.book import load_book

ONE = [("openai", "gpt-4o")]
THREE = [*ONE, ("alibaba", "qwen-plus"), ("anthropic", "claude-opus-4-5")]
SAMPLE = 20_000


def timed(name: str, calls: int, work: Callable[[], object]) -> None:
    """Print what a call costs."""
    began = time.process_time()
    work()
    print(f"{name:32} {(time.process_time() - began) / calls * 1e6:6.1f} us of CPU a call")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ledger")
    given = parser.parse_args().ledger
    book = load_book()
    with TemporaryDirectory() as folder:
        ledger = str(Path(folder, "spend.db"))
        shutil.copy(given, ledger)
        with closing(open_for_reading(ledger)) as connection:
            calls = connection.execute("SELECT count(*) FROM calls").fetchone()[0]
            sample = [row for page in stored_rows(connection) for row in page][:SAMPLE]
        print(f"{calls} calls")
        compare_models(ledger, book, THREE, until_us=0)  # opens the price files
        june = datetime(2026, 6, 1, tzinfo=UTC)
        timed("reprice, own instants", calls, lambda: value_ledger(ledger, book, at=None, name="own"))
        timed("reprice, one instant", calls, lambda: value_ledger(ledger, book, at=june, name="june"))
        timed("compare, one model", calls, lambda: compare_models(ledger, book, ONE))
        timed("compare, three models", calls, lambda: compare_models(ledger, book, THREE))
        timed("priced by the book, one by one", len(sample), lambda: [row.call().price(book, None) for row in sample])


if __name__ == "__main__":
    main()
