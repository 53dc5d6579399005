"""How fast a ledger file is shipped into ClickHouse and asked there, over the engine of chdb: `make clickhouse-speed`.

Prints rows a second, the client's CPU a row, bytes a row in the database, and how long reports by three keys take from
the sums by day and from the rows; each report is compared with that of the file.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.rigs.clickhouse_server import clickhouse_server
from tests.rigs.fleet import some_calls
from tokenmeter.ledger.file import LedgerFile
from tokenmeter.ledger.fleet import reports
from tokenmeter.ledger.fleet.shipping import Shipper
from tokenmeter.ledger.report.periods import Zone
from tokenmeter.ledger.report.query import Question, ask
from tokenmeter.ledger.rows import row


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=100_000)
    records = parser.parse_args().records
    with tempfile.TemporaryDirectory() as name, clickhouse_server() as server:
        path, url = str(Path(name) / "spend.db"), server.url_of("speed")
        file = LedgerFile(path)
        for first in range(0, records, 5_000):
            file.write([row(one) for one in some_calls(5_000, first=first, seconds=60)])
        file.let_go()
        shipper = Shipper(path, url)
        began, cpu = time.monotonic(), time.process_time()
        while shipper.step():
            pass
        wall, used = time.monotonic() - began, time.process_time() - cpu
        shipper.close()
        held = shipper.done.read
        print(f"{held:,} rows: {held / wall:,.0f} rows/s, {used / held * 1e6:.1f} µs client CPU a row")
        size = "SELECT sum(bytes_on_disk) FROM system.parts WHERE database = 'speed' AND active AND table = 'call_rows'"
        print(f"{server.execute(size, 'speed')[0][0] / held:.0f} bytes a row")
        zone = Zone.named(shipper.file.zone)
        for by in (("day", "team", "model"), ("hour", "team", "model")):
            question = Question(by=by, zone=zone)
            began = time.monotonic()
            fleet = reports.ask(url, question)
            took = time.monotonic() - began
            equal = fleet.rows == ask(path, question).rows
            print(f"report by {', '.join(by)} from {fleet.source}: {took:.2f} s, {'equal' if equal else 'NOT EQUAL'}")
            if not equal:
                return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
