"""Four programs write through two spools into a database, which crashes three times: `python -m tests.real.fleet`.

A shipper of its own runs beside them and gets SIGKILL. In the end the database must hold what a plain ledger of the
same records holds: ids, sums per currency, and every report to the last digit. Then the plain ledger is shipped into an
empty database, which shows how many rows a second go in and what one costs the client.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

from tests.rigs.clickhouse_server import ClickHouseServer, clickhouse_server
from tests.rigs.fleet import ship, some_calls, wrong_days
from tests.rigs.postgres_server import PostgresServer, postgres_server
from tokenmeter.ledger.fleet import reports
from tokenmeter.ledger.fleet.shipping import Shipper
from tokenmeter.ledger.fleet.spooled import SpooledLedger
from tokenmeter.ledger.report.periods import Zone
from tokenmeter.ledger.report.query import Question, ask
from tokenmeter.ledger.writer import Ledger

__all__ = ["ENGINES", "Engine", "Fleet", "main", "run_fleet"]

PROGRAMS: Final = 4
SPOOLS: Final = 2
CRASHES: Final = 3
_PART: Final = 500
_QUESTIONS: Final = (
    "provider model", "team", "day team model", "month currency", "source status", "user", "hour", "scope end", "",
)  # fmt: skip


class Engine(NamedTuple):
    """A server of an engine, and its own SQL."""

    server: Callable[[], AbstractContextManager[PostgresServer | ClickHouseServer]]
    rows: str
    """How much of calls the database `fleet` has, asked in `home`; 0 where there is no table yet."""
    home: str
    ids: str
    sizes: str


ENGINES: Final = {
    "postgresql": Engine(
        postgres_server,
        "SELECT coalesce(sum(pg_relation_size(oid)), 0) FROM pg_class WHERE relname LIKE 'call_rows_2%' "
        "AND relkind = 'r'",
        "fleet",
        "SELECT id FROM tokenmeter.call_rows",
        "SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace "
        "WHERE n.nspname = 'tokenmeter' AND c.relkind = 'r'",
    ),
    "clickhouse": Engine(
        clickhouse_server,
        "SELECT sum(rows) FROM system.parts WHERE database = 'fleet' AND table = 'call_rows' AND active",
        "default",
        "SELECT id FROM calls",
        "SELECT sum(bytes_on_disk) FROM system.parts WHERE database = 'fleet' AND active",
    ),
}


class Fleet(NamedTuple):
    """What came of a run."""

    records: int
    missing: int
    """Calls of the plain ledger that the database lacks."""
    lost: int
    """Calls that a spool counted as lost: its queue was full while the file could not be written."""
    foreign: int
    """Calls of the database that are not in the plain ledger."""
    wrong_days: int
    different: tuple[str, ...]
    """The questions that the two answer differently."""
    crashes: int
    rows_a_second: float
    client_cpu_us: float
    bytes_a_row: float
    """Of the database, with its indexes."""
    report_seconds: float
    """Of a report by three keys from the roll-up."""

    @property
    def holds(self) -> bool:
        """Whether nothing is missing, doubled or different."""
        return not (self.missing or self.foreign or self.wrong_days or self.different)

    def lines(self) -> list[str]:
        """The figures for people."""
        return [
            f"{self.records:,} records, {self.crashes} crashes of the server: {self.missing} missing "
            f"({self.lost} counted as lost by a spool), {self.foreign} foreign, {self.wrong_days} wrong days, "
            f"different answers: {', '.join(self.different) or 'none'}",
            f"shipping: {self.rows_a_second:,.0f} rows/s, {self.client_cpu_us:.1f} µs client CPU a row, "
            f"{self.bytes_a_row:,.0f} bytes a row; report by three keys: {self.report_seconds:.2f} s",
        ]


def _write(ledger: Ledger, program: int, records: int) -> None:
    for first in range(0, records, _PART):
        for one in some_calls(min(_PART, records - first), first=first, name=f"program{program}", seconds=15):
            ledger.write(one)
    ledger.close(600)


def _spooled(url: str, spool: str, program: int, records: int) -> None:
    _write(SpooledLedger(url, spool), program, records)


def _plain(path: str, records: int) -> None:
    for program in range(PROGRAMS):
        _write(Ledger(path), program, records)


def run_fleet(
    records: int, folder: Path, server: PostgresServer | ClickHouseServer, engine: Engine, *, pause: float = 1.0
) -> Fleet:
    """Run all of it, with `records` in all; the server is away for `pause` seconds at each crash."""
    url, each = server.database("fleet"), records // PROGRAMS
    spools = [str(folder / f"spool{number}.db") for number in range(SPOOLS)]
    plain = str(folder / "plain.db")
    spawn = multiprocessing.get_context("spawn")
    programs = [
        spawn.Process(target=_spooled, args=(url, spools[number % SPOOLS], number, each)) for number in range(PROGRAMS)
    ]
    for program in programs:
        program.start()
    crashes = _crash(server, engine, url, spools[0], programs, pause)
    for program in programs:
        program.join()
    for spool in spools:
        ship(Path(spool), url)
    alone = spawn.Process(target=_plain, args=(plain, each))
    alone.start()
    alone.join()
    return _compare(plain, url, server, engine, crashes, records)


def _crash(
    server: PostgresServer | ClickHouseServer, engine: Engine, url: str, spool: str,
    programs: list[multiprocessing.process.BaseProcess], pause: float,
) -> int:  # fmt: skip
    """Crash the server while the programs write, and kill a shipper; how many crashes there were."""
    shipper, crashes = None, 0
    home = url.rpartition("/")[0] + f"/{engine.home}"
    while any(program.is_alive() for program in programs) and crashes < CRASHES:
        if not server.execute(engine.rows, home)[0][0]:
            time.sleep(0.1)
            continue
        if shipper is None:
            words = ["-m", "tokenmeter", "ledger", "ship", spool, url, "--follow"]
            shipper = subprocess.Popen([sys.executable, *words], stderr=subprocess.DEVNULL)
        time.sleep(pause)
        server.stop()
        crashes += 1
        if crashes == CRASHES - 1:
            shipper.kill()
        time.sleep(pause)
        server.start()
    if shipper is not None:
        shipper.kill()
        shipper.wait()
    return crashes


def _compare(
    plain: str, url: str, server: PostgresServer | ClickHouseServer, engine: Engine, crashes: int, records: int
) -> Fleet:
    with closing(sqlite3.connect(plain)) as connection:
        here = {name for (name,) in connection.execute("SELECT id FROM calls")}
    there = [name for (name,) in server.execute(engine.ids, url)]
    zone, different = Zone.named("UTC"), []
    for by in _QUESTIONS:
        question = Question(by=tuple(by.split()), zone=zone)
        file, fleet = ask(plain, question), reports.ask(url, question)
        if (file.rows, file.totals, file.reasons, file.held) != (fleet.rows, fleet.totals, fleet.reasons, fleet.held):
            different.append(by or "all")
    began = time.perf_counter()
    lost = reports.ask(url, Question(by=("day", "team", "model"), zone=zone)).lost
    asked = time.perf_counter() - began
    shipper = Shipper(plain, server.database("alone"))
    shipper.step()
    wall, cpu = time.perf_counter(), time.process_time()
    before = shipper.done.read
    shipper.ship()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    shipped = max(1, shipper.done.read - before)
    shipper.close()
    stored = server.execute(engine.sizes, url)[0][0]
    return Fleet(
        records, len(here - {*there}), lost, len(there) - len(here & {*there}), wrong_days(url), tuple(different),
        crashes, shipped / wall, cpu / shipped * 1e6, int(stored) / max(1, len(there)), asked,
    )  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """Run it, and print what came of it; exit status 1 where something was lost or is different."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--engine", choices=ENGINES, default="postgresql")
    args = parser.parse_args(argv)
    engine = ENGINES[args.engine]
    with TemporaryDirectory(prefix="tokenmeter-fleet-") as folder, engine.server() as server:
        found = run_fleet(args.records, Path(folder), server, engine)
    print("\n".join(found.lines()))
    return 0 if found.holds and found.crashes == CRASHES else 1


if __name__ == "__main__":
    sys.exit(main())
