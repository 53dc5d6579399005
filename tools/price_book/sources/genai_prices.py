"""Reads genai-prices' `data.py` as text: the prices of each model that apply today. Nothing of it is run."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Final

from tools.price_book.sources.reading import Found, Reading, SourceError, edges, known_columns, number, written
from tools.price_book.sources.vendors import GENAI_PRICES

_KINDS: Final[Mapping[str, str]] = {
    "input_mtok": "input", "output_mtok": "output", "cache_read_mtok": "cache_read", "cache_write_mtok": "cache_write",
    "cache_write_1h_mtok": "cache_write", "input_audio_mtok": "audio_input", "output_audio_mtok": "audio_output",
    "output_reasoning_mtok": "reasoning_output",
}  # fmt: skip
_OTHER: Final = frozenset(
    {
        "web_searches_kcount", "storage_searches_kcount", "requests_kcount", "input_text_messages_kcount",
        "input_image_mtok", "cache_image_read_mtok", "output_image_mtok", "cache_audio_read_mtok", "input_video_mtok",
        "output_video_mtok", "output_citation_mtok", "input_mchars",
        "audio_hours", "input_audio_hours", "input_document_kpages", "input_annotated_document_kpages",
    }
)  # fmt: skip
_CONSTRAINTS: Final = frozenset({"StartDateConstraint", "TimeOfDateConstraint"})


def read(path: Path) -> Found:
    """The prices of text of the providers that the book knows. Raises SourceError."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SourceError(f"{path.name} is not there: {error.strerror}") from None
    except SyntaxError as error:
        raise SourceError(f"{path.name} is no Python: {error.msg}") from None
    elsewhere: dict[str, int] = {}
    readings: list[Reading] = []
    for provider in _calls(tree, "Provider"):
        name = _text(provider, "id")
        models = list(_calls(provider, "ModelInfo"))
        vendor = GENAI_PRICES.get(name)
        if vendor is None:
            elsewhere[name] = len(models)
            continue
        for model in models:
            readings += _prices(vendor, _text(model, "id"), _keyword(model, "prices"))
    if not readings and not elsewhere:
        raise SourceError(f"{path.name} has no providers: the source has another shape now")
    return Found(tuple(readings), elsewhere)


def _prices(vendor: str, model: str, prices: ast.expr | None) -> Iterator[Reading]:
    since = None
    if isinstance(prices, ast.List):
        since, prices = _in_force([one for one in prices.elts if isinstance(one, ast.Call)], model)
    if not isinstance(prices, ast.Call):
        return
    columns = {word.arg: word.value for word in prices.keywords if word.arg}
    known_columns(columns, frozenset({*_KINDS, *_OTHER}), f"the price of {model}")
    for name, kind in _KINDS.items():
        if name not in columns:
            continue
        life = written(model, "1h" if "1h" in name else None) if kind == "cache_write" else None
        for price, tier in _tiers(columns[name], f"{name} of {model}"):
            yield Reading(vendor, model, kind, price, tier, life, since=since)


def _tiers(value: ast.expr, what: str) -> Iterator[tuple[Decimal, tuple[tuple[str, int], ...]]]:
    if isinstance(value, ast.Call) and _name(value) == "TieredPrices":
        tiers = list(_calls(_keyword(value, "tiers"), "Tier"))
        starts = [int(_amount(_keyword(tier, "start"), what)) for tier in tiers]
        yield _amount(_keyword(value, "base"), what), edges(min(starts, default=None), long=False)
        for tier, start in zip(tiers, starts, strict=True):
            yield _amount(_keyword(tier, "price"), what), edges(start, long=True)
    else:
        yield _amount(value, what), ()


def _amount(value: ast.expr | None, what: str) -> Decimal:
    if isinstance(value, ast.Call) and _name(value) == "Decimal" and isinstance(value.args[0], ast.Constant):
        return number(value.args[0].value, what)
    if isinstance(value, ast.Constant):
        return number(value.value, what)
    raise SourceError(f"{what} is no number")


def _in_force(periods: Iterable[ast.Call], model: str) -> tuple[str | None, ast.expr | None]:
    """Of prices that start on different days the one in force, with its day; none of a model priced by the hour."""
    today = datetime.now(UTC).date().isoformat()
    best: tuple[str, ast.expr | None] | None = None
    for period in periods:
        start = _start(_keyword(period, "constraint"), model)
        if start is None:
            return None, None
        if start <= today and (best is None or start >= best[0]):
            best = start, _keyword(period, "prices")
    return (None, None) if best is None else (best[0] or None, best[1])


def _start(constraint: ast.expr | None, model: str) -> str | None:
    """The day from which a period's prices hold: empty without one, None where they hold for hours of the day."""
    if constraint is None or (isinstance(constraint, ast.Constant) and constraint.value is None):
        return ""
    if not isinstance(constraint, ast.Call) or _name(constraint) not in _CONSTRAINTS:
        raise SourceError(f"{model} has a new kind of condition")
    day = _keyword(constraint, "start_date")
    if not isinstance(day, ast.Call):
        return None
    return date(*(int(_amount(part, f"the start of {model}")) for part in day.args)).isoformat()


def _calls(tree: ast.AST | None, name: str) -> Iterator[ast.Call]:
    for node in ast.walk(tree) if tree is not None else ():
        if isinstance(node, ast.Call) and _name(node) == name:
            yield node


def _name(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else ""


def _keyword(call: ast.Call, name: str) -> ast.expr | None:
    return next((word.value for word in call.keywords if word.arg == name), None)


def _text(call: ast.Call, name: str) -> str:
    value = _keyword(call, name)
    if not isinstance(value, ast.Constant) or not isinstance(value.value, str):
        raise SourceError(f"a {_name(call)} has no {name}: the source has another shape now")
    return value.value
