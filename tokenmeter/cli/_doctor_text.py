"""What `doctor` prints for people: the problems first, then a line for each part, or with `verbose` every fact."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from tokenmeter._support.logs import printable
from tokenmeter._support.text_tables import wrapped

__all__ = ["STYLES", "as_text"]

STYLES: Final = {
    r"^\d+ problems?$": "bold red",
    r"^problem:": "red",
    r"^no problems found$": "green",
    r"^[a-z]+(?= |$)(?<!problem)": "bold",
}
"""Patterns of the text and their styles on a terminal."""
_NAMES: Final = 16  # columns of the names of parts


def as_text(answer: Mapping[str, Any], *, verbose: bool, columns: int) -> str:
    """The answer of `examine` in lines of at most so many columns; with `verbose` in lines of any length."""
    problems = [f"problem: {printable(problem)}" for problem in answer["problems"]]
    lines = [_counted(len(problems))]
    for problem in problems:
        lines += wrapped(problem, columns, "  ")
    lines.append("")
    if verbose:
        return "\n".join([*lines, *_every_fact(answer)])
    for name, line in _LINES.items():
        text = f"{name:<{_NAMES}}{printable(line(answer.get(name, {})))}"
        lines += wrapped(text, columns, " " * _NAMES)
    return "\n".join([*lines, "", "every fact: tokenmeter doctor --verbose, or --json"])


def _counted(problems: int) -> str:
    return "no problems found" if not problems else f"{problems} problem{'s' if problems > 1 else ''}"


def _ours(found: Mapping[str, Any]) -> str:
    return f"{found.get('version') or 'not installed'}, {found.get('python')}, {found.get('executable')}"


def _settings(found: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in found.items()) or "no TOKENMETER_* variable is set"


def _sdks(found: Mapping[str, Any]) -> str:
    there = [f"{name} {sdk['version']}" for name, sdk in found.items() if sdk["version"] and sdk["hooks"]]
    return f"hooked: {', '.join(there) or 'nothing'}"


def _unwatched(found: Mapping[str, Any]) -> str:
    kinds = sum(what.count("; ") + 1 for what in found.values())
    return f"{kinds} kinds of billed calls and jobs, which --verbose lists"


def _opentelemetry(found: Mapping[str, Any]) -> str:
    sdk, exporter = found.get("opentelemetry-sdk"), found.get("opentelemetry-exporter-otlp")
    endpoints = ", ".join(found.get("endpoints", {})) or "OTLP's default endpoint"
    if sdk is None:
        return "API only: no spans and metrics"
    return f"SDK {sdk}, " + ("no OTLP exporter" if exporter is None else f"OTLP exporter {exporter}, {endpoints}")


def _prices(found: Mapping[str, Any]) -> str:
    return f"book {found.get('book', 'not readable')}"


def _families(found: Mapping[str, Any]) -> str:
    return f"{len(found.get('names', ()))} tokenizers"


def _ledger(found: Mapping[str, Any]) -> str:
    if found.get("path") is None:
        return 'none; tokenmeter.configure(ledger="spend.db") or TOKENMETER_LEDGER writes one'
    if "calls" not in found:
        return f"{found['path']}, not readable"
    lost = f", {found['lost']:,} lost" if found["lost"] else ""
    return f"{found['path']}, {found['calls']:,} calls, {found['unpriced']:,} unpriced{lost}"


_LINES: Final[Mapping[str, Callable[[Mapping[str, Any]], str]]] = {
    "tokenmeter": _ours,
    "settings": _settings,
    "sdks": _sdks,
    "opentelemetry": _opentelemetry,
    "prices": _prices,
    "families": _families,
    "ledger": _ledger,
    "unwatched": _unwatched,
}


def _every_fact(answer: Mapping[str, Any]) -> Iterator[str]:
    for name, found in answer.items():
        if name != "problems":
            yield name
            yield from (f"  {key:<28} {printable(_value(value))}" for key, value in found.items())


def _value(value: Any) -> str:
    if isinstance(value, Mapping) and "hooks" in value:  # an SDK
        if value["version"] is None:
            return "not installed"
        tested = "tested" if value["tested"] else "untested"
        return f"{value['version']} ({tested}), hooked at {', '.join(value['hooks']) or 'nothing'}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={item}" for key, item in value.items()) or "-"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else str(value)
