"""Writes the tables of `docs/prices.md` from the book: `python -m tokenmeter.prices.upkeep.reference`.

Shows who is priced and today's list of each: base prices, what they vary with, since when and on whose word. The book
holds more (every superseded rate, every tier): `tokenmeter prices history MODEL` and `prices show MODEL` print it.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from tokenmeter._support.data_files import data_names, read_data
from tokenmeter.money import exact_decimal, plain
from tokenmeter.providers.registry import load_providers

__all__ = ["main", "reference"]

TARGET: Final = Path(__file__).parents[3] / "docs" / "prices.md"
_SHOWN: Final = ("input", "cache_read", "output")
_KEYS: Final = frozenset(
    {
        "model", "effective", "observed", "until", "currency", "free", "withdrawn", "per", "minimum", "step",
        "stand_in", "assume", "k", "case", "source", "confidence", "review_by", "promotion", "announced", "seen",
        "seen_by", "note",
    }
)  # fmt: skip
Entry = Mapping[str, Any]


def _day(value: object) -> str:
    """The day of a date, an instant or its text."""
    return value.isoformat()[:10] if isinstance(value, date | datetime) else str(value)[:10]


def _start(entry: Entry) -> str:
    if "effective" in entry:
        return _day(entry["effective"])
    return _day(entry["observed"][0]) if "observed" in entry else ""


def _since(entry: Entry) -> str:
    start = _start(entry)
    return start if "effective" in entry else f"seen {start}" if start else "open"


def _today(data: Mapping[str, Any]) -> dict[str, list[Entry]]:
    """The entries in force on the day the sources were read, by list, in the order of the file."""
    read = _day(data["read"])
    latest: dict[tuple[str, str], Entry] = {}
    for entry in data.get("rate", ()):
        place = entry.get("currency", data["currency"]), entry["model"]
        if _start(entry) <= read and (place not in latest or _start(latest[place]) <= _start(entry)):
            latest[place] = entry
    lists: dict[str, list[Entry]] = defaultdict(list)
    for (currency, _), entry in latest.items():
        lists[currency].append(entry)
    return lists


def _number(value: Any) -> str:
    return plain(value if isinstance(value, Decimal) else exact_decimal(str(value)))


def _prices(entry: Entry) -> tuple[str, str, str, str]:
    if entry.get("free"):
        return "free", "free", "free", ""
    if "input_and_output" in entry:
        both = _number(entry["input_and_output"])
        return both, "", both, ""
    shown = [_number(entry[name]) if name in entry else "" for name in _SHOWN]
    others = [f"{name} {_number(value)}" for name, value in entry.items() if name not in _KEYS and name not in _SHOWN]
    return shown[0], shown[1], shown[2], ", ".join(others)


def _varies(entry: Entry) -> str:
    """What the price varies with: the conditions its cases ask, each once."""
    asked: dict[str, None] = {}
    for case in entry.get("case", ()):
        for name, value in case["when"].items():
            if isinstance(value, bool):
                asked[name] = None
            elif name.endswith("_tokens"):
                asked[f"{name} {value}"] = None
            else:
                asked[f"{name} {value if isinstance(value, str) else '/'.join(value)}"] = None
    return ", ".join(asked)


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    head, *body = rows
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for cells in body:
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _summary(files: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    rows = [("provider", "name", "other names", "lists", "models", "rates", "plans")]
    known = load_providers()
    for name, data in files.items():
        provider = known.get(name)
        models = {entry["model"] for entry in data.get("rate", ())}
        lists = sorted({entry.get("currency", data["currency"]) for entry in data.get("rate", ())}) or [
            data["currency"]
        ]
        rows.append(
            (
                f"[{name}](#{name})" if models else name,
                provider.name if provider else "",
                ", ".join(provider.aliases) if provider else "",
                ", ".join(lists),
                str(len(models)),
                str(len(data.get("rate", ()))),
                str(len(data.get("plan", ()))) if data.get("plan") else "",
            )
        )
    yield from _table(rows)


def reference() -> str:
    """The whole document."""
    files = {name: read_data(f"prices/{name}") for name in data_names("prices")}
    read = max(_day(data["read"]) for data in files.values())
    lines = [
        "# Prices",
        "",
        f"Generated from the price book by `python -m tokenmeter.prices.upkeep.reference`; sources read until {read}.",
        "Prices are in the list's currency per million tokens. Under *since* a plain date is the vendor's own; *seen*",
        "is the first day a source carried the price, where nobody states its start; *open* is known only to end.",
        "*Varies with* names the conditions under which other prices hold: `tokenmeter prices show MODEL` prints them,",
        "and `tokenmeter prices history MODEL` what was charged before.",
        "",
        *_summary(files),
    ]
    for name, data in files.items():
        for currency, entries in sorted(_today(data).items()):
            lines += ["", f"## {name}" if currency == data["currency"] else f"### {name}, {currency} list", ""]
            rows = [("model", f"input, {currency}", "cached", "output", "other", "varies with", "since", "confidence")]
            for entry in entries:
                given, cached, out, others = _prices(entry)
                grade = entry.get("confidence", "")
                rows.append((f"`{entry['model']}`", given, cached, out, others, _varies(entry), _since(entry), grade))
            lines += _table(rows)
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Write the document, or with `--check` say whether it is current."""
    parser = argparse.ArgumentParser(
        prog="python -m tokenmeter.prices.upkeep.reference", description="Write docs/prices.md."
    )
    parser.add_argument("target", nargs="?", type=Path, default=TARGET, help="file to write (default: docs/prices.md)")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if the file is out of date")
    args = parser.parse_args(argv)
    text = reference()
    current = args.target.read_text(encoding="utf-8") if args.target.exists() else None
    if args.check:
        if current != text:
            print(f"{args.target} is out of date: run python -m tokenmeter.prices.upkeep.reference", file=sys.stderr)
        return int(current != text)
    args.target.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
