"""Reads and writes the fact base: `facts/<provider>.facts`, one text file per provider, one price a line.

    source "https://example.com/pricing" read=2026-11-30 by=vendor_doc license=facts
    model example-1 also=example-1-latest
    input 2 CNY from=2026-11-01
    output 8 CNY from=2026-11-01
    output 16 CNY from=2026-11-01 tier=input>128000

A `source` line names where the lines below it were read, and on which day; a `model` line the id as the source spells
it, with other names it gives. A fact is its kind, its price and its currency, and what else is known, in `KEYS`. Lines
that start with `#` are comments. An error names the file, the line and the key that is missing or unknown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).parent / "facts"
SUFFIX: Final = ".facts"
#: The last day on which each downloaded source was read, beside the fact files: also where it had nothing new.
READS: Final = "reads.tsv"
#: The models that a downloaded source no longer lists, with the last day on which it is known to have listed them.
DROPPED: Final = "dropped.tsv"

SOURCE_KEYS: Final[Mapping[str, str]] = {
    "read": "the day the source was read: 2026-11-30; needed, `none` only where nobody knows",
    "by": "vendor_doc | press | news_seed | catalog | third_party | gateway_table; needed",
    "license": "the license that the source states; `facts` where it states none",
}
KEYS: Final[Mapping[str, str]] = {
    "unit": "per_image, per_call …; absent: per_1m_tokens",
    "from": "the vendor's own first day, or instant with offset; absent: seen on the day the source was read",
    "to": "the vendor's own end, exclusive",
    "from_utc": "the same first instant in UTC, where a source states it beside the day",
    "to_utc": "the same end in UTC",
    "seen": "first..last day on which the source carried the price; absent: the day it was read; `none`: unknown",
    "tier": "input>128000 or input>128000,input<=256000; `output` likewise",
    "when": "the condition in the source's words: mode=batch",
    "agree": "how many other sources agreed, where the base was cross-checked",
    "disagree": "how many did not",
    "converted": "yes: the source converted it from another currency",
    "quantity": "what a pack or grant holds",
    "basis": "how the date is known",
}
_BY: Final = ("vendor_doc", "press", "news_seed", "catalog", "third_party", "gateway_table")
_WORD: Final = re.compile(r'(?:([a-z_]+)=(?!=))?(?:"((?:[^"\\]|\\.)*)"|(\S+))(?:\s+|$)')
_BOUND: Final = re.compile(r"(input|output)(<=|>=|<|>)(\d+)")
_OPERATORS: Final[Mapping[str, str]] = {">": "gt", ">=": "ge", "<=": "le", "<": "lt"}
_SIGNS: Final[Mapping[str, str]] = {name: sign for sign, name in _OPERATORS.items()}

Row = Mapping[str, Any]
Dropped = tuple[str, str, str]


class FactError(ValueError):
    """A line of a fact file that cannot be read."""


def read_rows(path: Path = FOLDER) -> list[Row]:
    """Every row of a folder of fact files, or of a JSON Lines file, in one order whatever the files' own.

    Raises FactError for the first line that cannot be read.
    """
    if path.is_file():
        lines = path.read_text(encoding="utf-8").splitlines()
        return sorted(map(json.loads, filter(None, lines)), key=order)
    return sorted((row for file in sorted(path.glob(f"*{SUFFIX}")) for row in read_file(file)), key=order)


def reads_of(folder: Path = FOLDER) -> dict[str, str]:
    """The last day on which each source was read, by the beginning of its name. Raises FactError."""
    file = folder / READS
    reads: dict[str, str] = {}
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
        source, _, at = line.partition("\t")
        reads[source] = _day(at, f"{READS}: {source}") or ""
    return reads


def dropped_of(folder: Path = FOLDER) -> dict[Dropped, str]:
    """The last day on which each source listed a model that it lists no more, by source, vendor and the model's key."""
    file = folder / DROPPED
    dropped: dict[Dropped, str] = {}
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
        source, vendor, model, at = line.split("\t")
        dropped[source, vendor, model] = _day(at, f"{DROPPED}: {vendor}/{model}") or ""
    return dropped


def write_dropped(dropped: Mapping[Dropped, str], folder: Path = FOLDER) -> None:
    """Write which models sources no longer list."""
    text = "".join("\t".join((*what, at)) + "\n" for what, at in sorted(dropped.items()))
    if text or (folder / DROPPED).exists():
        (folder / DROPPED).write_text(text, encoding="utf-8")


def write_reads(reads: Mapping[str, str], folder: Path = FOLDER) -> None:
    """Note on which day sources were read; what stands there of others, or is later, stays."""
    known = reads_of(folder)
    for source, at in reads.items():
        known[source] = max(at, known.get(source, ""))
    if reads:
        text = "".join(f"{source}\t{at}\n" for source, at in sorted(known.items()))
        (folder / READS).write_text(text, encoding="utf-8")


def order(row: Row) -> tuple[Any, ...]:
    """Where a row stands in the base: by model, then by what it prices, then by time."""
    since = row["effective_from"] or row["observed_from"] or ""
    what = (row["currency"], row["kind"], json.dumps(row["tier"] or {}, sort_keys=True), row["unit"])
    when = (since, row["model"], row["observed_from"] or "", row.get("observed_to") or "")
    return (
        row["vendor"],
        row["model"].lower(),
        *what,
        *when,
        row["condition"] or "",
        row["source"],
        Decimal(row["price"]),
    )


def read_file(path: Path) -> Iterator[Row]:
    """The rows of one provider's file, in the order of its lines."""
    source: dict[str, Any] | None = None
    model: dict[str, Any] | None = None
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not text.strip() or text.lstrip().startswith("#"):
            continue
        try:
            words, keys = _words(text)
            if words[:1] == ["source"]:
                source, model = _source(words, keys), None
            elif words[:1] == ["model"]:
                model = _model(words, keys)
            elif source is None or model is None:
                raise FactError(f"a price needs a {'source' if source is None else 'model'} line above it")
            else:
                yield {"vendor": path.stem, **model, **_price(words, keys, source["source_date"]), **source}
        except FactError as error:
            raise FactError(f"facts/{path.name}:{number}: {error}") from None


def _words(text: str) -> tuple[list[str], dict[str, list[str]]]:
    words: list[str] = []
    keys: dict[str, list[str]] = {}
    place, text = 0, text.strip()
    while place < len(text):
        match = _WORD.match(text, place)
        if match is None:
            raise FactError(f"cannot read {text[place:]!r}: a value with spaces stands in quotes")
        value = match[3] if match[2] is None else match[2].replace('\\"', '"').replace("\\\\", "\\")
        if match[1]:
            keys.setdefault(match[1], []).append(value)
        else:
            words.append(value)
        place = match.end()
    return words, keys


def _source(words: list[str], keys: dict[str, list[str]]) -> dict[str, Any]:
    if len(words) != 2:
        raise FactError('a source line is: source "where it was read" read=2026-11-30 by=vendor_doc license=facts')
    _known(keys, SOURCE_KEYS)
    for name in ("read", "by", "license"):
        if name not in keys:
            raise FactError(f"the source lacks {name}= ({SOURCE_KEYS[name]})")
    if keys["by"][0] not in _BY:
        raise FactError(f"by={keys['by'][0]} is none of {', '.join(_BY)}")
    read = _day(keys["read"][0], "read")
    return {"source": words[1], "source_date": read, "source_kind": keys["by"][0], "license": keys["license"][0]}


def _model(words: list[str], keys: dict[str, list[str]]) -> dict[str, Any]:
    if len(words) != 2:
        raise FactError("a model line is: model NAME also=OTHER-NAME")
    _known(keys, {"also": ""})
    return {"model": words[1], **({"aliases": keys["also"]} if "also" in keys else {})}


def _price(words: list[str], keys: dict[str, list[str]], read: str | None) -> dict[str, Any]:
    if len(words) != 3:
        lacking = ["the kind", "the price", "the currency"][len(words) : 3] or ["nothing, but has a word too many"]
        raise FactError(f"a price line is: input 2 CNY from=2026-12-01; this one lacks {' and '.join(lacking)}")
    _known(keys, KEYS)
    kind, price, currency = words
    try:
        Decimal(price)
    except InvalidOperation:
        raise FactError(f"{price!r} is no price: a plain number, such as 0.27") from None
    if not re.fullmatch(r"[A-Z]{3}", currency):
        raise FactError(f"{currency!r} is no currency: three capital letters, such as CNY")
    one = {name: values[0] for name, values in keys.items()}
    first, _, last = one.get("seen", read or "none").partition("..")
    row: dict[str, Any] = {
        "currency": currency,
        "unit": one.get("unit", "per_1m_tokens"),
        "kind": kind,
        "price": price,
        "tier": _tier(one["tier"]) if "tier" in one else None,
        "condition": one.get("when"),
        "effective_from": _day(one["from"], "from") if "from" in one else None,
        "effective_to": _day(one["to"], "to") if "to" in one else None,
        "observed_from": _day(first, "seen"),
    }
    if last:
        row["observed_to"] = _day(last, "seen")
    for name, column in (("from_utc", "effective_from_utc"), ("to_utc", "effective_to_utc")):
        if name in one:
            row[column] = _day(one[name], name)
    row |= {name: int(one[name]) for name in ("agree", "disagree") if name in one}
    if "converted" in one:
        row["converted"] = True
    if "quantity" in one:
        row["quantity"] = int(one["quantity"])
    if "basis" in one:
        row["effective_basis"] = one["basis"]
    return row


def _known(keys: Iterable[str], names: Mapping[str, str]) -> None:
    for key in keys:
        if key not in names:
            raise FactError(f"{key}= is not a key here: {', '.join(names)}")


def _day(text: str, key: str) -> str | None:
    if text == "none":
        return None
    try:
        date.fromisoformat(text) if len(text) == 10 else datetime.fromisoformat(text)
    except ValueError:
        raise FactError(f"{key}={text} is no day: 2026-11-30, or an instant with its offset") from None
    return text


def _tier(text: str) -> dict[str, int]:
    tier = {}
    for part in text.split(","):
        match = _BOUND.fullmatch(part)
        if match is None:
            raise FactError(f"tier={text}: {part!r} is no edge such as input>128000")
        tier[f"{match[1]}_tokens_{_OPERATORS[match[2]]}"] = int(match[3])
    return tier


def write_files(rows: Iterable[Row], folder: Path = FOLDER) -> None:
    """Write rows as fact files, grouped by source and model."""
    folder.mkdir(exist_ok=True)
    by_vendor: dict[str, list[Row]] = {}
    for row in rows:
        by_vendor.setdefault(row["vendor"], []).append(row)
    for vendor, its in sorted(by_vendor.items()):
        its.sort(key=lambda row: (row["source"], row["model"].lower(), tuple(row.get("aliases") or ()), order(row)))
        text = "\n".join(_file_lines(its)) + "\n"
        (folder / f"{vendor}{SUFFIX}").write_text(text, encoding="utf-8")


def append_rows(rows: Iterable[Row], folder: Path = FOLDER) -> None:
    """Add rows at the end of their providers' files; what stands there stays as it is."""
    by_vendor: dict[str, list[Row]] = {}
    for row in rows:
        by_vendor.setdefault(row["vendor"], []).append(row)
    for vendor, its in sorted(by_vendor.items()):
        its.sort(key=lambda row: (row["source"], row["model"].lower(), order(row)))
        with (folder / f"{vendor}{SUFFIX}").open("a", encoding="utf-8") as file:
            file.write("\n".join(_file_lines(its)) + "\n")


def _file_lines(rows: Iterable[Row]) -> Iterator[str]:
    source = model = ""
    for row in rows:
        stated = f"read={row['source_date'] or 'none'} by={row['source_kind']} license={_quoted(row['license'])}"
        head = f"source {_quoted(row['source'])} {stated}"
        if head != source:
            source, model = head, ""
            yield source
        also = "".join(f" also={_quoted(name)}" for name in row.get("aliases") or ())
        head = f"model {_quoted(row['model'])}{also}"
        if head != model:
            model = head
            yield model
        yield " ".join([row["kind"], row["price"], row["currency"], *_keys(row)])


def _keys(row: Row) -> Iterator[str]:
    if row["unit"] != "per_1m_tokens":
        yield f"unit={row['unit']}"
    for key, column in (
        ("from", "effective_from"), ("to", "effective_to"),
        ("from_utc", "effective_from_utc"), ("to_utc", "effective_to_utc"),
    ):  # fmt: skip
        if row.get(column):
            yield f"{key}={row[column]}"
    seen = row["observed_from"] or "none"
    if row.get("observed_to"):
        seen += f"..{row['observed_to']}"
    if seen != (row["source_date"] or "none"):
        yield f"seen={seen}"
    if row["tier"]:
        edges = (f"{name[:-10]}{_SIGNS[name[-2:]]}{edge}" for name, edge in row["tier"].items())
        yield f"tier={','.join(edges)}"
    if row["condition"]:
        yield f"when={_quoted(row['condition'])}"
    for key in ("agree", "disagree", "quantity"):
        if row.get(key) is not None:
            yield f"{key}={row[key]}"
    if row.get("converted"):
        yield "converted=yes"
    if row.get("effective_basis"):
        yield f"basis={_quoted(row['effective_basis'])}"


def _quoted(text: str) -> str:
    plain = re.fullmatch(r'[^\s"]+', text) and not re.match(r"[a-z_]+=(?!=)", text)
    return text if plain else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
