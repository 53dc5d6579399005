"""The same forty calls in Phoenix, MLflow, VictoriaMetrics and Prometheus, and a table of what each shows.

    python tools/backends [--only BACKEND ...] [--pages FOLDER] [--no-tests]

Real servers on free ports of 127.0.0.1 (servers.py), a program with real SDKs (app.py, calls.py), each backend read
by its own API (readers.py). Every figure is ours, or a rule says why it cannot be (rules.py); anything else fails.
The program runs three times: as it is; to Phoenix after `tokenmeter phoenix sync`; and with an exchange rate of the
user's, after a sync with the same. Then the pages are opened in a browser (pages.py) and the tests of the sync run.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parent))

import pages
import readers
import servers
from calls import CALLS
from table import Check, Column, headers, reasons, rows, stale, totals

from tokenmeter._support.text_tables import table as laid_out
from tokenmeter.cli.phoenix.client import ModelRow, PhoenixTable, TokenPrice

RATE: Final = "0.1400"
HERE: Final = Path(__file__).resolve().parent
BACKENDS: Final = ("Phoenix", "MLflow", "VictoriaMetrics", "Prometheus")
VENDORS: Final = tuple(dict.fromkeys(call.vendor for call in CALLS))


@contextlib.contextmanager
def app(folder: Path, name: str, *flags: str, **environ: str) -> Iterator[dict[str, Mapping[str, Any]]]:
    """The program, from when its calls are done until nobody asks it any more: what it recorded, by call."""
    records, log = folder / f"{name}.jsonl", folder / f"{name}.log"
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "TOKENMETER_"))}
    local = {"NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, str(HERE / "app.py"), str(records), *flags],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env=kept | local | environ,
        )  # fmt: skip
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        if process.stdout.readline() != b"done\n":
            raise SystemExit(f"the program ended early:\n{log.read_text()[-2000:]}")
        lines = [json.loads(line) for line in records.read_text().splitlines()]
        yield {line["call"]: line for line in lines}
    finally:
        process.stdin.close()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        complaints = [line for line in log.read_text(errors="replace").splitlines() if "Failed to" in line]
        if complaints:
            print(f"the program complains: {complaints[0]}", flush=True)


def sync(origin: str, *flags: str) -> dict[str, Any]:
    """`tokenmeter phoenix sync` as a user types it; a second one must change nothing."""
    command = [sys.executable, "-m", "tokenmeter", "phoenix", "sync", "--endpoint", origin, "--json", *flags]
    command += [word for vendor in VENDORS for word in ("--provider", vendor)]
    answers: list[dict[str, Any]] = []
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"tokenmeter phoenix sync: {done.stdout}{done.stderr}")
        answers.append(json.loads(done.stdout))
    first, again = answers
    said = ", ".join(f"{len(first[what])} {what}" for what in ("created", "updated", "deleted", "left_out"))
    print(f"tokenmeter phoenix sync {' '.join(flags)}: {said.replace('_', ' ')}", flush=True)
    if again["created"] or again["updated"] or again["deleted"]:
        raise SystemExit("tokenmeter phoenix sync: a second one changed the table")
    return first


def wait_for_prices(phoenix: servers.Server, folder: Path) -> None:
    """Until Phoenix prices by what was written: a row of our own, written last, is seen to work."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor

    name = f"probe-{time.time_ns()}"
    prices = frozenset({TokenPrice("input", True, 1.0), TokenPrice("output", False, 1.0)})
    table = PhoenixTable(phoenix.origin)
    table.create([ModelRow(name, "", f"^{name}$", None, prices)])
    provider = TracerProvider(resource=Resource.create({"openinference.project.name": name}), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(f"{phoenix.origin}/v1/traces")))
    said = {"gen_ai.operation.name": "chat", "gen_ai.request.model": name, "gen_ai.usage.input_tokens": 1}

    def ask() -> float:
        provider.get_tracer("probe").start_span("probe", attributes={**said, "gen_ai.usage.output_tokens": 1}).end()
        time.sleep(1)
        project = readers.phoenix_project(phoenix, name)
        if project is None:
            return 0.0
        query = "query ($id: ID!) { node(id: $id) { ... on Project { costSummary { total { cost } } } } }"
        return readers.graphql(phoenix, query, id=project)["node"]["costSummary"]["total"]["cost"] or 0.0

    readers.until(ask, bool)
    provider.shutdown()
    table.delete([row for row in table.rows() if row.name == name])


class Run:
    """The backends that are there, and the columns read from them."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack, only: Sequence[str]) -> None:
        self.folder = folder
        self.scraped = servers.free_port()
        self.there: dict[str, servers.Server] = {}
        self.absent: dict[str, str] = {}
        self.columns: list[Column] = []
        makers: dict[str, Callable[[], contextlib.AbstractContextManager[servers.Server]]] = {
            "Phoenix": lambda: servers.phoenix(folder),
            "MLflow": lambda: servers.mlflow(folder),
            "VictoriaMetrics": lambda: servers.victoriametrics(folder),
            "Prometheus": lambda: servers.prometheus(folder, f"127.0.0.1:{self.scraped}"),
        }
        for name, make in makers.items():
            if name not in only:
                continue
            try:
                server = self.there[name] = stack.enter_context(make())
                print(f"{name} {server.version} at {server.origin}", flush=True)
            except servers.NotHere as reason:
                self.absent[name] = str(reason)
                print(f"{name}: not run: {reason}", flush=True)

    def flags(self, *wanted: str, project: str, experiment: str = "0") -> list[str]:
        """Where the program sends what, of the backends that are wanted and there."""
        flags = ["--project", project]
        for name in wanted:
            if name in self.there:
                origin = self.there[name].origin
                flags += {
                    "Phoenix": ["--phoenix", origin],
                    "MLflow": ["--mlflow", origin, "--experiment", experiment],
                    "VictoriaMetrics": ["--otlp-metrics", f"{origin}/opentelemetry/v1/metrics"],
                    "Prometheus": ["--scrape", str(self.scraped)],
                }[name]
        return flags

    def first(self, look: Callable[[], None]) -> None:
        """The calls as they are, in all four at once; `look` is called while the program is up."""
        everywhere = self.flags("Phoenix", "MLflow", "VictoriaMetrics", "Prometheus", project="first")
        with app(self.folder, "first", *everywhere, TOKENMETER_DIALECTS="openinference,mlflow") as records:
            spans = {record["span_id"] for record in records.values()}
            if "Phoenix" in self.there:
                read = readers.phoenix(self.there["Phoenix"], "first", spans)
                self.columns.append(Column("Phoenix", read, records))
            if "MLflow" in self.there:
                self.columns.append(Column("MLflow", readers.mlflow(self.there["MLflow"], "0", spans), records))
            for name in ("VictoriaMetrics", "Prometheus"):
                if name in self.there:
                    read = readers.metrics(self.there[name], records)
                    self.columns.append(Column(name, read, records, key="call"))
            look()

    def again(self, name: str, flags: list[str], rate: str | None) -> None:
        """The calls once more, after Phoenix got our prices; `rate` is a user's own."""
        exchange = {} if rate is None else {"TOKENMETER_EXCHANGE": f"CNY={rate}USD@{_day()}"}
        dialects = {"TOKENMETER_DIALECTS": "openinference,mlflow"}
        phoenix = self.there.get("Phoenix")
        mlflow = self.there.get("MLflow") if rate is not None else None
        if phoenix is None and mlflow is None:
            return
        left_out = {}
        if phoenix is not None:
            answer = sync(phoenix.origin, *flags)
            left_out = {(left["provider"], left["model"]): left["why"] for left in answer["left_out"]}
            wait_for_prices(phoenix, self.folder)
        experiment = "0"
        if mlflow is not None:
            experiment = readers.mlflow_experiment(mlflow, name)
        where = self.flags("Phoenix", *(["MLflow"] if mlflow else []), project=name, experiment=experiment)
        with app(self.folder, name, *where, **dialects, **exchange) as records:
            spans = {record["span_id"] for record in records.values()}
            made = {"rate": None if rate is None else float(rate)}
            if phoenix is not None:
                first = next(column for column in self.columns if column.name == "Phoenix")
                read = readers.phoenix(phoenix, name, spans)
                column = Column(f"Phoenix {name}", read, records, first=first, left_out=left_out, **made)
                self.columns.append(column)
            if mlflow is not None:
                first = next(column for column in self.columns if column.name == "MLflow")
                read = readers.mlflow(mlflow, experiment, spans)
                self.columns.append(Column(f"MLflow {name}", read, records, first=first, **made))

    def ordered(self) -> list[Column]:
        """Backend by backend."""
        return sorted(self.columns, key=lambda column: BACKENDS.index(column.name.split()[0]))


def _day() -> str:
    return f"{datetime.datetime.now(datetime.UTC).date() - datetime.timedelta(days=7)}"


def report(run: Run) -> bool:
    """Print the table; whether every figure is ours or explained."""
    columns, check = run.ordered(), Check()
    if not columns:
        print("\n".join(f"{name}: not run: {reason}" for name, reason in run.absent.items()))
        return False
    body = rows(check, columns, [(call.name, call.kinds) for call in CALLS])
    head = headers(columns)
    print(f"\n= is our own figure; none is nothing shown; a letter is the reason below. CNY at {RATE} where rated.\n")
    print(laid_out(head, body, right=head[1:]))
    print("\nwhat each backend sums up by itself:")
    print("\n".join(totals(check, columns)))
    print("\nwhy a figure is not ours:")
    print("\n".join(reasons(check)))
    for column in columns:
        for why in sorted(set(column.left_out.values())) if column.name == "Phoenix synced" else ():
            models = sorted({
                record["model"] for record in column.records.values()
                if column.left_out.get((record["provider"], record["model"])) == why
            })  # fmt: skip
            if models:
                print(f"     left out of the sync: {', '.join(models)}: {why}")
    for name, reason in run.absent.items():
        print(f"  {name}: not run: {reason}")
    print(f"\n{check.equal} figures are ours, {check.explained} explained, {len(check.unexplained)} not")
    print("\n".join(f"  !! {line}" for line in check.unexplained))
    outlived = stale(check, [column.name for column in columns])
    print("\n".join(f"  !! a rule that explains nothing: {rule.why}" for rule in outlived))
    return not check.unexplained and not outlived


def main() -> int:
    """Run it all; 0 if every figure is ours or explained, every page shows spend and the tests pass."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=Path, metavar="FOLDER", help="write pictures of the pages here")
    parser.add_argument("--no-tests", action="store_true", help="leave out the tests of the sync")
    parser.add_argument("--only", nargs="+", choices=BACKENDS, default=BACKENDS, metavar="BACKEND", help="run these")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers end with us
    with tempfile.TemporaryDirectory(prefix="backends-") as made, contextlib.ExitStack() as stack:
        folder = Path(made)
        run = Run(folder, stack, args.only)
        pictures = args.pages or folder / "pages"
        opened: list[bool] = []
        run.first(lambda: opened.append(pages.of_metrics(run.there, pictures, folder)))
        run.again("synced", [], None)
        run.again("rated", ["--rates", f"CNY={RATE}@{_day()}"], RATE)
        good = report(run)
        opened.append(pages.of_traces(run.there, pictures, folder, project="rated", experiment="rated"))
        good = good and all(opened)
        if "Phoenix" in run.there and not args.no_tests:
            environ = os.environ | {"BACKENDS_PHOENIX": run.there["Phoenix"].origin}
            tests = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "tests/backends"]
            print(f"\n{' '.join(tests[1:])}", flush=True)
            good = subprocess.run(tests, cwd=servers.ROOT, env=environ, check=False).returncode == 0 and good
    print("\nevery figure is ours or explained" if good else "\nNOT as it should be: see above")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
