"""`tokenmeter doctor`: report what is wrong, with remedies, and what is installed, hooked and configured.

Each part checks the real thing: it imports SDKs and installs their hooks, loads the price book, opens and checks the
ledger. A check that fails becomes a problem with its remedy and does not end the command. Exit status: 0 without
problems, 1 with problems.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

from tokenmeter.cli import COMMANDS, _doctor_text, _terminal
from tokenmeter.cli._output import print_json
from tokenmeter.errors import TokenmeterError

if TYPE_CHECKING:
    import argparse

_OTEL: Final = ("opentelemetry-api", "opentelemetry-sdk", "opentelemetry-distro", "opentelemetry-exporter-otlp")
_ENDPOINTS: Final = tuple(f"OTEL_EXPORTER_OTLP_{kind}ENDPOINT" for kind in ("", "TRACES_", "METRICS_", "LOGS_"))

_REASONS_MOST: Final = 5
_PASSWORD: Final = re.compile(r"(://[^/@:\s]*:)[^/@\s]*@")
_NAMESAKE: Final = "tokenmeter"
"""Another project's distribution on PyPI, whose package bears the name of ours."""

Finding = tuple[dict[str, Any], list[str]]
"""The facts that one check found, and its problems."""


def add_parser(subparsers: Any) -> None:
    """Describe the command."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "doctor", help=COMMANDS["doctor"], description="What is installed, hooked, configured and out of date."
    )
    parser.add_argument("--ledger", metavar="FILE", help="the ledger to check (default: $TOKENMETER_LEDGER)")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--verbose", action="store_true", help="every fact: hooks, variables, what is not watched")
    form.add_argument("--json", action="store_true", help="every fact, as JSON")


def run(args: argparse.Namespace) -> int:
    """Run every check and print the result; returns 1 if there are problems."""
    answer = examine(args.ledger or os.environ.get("TOKENMETER_LEDGER"))
    if args.json:
        print_json(answer)
    else:
        text = _doctor_text.as_text(answer, verbose=args.verbose, columns=_terminal.columns())
        _terminal.show(text, _doctor_text.STYLES)
    return 1 if answer["problems"] else 0


def examine(ledger: str | None = None) -> dict[str, Any]:
    """Results of every check, as JSON values; `problems` is a list of sentences with remedies."""
    parts: dict[str, Callable[[], Finding]] = {
        "tokenmeter": _ourselves,
        "settings": _settings,
        "sdks": _sdks,
        "unwatched": _unwatched,
        "opentelemetry": _opentelemetry,
        "prices": _prices,
        "families": _families,
        "ledger": lambda: _ledger(ledger),
    }
    answer: dict[str, Any] = {}
    problems: list[str] = []
    for name, look in parts.items():
        try:
            answer[name], found = look()
        except (TokenmeterError, ImportError, OSError) as error:
            answer[name], found = {}, [f"{name}: {error}"]
        problems += found
    return {**answer, "problems": problems}


def _version(distribution: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _ourselves() -> Finding:
    import tokenmeter

    python = f"{platform.python_implementation()} {platform.python_version()}"
    found = {"version": _version("tokenmeter-sdk"), "python": python, "executable": sys.executable}
    other = _version(_NAMESAKE)
    if other is None and hasattr(tokenmeter, "instrument"):
        return found, []
    return found, [
        f"the distribution {_NAMESAKE!r}{f' {other}' if other else ''} of another project has the same import name and "
        f"replaces files of ours: pip uninstall {_NAMESAKE}; pip install --force-reinstall tokenmeter-sdk"
    ]


def _settings() -> Finding:
    from tokenmeter.settings import Settings, unknown_variables

    wrong = unknown_variables(os.environ)
    Settings.read({})  # raises, naming the variable
    given = {name: value for name, value in sorted(os.environ.items()) if name.startswith("TOKENMETER_")}
    return {name: _shown(name, value) for name, value in given.items()}, wrong


def _shown(name: str, value: str) -> str:
    return "***" if name == "TOKENMETER_ACCOUNT_KEY" else _PASSWORD.sub(r"\1:***@", value)


def _sdks() -> Finding:
    """Every SDK and HTTP library we hook: its version, whether that is tested, and the methods hooked in it."""
    from tokenmeter.cli._sdks import look

    return look()


def _unwatched() -> Finding:
    """What vendors bill and no hook watches; docs/watched.md says why, and what to do instead."""
    from tokenmeter.clients.unwatched import UNWATCHED

    found: dict[str, Any] = {}
    for row in UNWATCHED:
        found[row.vendor] = f"{found[row.vendor]}; {row.what}" if row.vendor in found else row.what
    return found, []


def _opentelemetry() -> Finding:
    found: dict[str, Any] = {name: _version(name) for name in _OTEL}
    found["environment"] = {
        name: value
        for name, value in sorted(os.environ.items())
        if name.startswith("OTEL_") and "HEADERS" not in name  # headers hold keys
    }
    from opentelemetry import metrics, trace

    found["tracer_provider"] = type(trace.get_tracer_provider()).__name__
    found["meter_provider"] = type(metrics.get_meter_provider()).__name__
    found["disabled"] = os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    problems = []
    if found["opentelemetry-sdk"] is None:
        problems.append(
            "opentelemetry-sdk is not installed: spans and metrics go nowhere; pip install 'tokenmeter-sdk[otel]'"
        )
    elif found["disabled"]:
        problems.append("OTEL_SDK_DISABLED is true: spans and metrics go nowhere; the ledger is written all the same")
    found["endpoints"] = {}
    for endpoint in dict.fromkeys(os.environ.get(name, "").strip() for name in _ENDPOINTS):
        if endpoint:
            answers = found["endpoints"][endpoint] = _listens(endpoint)
            if not answers:
                problems.append(
                    f"no server listens at {endpoint}: until one does spans are lost; the ledger and the metrics, "
                    "which are running sums, lose nothing"
                )
    return found, problems


def _listens(endpoint: str) -> bool:
    """Whether a connection to an OTLP endpoint that the environment names is accepted; nothing is sent."""
    import socket
    from urllib.parse import urlsplit

    try:
        place = urlsplit(endpoint if "://" in endpoint else f"//{endpoint}")
        port = place.port or (443 if place.scheme == "https" else 4318 if place.scheme else 4317)
        with socket.create_connection((place.hostname or "", port), timeout=3):
            return True
    except (OSError, ValueError):
        return False


def _prices() -> Finding:
    from tokenmeter.prices.book import load_book
    from tokenmeter.providers.registry import load_providers

    load_providers()
    return {"book": load_book().version}, []


def _families() -> Finding:
    from tokenmeter.tokens.families import family_names, load_family

    names = family_names()
    for name in names:
        load_family(name)  # raises, naming the file
    return {"names": list(names)}, []


def _ledger(path: str | None) -> Finding:
    if path is None:
        return {"path": None}, []
    import sqlite3

    from tokenmeter.ledger.report.query import unpriced_reasons
    from tokenmeter.ledger.schema import open_for_reading, remedy

    try:
        with closing(open_for_reading(path)) as connection:
            one = connection.execute
            calls, first, last = one("SELECT count(*), min(ended_at), max(ended_at) FROM calls").fetchone()
            unpriced = one("SELECT count(*) FROM calls WHERE status = 'unpriced' AND end_state <> 'delegated'")
            found: dict[str, Any] = {
                "path": path,
                "schema": one("PRAGMA user_version").fetchone()[0],
                "calls": calls,
                "unpriced": unpriced.fetchone()[0],
                "first": first,
                "last": last,
                "lost": one("SELECT coalesce(sum(calls), 0) FROM losses").fetchone()[0],
                "bytes": os.path.getsize(path),
            }
            reasons = unpriced_reasons(connection)
            check = one("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.Error as error:
        return {"path": path}, [f"ledger: {remedy(path, error)}"]
    problems = (
        [] if check == "ok" else [f"ledger: {path} is damaged ({check}): `sqlite3 {path} .recover` saves the rest"]
    )
    if found["lost"]:
        problems.append(f"ledger: {found['lost']} calls were lost while {path} could not be written")
    problems += [
        f"ledger: {calls} of {found['calls']} calls are unpriced: {reason or 'no reason was recorded'}"
        for reason, calls in reasons[:_REASONS_MOST]
    ]
    if len(reasons) > _REASONS_MOST:
        problems.append(
            f"ledger: calls are unpriced for {len(reasons) - _REASONS_MOST} more reasons: tokenmeter report"
        )
    return found, problems
