"""The tests mirror the package: a module with logic has its `test_<module>.py` in the folder of the same name."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PACKAGE = TESTS.parent / "tokenmeter"
LOGIC = 60
"""Lines of functions from which on a module has a file of tests."""
ELSEWHERE = {
    # The steps of the SQLite budget store, which the model of all stores shows.
    "budgets/sqlite_steps": "budgets/test_stores",
    # Seen only through the calls of a real SDK or HTTP library.
    "calls/kept_stream": "calls/test_stream_response",
    "calls/marks": "clients/test_adapters",
    "calls/opencall": "calls/test_lifecycle",
    "calls/recipients": "calls/test_take",
    "calls/response": "traps/test_ends",
    "clients/support/generators": "clients/test_dashscope",
    "clients/support/hide_usage": "traps/test_usage_places",
    "clients/support/hooks": "clients/test_adapters",
    "clients/transport/attempts": "traps/test_clients",
    "clients/transport/botocore": "clients/test_boto3",
    "clients/transport/tee": "traps/test_ends",
    # Parts of a public class, seen through it.
    "asked_prices": "test_estimates",
    "offers": "test_cost",
    # Parts of a command, seen through it.
    "cli/doctor_text": "cli/test_doctor",
    "cli/prices_upkeep": "cli/test_prices",
    "cli/probe": "cli/test_calibration",
    "cli/top_frame": "cli/test_top",
    "collector/options": "cli/test_collector",
    "collector/process": "cli/test_collector",
    "collector/telemetry": "collector/test_real_senders",
    # Parts of one answer, which only the whole shows.
    "ledger/focus/row": "ledger/focus/test_charges",
    "ledger/page/figures": "ledger/page/test_document",
    "ledger/page/model_sections": "ledger/page/test_document",
    "ledger/page/over_time": "ledger/page/test_document",
    "ledger/page/sections": "ledger/page/test_document",
    "ledger/fleet/clickhouse/contents": "ledger/fleet/test_shipping",
    "ledger/fleet/clickhouse/dialect": "ledger/fleet/test_reports",
    "ledger/fleet/clickhouse/snapshot": "ledger/fleet/test_reports",
    "ledger/fleet/engine": "ledger/fleet/test_shipping",
    "ledger/fleet/postgresql/dialect": "ledger/fleet/test_reports",
    "ledger/fleet/postgresql/keys": "ledger/fleet/test_shipping",
    "ledger/fleet/postgresql/store": "ledger/fleet/test_shipping",
    "ledger/fleet/source_file": "ledger/fleet/test_shipping",
    "ledger/report/answer": "ledger/report/test_query",
    "ledger/report/notes": "ledger/report/test_screen",
    "ledger/report/selection": "ledger/report/test_query",
    "ledger/bills/book_prices": "ledger/bills/test_reconcile",
    "ledger/bills/call_causes": "ledger/bills/test_reconcile",
    "ledger/bills/causes": "ledger/bills/test_reconcile",
    "ledger/bills/metered": "ledger/bills/test_reconcile",
    "ledger/bills/residue": "ledger/bills/test_reconcile",
    "ledger/bills/volumes": "ledger/bills/test_reconcile",
    "ledger/valuation/call_pricing": "ledger/valuation/test_what_if",
    "ledger/valuation/stored_calls": "cli/test_reprice",
    "ledger/valuation/vector_compare": "ledger/valuation/test_fast_compare",
    "otel/attributes": "otel/test_spans",
    "otel/call_span": "otel/test_spans",
    "otel/external/batches": "collector/test_price_spans",
    "otel/external/records": "otel/external/test_processor",
    "prices/conditions": "prices/test_charges",
    "prices/price_file": "prices/upkeep/test_check",
    "prices/upkeep/price_history": "cli/test_prices",
    "tokens/build/readers": "tokens/build/test_main",
    "tokens/custom_template": "tokens/test_custom",
    "tokens/requests/itemize": "tokens/requests/test_count",
    "tokens/requests/items": "tokens/requests/test_count",
    "tokens/requests/render": "tokens/requests/test_count",
    "tokens/requests/typescript": "tokens/requests/test_tools",
    "wire/extracted": "wire/test_growing_usage",
    "wire/stream_ends": "calls/test_stream_response",
    "wire/totals": "wire/test_falsified_answers",
    "wire/usage_fields": "wire/test_usage_reader",
    "wire/usage_values": "wire/test_extract",
    # Parts of the provider server, seen by the SDKs that talk to it.
    "testing/ask": "testing/test_server",
    "testing/listener": "testing/test_server",
    "testing/reply": "testing/test_server",
    "testing/wire/anthropic_messages": "testing/test_dialects",
    "testing/wire/openai_chat": "testing/test_dialects",
    "testing/wire/openai_responses": "testing/test_dialects",
}
"""Modules whose behaviour another file of tests shows, and which."""


def functions(nodes: Iterable[ast.stmt]) -> Iterable[ast.stmt]:
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node
        elif isinstance(node, ast.ClassDef):
            yield from functions(node.body)


def lines_of_logic(path: Path) -> int:
    tree = ast.parse(path.read_text("utf-8"))
    return sum((one.end_lineno or 0) - one.lineno + 1 for one in functions(tree.body))


def name_of(path: Path) -> str:
    """A module without the underscore of a private one: `cli/prices_upkeep`."""
    place = path.relative_to(PACKAGE)
    return (place.parent / place.stem.lstrip("_")).as_posix()


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py")) if path.stem not in ("__init__", "__main__")}


def file_of(module: str) -> Path:
    place = Path(module)
    return TESTS / place.parent / f"test_{place.name}.py"


@pytest.mark.parametrize("module", [name for name, path in MODULES.items() if lines_of_logic(path) > LOGIC])
def test_a_module_with_logic_has_its_tests_in_the_mirrored_place(module: str) -> None:
    if module not in ELSEWHERE:
        assert file_of(module).exists(), f"write {file_of(module).relative_to(TESTS.parent)}"


def test_what_is_tested_elsewhere_is_there_and_not_here_too() -> None:
    assert sorted(ELSEWHERE.keys() - MODULES.keys()) == [], "modules that are gone"
    assert sorted(name for name in ELSEWHERE if file_of(name).exists()) == [], "they have files of their own by now"
    assert sorted(place for place in ELSEWHERE.values() if not (TESTS / f"{place}.py").exists()) == []
